//! What the sinks of a connection have of its network, and what they could use.

use super::{ForwardId, ForwardOutput, Sinks, ToSource};
use std::time::{Duration, Instant};

/// How often a source is told what its sink's network has for it.
const BUDGET_INTERVAL: Duration = Duration::from_millis(100);
/// At once where it has become less than this, in percent of what was told: each packet that does not
/// fit waits in a queue in front of those that would.
const BUDGET_FALL: u64 = 85;

impl Sinks {
    /// Tells the sources of an estimate when it is time to, or less than they know.
    pub(super) fn tell_budgets(&mut self, now: Instant, available: Option<u64>) {
        let due = self.budgets_at.is_none_or(|due| due <= now);
        let fell =
            available.is_some_and(|bits| bits < self.shared.saturating_mul(BUDGET_FALL) / 100);
        if due || fell {
            self.budgets_at = Some(now + BUDGET_INTERVAL);
            if let Some(available) = available {
                self.shared = available;
                self.share(now, available);
            }
        }
    }

    /// Tells each source of video its part of what the network carries: all the same, of what
    /// sound leaves over.
    fn share(&mut self, now: Instant, available: u64) {
        let feeds = || self.slots.values().filter_map(|slot| slot.feed.as_ref());
        let sound: u64 = feeds()
            .filter(|feed| !feed.is_video())
            .map(|feed| feed.bits_per_second(now))
            .sum();
        let videos = feeds().filter(|feed| feed.is_video()).count() as u64;
        let part = available.saturating_sub(sound) / videos.max(1);
        let told = feeds()
            .filter(|feed| feed.is_video())
            .map(|feed| ForwardOutput::ToSource(feed.name.id, ToSource::Budget(part)))
            .collect::<Vec<_>>();
        self.outputs.extend(told);
    }

    /// What a source could use of the network.
    pub(in crate::media) fn set_wanted(&mut self, id: ForwardId, wanted: Option<u64>) {
        let slot = self
            .by_id
            .get(&id)
            .and_then(|sender| self.slots.get_mut(sender));
        let feeds = slot
            .into_iter()
            .flat_map(|slot| slot.feed.iter_mut().chain(&mut slot.next));
        for feed in feeds.filter(|feed| feed.name.id == id) {
            feed.wanted = wanted;
        }
    }

    /// What all of them could use, the others beside them; `None` where none follows the network.
    pub(in crate::media) fn wanted(&self, now: Instant) -> Option<u64> {
        let feeds = || self.slots.values().filter_map(|slot| slot.feed.as_ref());
        feeds().any(|feed| feed.wanted.is_some()).then(|| {
            feeds()
                .map(|feed| feed.wanted.unwrap_or_else(|| feed.bits_per_second(now)))
                .sum()
        })
    }
}
