//! How much may be sent, and when: what the media path makes of its bandwidth estimate.

use super::bandwidth::Turn;
use super::{Media, PacketWriter};
use std::time::{Duration, Instant};

/// What is probed for where the program is told of the estimate and does not say what it could
/// use, in bits per second: the best of three simulcast layers, several times over.
const MOST_PROBED: u64 = 10_000_000;
/// The program is told of changes by at least one part in so many, and at most this often.
const TOLD_CHANGE: u64 = 20;
const TOLD_INTERVAL: Duration = Duration::from_millis(200);

/// What the program was told of the estimate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ToldEstimate(Option<(Instant, u64)>);

impl ToldEstimate {
    /// When a new estimate may be told; `None` where it is much the same.
    fn due(&self, now: u64) -> Due {
        match self.0 {
            None => Due::AtOnce,
            Some((_, told)) if now.abs_diff(told) < told / TOLD_CHANGE => Due::Never,
            Some((at, _)) => Due::At(at + TOLD_INTERVAL),
        }
    }
}

enum Due {
    AtOnce,
    At(Instant),
    Never,
}

impl Media {
    /// What the path to the peer carries now, in bits per second of RTP packets with their
    /// headers; `None` until the peer has told enough to know (webrtc-stats
    /// `availableOutgoingBitrate`).
    pub fn available_outgoing_bitrate(&self) -> Option<u64> {
        self.bandwidth.estimate()
    }

    /// Up to how many bits per second somebody would use. Bursts are spread by the estimate then,
    /// and while less is sent than the estimate allows, probes find out whether there is more.
    /// `None` for nobody: packets leave as they come, and only what is sent is known to arrive.
    pub fn want_outgoing_bitrate(&mut self, now: Instant, wanted: Option<u64>) {
        if self.closed {
            return;
        }
        self.wanted_bitrate = wanted;
        let of_program = self.told_estimate.map(|_| MOST_PROBED);
        self.bandwidth.want(now, wanted.max(of_program));
    }

    /// The program wants to be told of the estimate ([`Self::poll_bandwidth_estimate`]).
    pub fn tell_bandwidth_estimate(&mut self, now: Instant) {
        self.told_estimate = Some(ToldEstimate::default());
        self.want_outgoing_bitrate(now, self.wanted_bitrate);
    }

    /// The estimate, when it has changed by enough to tell the program.
    pub fn poll_bandwidth_estimate(&mut self, now: Instant) -> Option<u64> {
        let told = self.told_estimate.as_mut()?;
        let estimate = self.bandwidth.estimate()?;
        match told.due(estimate) {
            Due::Never => return None,
            Due::At(at) if at > now => return None,
            Due::AtOnce | Due::At(_) => {}
        }
        told.0 = Some((now, estimate));
        Some(estimate)
    }

    /// When the program is to be told next.
    pub(super) fn estimate_due(&self) -> Option<Instant> {
        match self.told_estimate?.due(self.bandwidth.estimate()?) {
            Due::At(at) => Some(at),
            Due::AtOnce | Due::Never => None,
        }
    }

    /// Lets out what waited, and the padding of probes.
    pub(super) fn pace(&mut self, now: Instant, out: &mut dyn PacketWriter) {
        loop {
            match self.bandwidth.turn(now) {
                Turn::Rest => return,
                Turn::Release => {
                    let send_time = self.send_time(now);
                    self.bandwidth.release(now, send_time, out);
                }
                Turn::Pad => {
                    let send_time = self.send_time(now);
                    let lost = self.loss.drops();
                    let (outbound, sections) = (&mut self.outbound, &self.sections);
                    if !outbound.pad(now, sections, send_time, lost, &mut self.bandwidth, out) {
                        self.bandwidth.starve(now);
                    }
                }
            }
        }
    }
}
