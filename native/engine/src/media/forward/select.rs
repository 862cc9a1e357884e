//! Which layer a forward gets. Pure: told the time, what each layer carries, and what the sink's
//! network has for it.

use std::time::{Duration, Instant};

/// A layer is taken when this much of the budget is left over, in percent of the layer: an
/// estimate that was right on average is too high half of the time, and so is a bitrate.
const UP_MARGIN: u64 = 120;
/// For how long a better layer has to fit before it is taken, at first.
const UP_AFTER: Duration = Duration::from_millis(1000);
/// And at most, after attempts that failed.
const MAX_UP_AFTER: Duration = Duration::from_secs(16);
/// A better layer that had to be left this soon was an attempt that failed.
const FAILED_WITHIN: Duration = Duration::from_secs(8);
/// For how long a layer may be over the budget: a keyframe is, without harm.
const DOWN_AFTER: Duration = Duration::from_millis(600);
/// A layer so far over the budget, in percent, is left at once.
const FAR_OVER: u64 = 150;
/// Without a budget: another layer must carry this much of the current one, in percent, to be
/// worth a keyframe.
const WORTH_SWITCHING: u64 = 130;

/// What a network has to carry for a layer to be taken, in bits per second.
pub(super) fn room_for(rate: u64) -> u64 {
    rate.saturating_mul(UP_MARGIN) / 100
}

/// Whether a layer is so far over the budget that what is sent of it only fills the queues on the way.
pub(super) fn is_far_over(rate: u64, budget: u64) -> bool {
    rate > budget.saturating_mul(FAR_OVER) / 100
}

/// What is known of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LayerState {
    /// Bits per second.
    pub(super) rate: u64,
    /// Whether it arrives at all; encoders pause layers for lack of bandwidth.
    pub(super) alive: bool,
}

/// The choice for one forward, with what makes it steady.
#[derive(Clone, Debug)]
pub(super) struct Selector {
    chosen: Option<usize>,
    /// Since when a better layer would fit.
    fits_since: Option<Instant>,
    /// Since when the chosen one does not.
    over_since: Option<Instant>,
    /// When the last better layer was taken.
    raised: Option<Instant>,
    patience: Duration,
}

impl Selector {
    pub(super) fn new() -> Self {
        Self {
            chosen: None,
            fits_since: None,
            over_since: None,
            raised: None,
            patience: UP_AFTER,
        }
    }

    /// The layer to have now: a place in `layers`. `wanted` is the one that was asked for, if one
    /// was; `budget` is in bits per second, unknown without an estimate.
    pub(super) fn choose(
        &mut self,
        now: Instant,
        layers: &[LayerState],
        wanted: Option<usize>,
        budget: Option<u64>,
    ) -> Option<usize> {
        let alive = |at: usize| layers.get(at).is_some_and(|layer| layer.alive);
        if let Some(wanted) = wanted.filter(|at| alive(*at)) {
            self.set(wanted);
            return self.chosen;
        }
        let mut rising: Vec<usize> = (0..layers.len()).filter(|at| alive(*at)).collect();
        rising.sort_by_key(|at| rate_of(layers, *at));
        let Some((&lowest, &highest)) = rising.first().zip(rising.last()) else {
            return self.chosen;
        };
        let current = self.chosen.filter(|at| alive(*at));
        match (current, budget.filter(|_| wanted.is_none())) {
            (None, None) => self.set(highest),
            (Some(current), None) => {
                let worth = rate_of(layers, current).saturating_mul(WORTH_SWITCHING) / 100;
                if rate_of(layers, highest) > worth {
                    self.set(highest);
                }
            }
            (None, Some(budget)) => {
                let fits = rising
                    .iter()
                    .rev()
                    .find(|at| rate_of(layers, **at) <= budget);
                self.set(fits.copied().unwrap_or(lowest));
            }
            (Some(current), Some(budget)) => self.follow(now, layers, &rising, current, budget),
        }
        self.chosen
    }

    fn follow(
        &mut self,
        now: Instant,
        layers: &[LayerState],
        rising: &[usize],
        current: usize,
        budget: u64,
    ) {
        let rate = rate_of(layers, current);
        if rate > budget {
            self.fits_since = None;
            let since = *self.over_since.get_or_insert(now);
            let far = is_far_over(rate, budget);
            if far || now.saturating_duration_since(since) >= DOWN_AFTER {
                let lower = rising.iter().filter(|at| rate_of(layers, **at) < rate);
                let fits = lower
                    .clone()
                    .rev()
                    .find(|at| rate_of(layers, **at) <= budget);
                if let Some(lower) = fits.or_else(|| lower.clone().next()) {
                    self.lower(now, *lower);
                }
            }
            return;
        }
        self.over_since = None;
        let better = rising.iter().rev().find(|at| {
            let needed = room_for(rate_of(layers, **at));
            rate_of(layers, **at) > rate && needed <= budget
        });
        match better {
            None => self.fits_since = None,
            Some(&better) => {
                let since = *self.fits_since.get_or_insert(now);
                if now.saturating_duration_since(since) >= self.patience {
                    self.set(better);
                    self.raised = Some(now);
                }
            }
        }
        let steady = self
            .raised
            .is_some_and(|raised| now.saturating_duration_since(raised) > 2 * FAILED_WITHIN);
        if steady {
            self.patience = UP_AFTER;
        }
    }

    fn lower(&mut self, now: Instant, to: usize) {
        let failed = self
            .raised
            .is_some_and(|raised| now.saturating_duration_since(raised) <= FAILED_WITHIN);
        if failed {
            self.patience = (self.patience * 2).min(MAX_UP_AFTER);
        }
        self.raised = None;
        self.set(to);
    }

    fn set(&mut self, to: usize) {
        if self.chosen != Some(to) {
            self.chosen = Some(to);
            self.fits_since = None;
            self.over_since = None;
        }
    }
}

fn rate_of(layers: &[LayerState], at: usize) -> u64 {
    layers.get(at).map_or(0, |layer| layer.rate)
}

#[cfg(test)]
mod tests;
