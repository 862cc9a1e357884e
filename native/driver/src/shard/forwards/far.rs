//! What only forwards between two VMs have.

use super::wire;
use crate::mailbox::{Elsewhere, Mailbox};
use engine::ids::ForwardId;
use engine::media::{Burst, ForwardedRtp, SourceClock, SourceFormat};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// What is submitted of a forward whose other end is in another VM.
pub enum FarMessage {
    /// From the source: what the packets from here on are made of.
    Format(Arc<SourceFormat>),
    /// From the source, after a format: these of a burst.
    Packets(Arc<FarBurst>, Range<usize>),
    /// From this VM: packets were lost on the way there.
    Refused(usize),
    /// From this VM: the other end is gone.
    Gone,
}

/// A burst without its format, for all sinks of this VM.
pub struct FarBurst {
    run: u64,
    clock: Option<SourceClock>,
    packets: Vec<ForwardedRtp>,
    whole: OnceLock<Arc<Burst>>,
}

impl FarBurst {
    /// What arrived.
    pub const fn new(run: u64, clock: Option<SourceClock>, packets: Vec<ForwardedRtp>) -> Self {
        Self {
            run,
            clock,
            packets,
            whole: OnceLock::new(),
        }
    }

    /// How many packets it has.
    pub const fn len(&self) -> usize {
        self.packets.len()
    }

    /// The burst as it was in the VM of its source, given what its format is. It is the same one for
    /// all sinks, and so is its format, as where they are all in one VM: by its address a sink knows
    /// that two forwards bring it one stream.
    pub fn whole(&self, format: &Arc<SourceFormat>) -> Arc<Burst> {
        let whole = self.whole.get_or_init(|| self.with(format));
        if Arc::ptr_eq(&whole.format, format) || whole.format == *format {
            return Arc::clone(whole);
        }
        // The format of one of them has changed already.
        self.with(format)
    }

    fn with(&self, format: &Arc<SourceFormat>) -> Arc<Burst> {
        Arc::new(Burst {
            format: Arc::clone(format),
            run: self.run,
            clock: self.clock,
            packets: self.packets.clone(),
        })
    }
}

enum Saying {
    Format(Arc<SourceFormat>),
    Packets(Arc<Burst>),
}

impl Saying {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Format(one), Self::Format(other)) => Arc::ptr_eq(one, other),
            (Self::Packets(one), Self::Packets(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// What is said, and to whom.
struct Announcement {
    /// Its place in the order of all.
    place: i64,
    saying: Saying,
    to: Vec<(ForwardId, Range<usize>)>,
}

/// What a connection's sources say in a turn to sinks in other VMs, once to all that it is for.
#[derive(Default)]
pub struct Together {
    announcements: VecDeque<Announcement>,
    /// The place of the last word to each sink.
    told: HashMap<ForwardId, i64>,
}

impl Together {
    /// What the packets from here on are made of.
    pub fn format(&mut self, id: ForwardId, format: &Arc<SourceFormat>) {
        self.say(id, Saying::Format(Arc::clone(format)), 0..0);
    }

    /// These of a burst.
    pub fn packets(&mut self, id: ForwardId, burst: &Arc<Burst>, range: Range<usize>) {
        self.say(id, Saying::Packets(Arc::clone(burst)), range);
    }

    /// With those to whom the same is said, unless it would then come too early for this sink.
    fn say(&mut self, id: ForwardId, saying: Saying, range: Range<usize>) {
        let told = self.told.get(&id).copied();
        let known = self
            .announcements
            .iter_mut()
            .find(|known| told.is_none_or(|told| known.place > told) && known.saying.is(&saying));
        let place = if let Some(known) = known {
            known.to.push((id, range));
            known.place
        } else {
            // A format that is the first word to a sink goes before packets that others take too.
            let first = told.is_none() && matches!(saying, Saying::Format(_));
            let next_to = if first {
                self.announcements.front().map(|front| front.place - 1)
            } else {
                self.announcements.back().map(|back| back.place + 1)
            };
            let announcement = Announcement {
                place: next_to.unwrap_or(0),
                saying,
                to: vec![(id, range)],
            };
            let place = announcement.place;
            if first {
                self.announcements.push_front(announcement);
            } else {
                self.announcements.push_back(announcement);
            }
            place
        };
        self.told.insert(id, place);
    }

    /// Says it.
    pub fn send(&mut self, mailbox: &mut impl Mailbox) {
        self.told.clear();
        for Announcement { saying, mut to, .. } in self.announcements.drain(..) {
            match saying {
                Saying::Format(format) => {
                    let bytes = wire::encode_format(&format);
                    mailbox.forward_elsewhere(&to, Elsewhere::Control, &bytes);
                }
                Saying::Packets(burst) => {
                    // One who begins in its middle leaves the rest to those who do not.
                    let start = to.iter().map(|(_, range)| range.start).min().unwrap_or(0);
                    let end = to.iter().map(|(_, range)| range.end).max().unwrap_or(0);
                    for (_, range) in &mut to {
                        *range = range.start - start..range.end - start;
                    }
                    let bytes = wire::encode_burst(&burst, start..end);
                    mailbox.forward_elsewhere(&to, Elsewhere::Packets, &bytes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
