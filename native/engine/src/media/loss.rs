//! `set_packet_loss/2`: loses a share of packets, for experiments.

/// Decides packet by packet.
#[derive(Debug)]
pub(super) struct LossSimulation {
    percent: u8,
    state: u64,
}

impl LossSimulation {
    pub(super) fn off() -> Self {
        Self {
            percent: 0,
            state: 0,
        }
    }

    pub(super) fn set(&mut self, percent: u8) {
        self.percent = percent.min(100);
        // Seeded only when used, and odd: xorshift never leaves zero.
        self.state = rand::random::<u64>() | 1;
    }

    /// Whether this packet is lost.
    pub(super) fn drops(&mut self) -> bool {
        if self.percent == 0 {
            return false;
        }
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 33) % 100 < u64::from(self.percent)
    }
}
