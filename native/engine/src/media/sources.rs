//! Who was heard lately: `getSynchronizationSources`, `getContributingSources` (W3C webrtc-pc
//! section 5.3).

use super::ReceivedRtp;
use super::inbound::Marks;
use crate::command::RtpSource;
use rtc_shared::time::SystemInstant;
use std::time::{Duration, Instant};

/// How long a source is told of after its last packet (section 5.3.1).
const KEPT: Duration = Duration::from_secs(10);

/// Contributing sources of one stream. A mixer names at most 15 in a packet.
const MAX_CONTRIBUTING: usize = 64;

/// The last packet of a source.
#[derive(Clone, Copy, Debug)]
struct Heard {
    source: u32,
    at: Instant,
    rtp_timestamp: u32,
    /// RFC 6464, RFC 6465: seven bits of -dBov.
    level: Option<u8>,
}

/// The sources of one received stream.
#[derive(Debug, Default)]
pub(super) struct Sources {
    own: Option<Heard>,
    contributing: Vec<Heard>,
}

impl Sources {
    /// A packet is delivered.
    pub(super) fn heard(&mut self, now: Instant, packet: &ReceivedRtp<'_>, marks: &Marks<'_>) {
        let heard = |source, level: Option<u8>| Heard {
            source,
            at: now,
            rtp_timestamp: packet.timestamp,
            level: level.map(|byte| byte & 0x7f),
        };
        self.own = Some(heard(packet.ssrc, marks.audio_level));
        let (csrcs, _) = packet.csrc.as_chunks::<4>();
        for (at, bytes) in csrcs.iter().enumerate() {
            let heard = heard(
                u32::from_be_bytes(*bytes),
                marks.mixed_levels.get(at).copied(),
            );
            self.contributed(now, heard);
        }
    }

    fn contributed(&mut self, now: Instant, heard: Heard) {
        let known = self
            .contributing
            .iter_mut()
            .find(|known| known.source == heard.source);
        if let Some(known) = known {
            *known = heard;
            return;
        }
        if self.contributing.len() >= MAX_CONTRIBUTING {
            self.contributing.retain(|known| is_recent(now, known));
        }
        if self.contributing.len() < MAX_CONTRIBUTING {
            self.contributing.push(heard);
        }
    }

    pub(super) fn synchronization(
        &self,
        now: Instant,
        clock: &SystemInstant,
        into: &mut Vec<RtpSource>,
    ) {
        let recent = self.own.iter().filter(|heard| is_recent(now, heard));
        into.extend(recent.map(|heard| heard.told(clock)));
    }

    pub(super) fn contributing(
        &self,
        now: Instant,
        clock: &SystemInstant,
        into: &mut Vec<RtpSource>,
    ) {
        let recent = self.contributing.iter();
        let recent = recent.filter(|heard| is_recent(now, heard));
        into.extend(recent.map(|heard| heard.told(clock)));
    }
}

fn is_recent(now: Instant, heard: &Heard) -> bool {
    now.saturating_duration_since(heard.at) <= KEPT
}

impl Heard {
    fn told(&self, clock: &SystemInstant) -> RtpSource {
        RtpSource {
            source: self.source,
            timestamp: u64::try_from(clock.unix(self.at).as_millis()).unwrap_or(u64::MAX),
            rtp_timestamp: self.rtp_timestamp,
            // Section 5.3.2: 127 is silence, everything else is converted from decibels.
            audio_level: self.level.map(|level| match level {
                127 => 0.0,
                level => 10_f64.powf(-f64::from(level) / 20.0),
            }),
        }
    }
}
