//! How much may be sent, and when: what the media path makes of its bandwidth estimate.

use super::bandwidth::Turn;
use super::{Media, PacketWriter};
use std::time::Instant;

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
        if !self.closed {
            self.bandwidth.want(now, wanted);
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
