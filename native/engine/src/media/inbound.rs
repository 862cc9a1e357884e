//! Which stream a packet belongs to (RFC 8843 section 9.2): by its MID, by what its SSRC is known
//! as, by what SDP said of its SSRC, by its RID, or by a payload type that only one m-line has.

use super::ReceivedRtp;
use super::receiver::Receiver;
use super::section::{ExtensionIds, PayloadKind, Section};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Streams of one connection, media and repair each. Three hundred participants with three
/// layers fit; an authenticated peer that makes up more replaces its own idle ones.
const MAX_STREAMS: usize = 1024;
/// A stream that was silent this long gives its place to a new one when there is none left.
const IDLE: Duration = Duration::from_secs(10);

/// What a packet's header extension says about where it belongs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks<'a> {
    pub(super) mid: Option<&'a [u8]>,
    pub(super) rid: Option<&'a [u8]>,
    pub(super) repaired_rid: Option<&'a [u8]>,
    pub(super) twcc: Option<u16>,
    /// RFC 6464: voice activity, and the level in -dBov.
    pub(super) audio_level: Option<u8>,
    /// RFC 6465: one byte a CSRC.
    pub(super) mixed_levels: &'a [u8],
}

impl<'a> Marks<'a> {
    pub(super) fn read(packet: &ReceivedRtp<'a>, ids: &ExtensionIds) -> Self {
        let mut marks = Self::default();
        for (id, data) in packet.elements() {
            if id == ids.mid {
                marks.mid = Some(data);
            } else if id == ids.twcc {
                marks.twcc = data.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
            } else if id == ids.rid {
                marks.rid = Some(data);
            } else if id == ids.repaired_rid {
                marks.repaired_rid = Some(data);
            } else if id == ids.audio_level {
                marks.audio_level = data.first().copied();
            } else if id == ids.mixed_levels {
                marks.mixed_levels = data;
            }
        }
        marks
    }
}

/// A repair stream (RFC 4588, SSRC-multiplexed).
#[derive(Debug)]
pub(super) struct Repair {
    pub(super) section: usize,
    pub(super) layer: Option<usize>,
    /// The stream it repairs, once known.
    pub(super) media_ssrc: Option<u32>,
    last_arrival: Instant,
}

/// Where a packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To the receiver with its SSRC.
    Media { section: usize },
    /// To the repair stream with its SSRC; its payload is of this type.
    Repair { section: usize, payload_type: u8 },
}

/// Packets that belong nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unrouted {
    /// No m-line can be told.
    pub(super) unknown_section: u64,
    /// The m-line has no such payload type, or no such layer.
    pub(super) unknown_payload: u64,
    /// There are too many streams already.
    pub(super) too_many_streams: u64,
}

/// Every received stream, by SSRC.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// Boxed: a node of the map has room for eleven, and most connections have two.
    pub(super) receivers: BTreeMap<u32, Box<Receiver>>,
    pub(super) repairs: BTreeMap<u32, Repair>,
    pub(super) unrouted: Unrouted,
}

impl Inbound {
    /// Finds, or makes, the stream of a packet. An SSRC whose MID changes moves with it.
    pub(super) fn route(
        &mut self,
        now: Instant,
        sections: &[Section],
        packet: &ReceivedRtp<'_>,
        marks: &Marks<'_>,
    ) -> Option<Route> {
        if let Some(receiver) = self.receivers.get_mut(&packet.ssrc) {
            let section = sections.get(receiver.section)?;
            if says_so(section, marks) {
                if let Some(rid) = marks.rid
                    && let Some(layer) = section.layer(rid)
                {
                    receiver.layer = Some(layer);
                }
                return Some(Route::Media {
                    section: receiver.section,
                });
            }
        } else if let Some(repair) = self.repairs.get_mut(&packet.ssrc) {
            let section = sections.get(repair.section)?;
            if says_so(section, marks) {
                let Some(PayloadKind::Repair(payload_type)) =
                    section.payload_kind(packet.payload_type)
                else {
                    self.unrouted.unknown_payload += 1;
                    return None;
                };
                if let Some(layer) = repaired_layer(section, marks)
                    && repair.layer != Some(layer)
                {
                    repair.layer = Some(layer);
                    repair.media_ssrc = None;
                }
                repair.last_arrival = now;
                return Some(Route::Repair {
                    section: repair.section,
                    payload_type,
                });
            }
        }
        self.bind(now, sections, packet, marks)
    }

    /// A new SSRC, or one that moves.
    fn bind(
        &mut self,
        now: Instant,
        sections: &[Section],
        packet: &ReceivedRtp<'_>,
        marks: &Marks<'_>,
    ) -> Option<Route> {
        let Some(at) = find_section(sections, packet, marks) else {
            self.unrouted.unknown_section += 1;
            return None;
        };
        let section = sections.get(at)?;
        let Some(kind) = section.payload_kind(packet.payload_type) else {
            self.unrouted.unknown_payload += 1;
            return None;
        };
        let simulcast = section
            .receive()
            .is_some_and(|receive| !receive.rids.is_empty());
        // A layer that was not negotiated has no name to be delivered under.
        if simulcast
            && let Some(rid) = marks.rid.or(marks.repaired_rid)
            && section.layer(rid).is_none()
        {
            self.unrouted.unknown_payload += 1;
            return None;
        }
        self.receivers.remove(&packet.ssrc);
        self.repairs.remove(&packet.ssrc);
        if !self.make_room(now) {
            self.unrouted.too_many_streams += 1;
            return None;
        }
        match kind {
            PayloadKind::Codec(_) => {
                let mut receiver = Receiver::new(now, at);
                receiver.layer = marks.rid.and_then(|rid| section.layer(rid));
                self.receivers.insert(packet.ssrc, Box::new(receiver));
                Some(Route::Media { section: at })
            }
            PayloadKind::Repair(payload_type) => {
                let repair = Repair {
                    section: at,
                    layer: repaired_layer(section, marks),
                    media_ssrc: None,
                    last_arrival: now,
                };
                self.repairs.insert(packet.ssrc, repair);
                Some(Route::Repair {
                    section: at,
                    payload_type,
                })
            }
        }
    }

    fn make_room(&mut self, now: Instant) -> bool {
        let idle = |arrived: Instant| now.saturating_duration_since(arrived) > IDLE;
        if self.receivers.len() >= MAX_STREAMS {
            self.receivers
                .retain(|_, receiver| !idle(receiver.last_arrival));
        }
        if self.repairs.len() >= MAX_STREAMS {
            self.repairs.retain(|_, repair| !idle(repair.last_arrival));
        }
        self.receivers.len() < MAX_STREAMS && self.repairs.len() < MAX_STREAMS
    }

    /// The stream that a repair packet repairs: as SDP grouped them (`FID`), by layer, the only
    /// one of its m-line, or the one that misses this very packet.
    pub(super) fn repaired_stream(
        &mut self,
        sections: &[Section],
        repair_ssrc: u32,
        sequence_number: u16,
    ) -> Option<u32> {
        let repair = self.repairs.get(&repair_ssrc)?;
        if let Some(ssrc) = repair.media_ssrc
            && self
                .receivers
                .get(&ssrc)
                .is_some_and(|media| media.section == repair.section)
        {
            return Some(ssrc);
        }
        let grouped = sections.get(repair.section)?.receive()?.ssrcs.iter();
        let grouped = grouped
            .filter(|(_, rtx)| *rtx == Some(repair_ssrc))
            .map(|(ssrc, _)| *ssrc);
        let (section, layer) = (repair.section, repair.layer);
        let candidates = || {
            let same = move |media: &Receiver| {
                media.section == section && (layer.is_none() || media.layer == layer)
            };
            self.receivers.iter().filter(move |(_, media)| same(media))
        };
        let mut found = grouped
            .into_iter()
            .find(|ssrc| self.receivers.contains_key(ssrc));
        if found.is_none() && layer.is_some() {
            // A layer that changed its SSRC: the one that sends now.
            found = candidates()
                .max_by_key(|(_, media)| media.last_arrival)
                .map(|(ssrc, _)| *ssrc);
        }
        if found.is_none() && candidates().count() == 1 {
            found = candidates().next().map(|(ssrc, _)| *ssrc);
        }
        if found.is_none() {
            // Not kept: two streams may miss the same number.
            let mut wanting = candidates().filter(|(_, media)| media.nack.wants(sequence_number));
            return match (wanting.next(), wanting.next()) {
                (Some((ssrc, _)), None) => Some(*ssrc),
                _ => None,
            };
        }
        if let Some(repair) = self.repairs.get_mut(&repair_ssrc) {
            repair.media_ssrc = found;
        }
        found
    }

    /// The streams that an m-line arrives in now: of one layer, or one of each.
    pub(super) fn current_streams(&self, section: usize, layer: Option<usize>) -> Vec<u32> {
        let mut current: BTreeMap<Option<usize>, (Instant, u32)> = BTreeMap::new();
        for (&ssrc, receiver) in &self.receivers {
            let fits = receiver.section == section && (layer.is_none() || receiver.layer == layer);
            if !fits {
                continue;
            }
            let newest = current
                .entry(receiver.layer)
                .or_insert((receiver.last_arrival, ssrc));
            if receiver.last_arrival >= newest.0 {
                *newest = (receiver.last_arrival, ssrc);
            }
        }
        current.into_values().map(|(_, ssrc)| ssrc).collect()
    }

    /// Follows a new plan: streams of m-lines, and of layers, that are gone go with them.
    pub(super) fn reconcile(&mut self, old: &[Section], new: &[Section]) {
        let stays = |section: usize, layer: Option<usize>| -> Option<(usize, Option<usize>)> {
            let before = old.get(section)?;
            let at = new.iter().position(|after| {
                after.plan.mid == before.plan.mid
                    && after.plan.transceiver == before.plan.transceiver
            })?;
            // An m-line on hold has no layers to compare: they keep their places.
            let (Some(before), Some(after)) = (before.receive(), new.get(at)?.receive()) else {
                return Some((at, layer));
            };
            let layer = match layer {
                None => None,
                Some(layer) => {
                    let rid = before.rids.get(layer)?;
                    Some(after.rids.iter().position(|known| known == rid)?)
                }
            };
            Some((at, layer))
        };
        let held = |section: usize| new.get(section).is_some_and(|new| new.receive().is_none());
        self.receivers.retain(|_, receiver| {
            let Some((section, layer)) = stays(receiver.section, receiver.layer) else {
                return false;
            };
            receiver.section = section;
            receiver.layer = layer;
            receiver.plan_changed();
            if held(section) {
                // What its sender skips meanwhile is not lost.
                receiver.start_over();
            }
            true
        });
        self.repairs.retain(|_, repair| {
            let Some((section, layer)) = stays(repair.section, repair.layer) else {
                return false;
            };
            repair.section = section;
            repair.layer = layer;
            true
        });
    }
}

/// Whether a packet's MID, if it has one, is the one of this section.
fn says_so(section: &Section, marks: &Marks<'_>) -> bool {
    marks
        .mid
        .is_none_or(|mid| mid == section.plan.mid.as_str().as_bytes())
}

/// The layer that a repair stream says it repairs. Some senders put the layer's name into the
/// RID extension (RFC 8852 section 3.1 wants the repaired one).
fn repaired_layer(section: &Section, marks: &Marks<'_>) -> Option<usize> {
    marks
        .repaired_rid
        .or(marks.rid)
        .and_then(|rid| section.layer(rid))
}

fn find_section(
    sections: &[Section],
    packet: &ReceivedRtp<'_>,
    marks: &Marks<'_>,
) -> Option<usize> {
    if let Some(mid) = marks.mid {
        // RFC 8843 section 9.2: a MID that is unknown, or not received on, is the end of it.
        return sections.iter().position(|section| {
            section.plan.mid.as_str().as_bytes() == mid && section.receive().is_some()
        });
    }
    let signalled = |section: &Section| {
        section.receive().is_some_and(|receive| {
            receive
                .ssrcs
                .iter()
                .any(|(ssrc, rtx)| *ssrc == packet.ssrc || *rtx == Some(packet.ssrc))
        })
    };
    if let Some(at) = sections.iter().position(signalled) {
        return Some(at);
    }
    if let Some(rid) = marks.rid.or(marks.repaired_rid)
        && let Some(at) = only(sections, |section| section.layer(rid).is_some())
    {
        return Some(at);
    }
    only(sections, |section| {
        section.payload_kind(packet.payload_type).is_some()
    })
}

/// The one section that fits; `None` where several do.
fn only(sections: &[Section], fits: impl Fn(&Section) -> bool) -> Option<usize> {
    let mut fitting = sections
        .iter()
        .enumerate()
        .filter(|(_, section)| fits(section));
    match (fitting.next(), fitting.next()) {
        (Some((at, _)), None) => Some(at),
        _ => None,
    }
}
