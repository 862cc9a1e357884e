//! A connection's place in the shard's timer wheel.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// The engine's timeouts are served at most this often (plus [`Timer::REPEATS`]): tokio's wheel
/// counts milliseconds, and an engine whose deadline never moves must not spin the shard.
const RESOLUTION: Duration = Duration::from_millis(1);

/// Wakes the connection when its engine or its gatherer has work.
///
/// While media flows the deadline moves with every packet. The wheel is only touched when it
/// moves *forward* past what is armed: one that moved back makes one early wake-up.
pub struct Timer {
    sleep: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    served: Option<Instant>,
}

impl Timer {
    /// How often in a row a deadline that is due again at once is served.
    pub const REPEATS: usize = 4;

    /// Not armed. Must be made on a shard.
    pub fn new(now: Instant) -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep_until(now.into())),
            armed: None,
            served: None,
        }
    }

    /// Says that the work of `now` was done.
    pub fn served(&mut self, now: Instant) {
        self.served = Some(now);
    }

    /// Whether `deadline` has come; the task is woken then otherwise.
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Instant, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else {
            return false;
        };
        let deadline = match self.served {
            Some(served) => deadline.max(served + RESOLUTION),
            None => deadline,
        };
        if deadline <= now {
            return true;
        }
        if self
            .armed
            .is_none_or(|armed| deadline < armed || armed <= now)
        {
            self.sleep.as_mut().reset(deadline.into());
            self.armed = Some(deadline);
        }
        if self.sleep.as_mut().poll(cx).is_ready() {
            // The clock went past the armed time since `now` was read: look again at once.
            self.armed = None;
            cx.waker().wake_by_ref();
        }
        false
    }
}
