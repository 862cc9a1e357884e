//! How many packets are lost: what the loss-based half of Google congestion control goes by
//! (draft-ietf-rmcat-gcc-02 section 6).

/// A window ends after this time, when it also has so many packets: in smaller ones chance makes
/// ten percent of five. In microseconds.
const WINDOW: i64 = 1_000_000;
const MIN_PACKETS: u32 = 50;
/// A window of a slow stream ends after this time, however few its packets are.
const MAX_WINDOW: i64 = 3_000_000;
const FEW_PACKETS: u32 = 10;

/// Counts what the peer tells of.
#[derive(Debug, Default)]
pub(super) struct LossWindow {
    began: Option<i64>,
    arrived: u32,
    lost: u32,
}

impl LossWindow {
    /// A packet arrived, perhaps one that was said to be lost before.
    pub(super) fn arrived(&mut self, was_lost: bool) {
        self.arrived = self.arrived.saturating_add(1);
        if was_lost {
            self.lost = self.lost.saturating_sub(1);
        }
    }

    /// A packet did not arrive.
    pub(super) fn lost(&mut self) {
        self.lost = self.lost.saturating_add(1);
    }

    /// The share that was lost, 0 to 1, when a window is full; it starts anew then.
    pub(super) fn take(&mut self, now: i64) -> Option<f64> {
        let began = *self.began.get_or_insert(now);
        let packets = self.arrived.saturating_add(self.lost);
        let elapsed = now - began;
        if (elapsed < WINDOW || packets < MIN_PACKETS) && elapsed < MAX_WINDOW {
            return None;
        }
        let share = f64::from(self.lost) / f64::from(packets.max(1));
        *self = Self {
            began: Some(now),
            ..Self::default()
        };
        (packets >= FEW_PACKETS).then_some(share)
    }
}
