//! Staying awake for an answer.
//!
//! A program that answers a message does so within some 30 µs, and to wake a thread on a sleeping
//! core costs as much again. So after a message of a data channel was told, its connection looks
//! for the answer for a moment before it sleeps: where that has helped. Each time that it did not,
//! the next messages are not waited for, twice as many as the time before; a connection whose
//! program does not answer so soon spends next to nothing on it.

use std::time::{Duration, Instant};

/// How long it stays awake. The program's scheduler has to wake, and to run.
const LENGTH: Duration = Duration::from_micros(60);

/// After so many that were for nothing, one message in two to this power is waited for.
const MOST_MISSES: u32 = 12;

/// When a connection stays awake, and until when.
#[derive(Debug, Default)]
pub struct Vigil {
    until: Option<Instant>,
    misses: u32,
    /// Messages that are not waited for.
    passed_over: u32,
}

impl Vigil {
    /// A message was told. It prolongs nothing: a peer that sends one after the other would keep the
    /// connection awake for ever.
    pub fn told(&mut self, now: Instant) {
        if self.until.is_some() {
            return;
        }
        if self.passed_over > 0 {
            self.passed_over -= 1;
        } else {
            self.until = Some(now + LENGTH);
        }
    }

    /// The program has something.
    pub fn answered(&mut self) {
        if self.until.take().is_some() {
            self.misses = 0;
        }
    }

    /// Whether to stay awake.
    pub fn lasts(&mut self, now: Instant) -> bool {
        let Some(until) = self.until else {
            return false;
        };
        if now < until {
            return true;
        }
        self.until = None;
        self.misses = (self.misses + 1).min(MOST_MISSES);
        self.passed_over = (1 << self.misses) - 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many messages are waited for, when each is answered after this long.
    fn vigils(messages: u32, after: Duration) -> usize {
        let mut vigil = Vigil::default();
        let mut now = Instant::now();
        (0..messages)
            .filter(|_| {
                vigil.told(now);
                let waited = vigil.lasts(now);
                now += after;
                if !waited || vigil.lasts(now) {
                    vigil.answered();
                }
                now += Duration::from_secs(1);
                waited
            })
            .count()
    }

    #[test]
    fn answers_that_come_soon_are_waited_for() {
        assert_eq!(vigils(100, LENGTH / 2), 100);
    }

    #[test]
    fn answers_that_come_late_are_waited_for_less_and_less() {
        assert_eq!(vigils(100, LENGTH * 2), 6);
        let many = 1 << (MOST_MISSES + 3);
        let waited = vigils(many, LENGTH * 2);
        assert!(waited < MOST_MISSES as usize + 9, "{waited}");
    }

    #[test]
    fn one_that_came_soon_is_enough_to_wait_again() {
        let mut vigil = Vigil::default();
        let now = Instant::now();
        vigil.told(now);
        assert!(!vigil.lasts(now + LENGTH));
        vigil.told(now);
        assert!(!vigil.lasts(now), "passed over");
        vigil.told(now);
        assert!(vigil.lasts(now));
        vigil.answered();
        vigil.told(now);
        assert!(vigil.lasts(now));
    }

    #[test]
    fn messages_that_follow_one_another_do_not_keep_it_awake() {
        let mut vigil = Vigil::default();
        let start = Instant::now();
        let step = LENGTH / 3;
        let awake = (0..1_000).filter(|number| {
            let now = start + step * *number;
            vigil.told(now);
            vigil.lasts(now)
        });
        // Three looks each time, and the times are ever farther apart.
        let awake = awake.count();
        assert!(awake < 40, "{awake}");
    }

    #[test]
    fn nothing_is_waited_for_without_a_message() {
        let mut vigil = Vigil::default();
        vigil.answered();
        assert!(!vigil.lasts(Instant::now()));
    }
}
