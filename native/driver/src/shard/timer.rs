//! A connection's place in the shard's timer wheel.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// The engine's timeouts are served at most this often (plus [`Timer::REPEATS`]): tokio's wheel
/// counts milliseconds, and an engine whose deadline never moves must not spin the shard.
const RESOLUTION: Duration = Duration::from_millis(1);

/// A deadline at least so far ahead, such as the next consent check, may be served a little later,
/// so that the idle connections of a shard are served together and share what waking it costs.
const FAR: Duration = Duration::from_secs(1);

/// Far deadlines are served at multiples of this.
const SLOT: Duration = Duration::from_millis(50);

/// A deadline that moved away by more than this is worth a change of the wheel: it costs less than
/// to be woken for nothing.
const MOVED_AWAY: Duration = Duration::from_millis(250);

/// Wakes the connection when its engine or its gatherer has work.
///
/// While media flows the deadline moves with every packet. The wheel is only touched when it moves
/// before what is armed, or far behind it.
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

    /// Whether `deadline` has come; the task is woken then otherwise, or up to [`SLOT`] later where
    /// that is [`FAR`] ahead. `epoch` is one instant for all connections of the shard.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        epoch: Instant,
        deadline: Option<Instant>,
    ) -> bool {
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
        let at = wake_up(now, epoch, deadline);
        let stays = self
            .armed
            .is_some_and(|armed| armed > now && armed <= at && deadline <= armed + MOVED_AWAY);
        if !stays {
            self.sleep.as_mut().reset(at.into());
            self.armed = Some(at);
        }
        if self.sleep.as_mut().poll(cx).is_ready() {
            // The clock went past the armed time since `now` was read: look again at once.
            self.armed = None;
            cx.waker().wake_by_ref();
        }
        false
    }
}

/// When to wake for a deadline: the slot's end where it is far ahead.
fn wake_up(now: Instant, epoch: Instant, deadline: Instant) -> Instant {
    if deadline < now + FAR {
        return deadline;
    }
    let slots = deadline
        .saturating_duration_since(epoch)
        .as_nanos()
        .div_ceil(SLOT.as_nanos());
    let slots = u32::try_from(slots).unwrap_or(u32::MAX);
    SLOT.checked_mul(slots)
        .and_then(|passed| epoch.checked_add(passed))
        .map_or(deadline, |slot| slot.max(deadline))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_deadlines_share_wake_ups_and_near_ones_are_kept_to() {
        let epoch = Instant::now();
        let ms = |ms| epoch + Duration::from_millis(ms);
        let now = ms(10_000);
        assert_eq!(wake_up(now, epoch, ms(10_007)), ms(10_007));
        assert_eq!(wake_up(now, epoch, ms(10_999)), ms(10_999));
        assert_eq!(wake_up(now, epoch, ms(14_001)), ms(14_050));
        assert_eq!(wake_up(now, epoch, ms(14_049)), ms(14_050));
        assert_eq!(wake_up(now, epoch, ms(14_050)), ms(14_050));
    }

    #[test]
    fn a_deadline_is_never_served_early() {
        let epoch = Instant::now();
        for nanos in [1, 49_999_999, 50_000_001, 7_777_777_777] {
            let deadline = epoch + FAR + Duration::from_nanos(nanos);
            let at = wake_up(epoch, epoch, deadline);
            assert!(at >= deadline && at < deadline + SLOT);
        }
    }
}
