//! What the ends of a forward say to each other, as bytes between two VMs. They come from the
//! cluster, which is trusted, but another version of this library may run there: what is not
//! understood is refused, and nothing that is decoded is larger than the bytes it came in.

use super::far::{FarBurst, FarMessage};
use super::{Attaching, ForwardMessage, Link};
use crate::mailbox::Elsewhere;
use bytes::Bytes;
use engine::SourceOffer;
use engine::error::Error;
use engine::ids::{ForwardId, Rid, SenderId};
use engine::media::{
    Burst, ForwardEnd, ForwardName, ForwardedRtp, SourceClock, SourceFormat, ToSink, ToSource,
};
use engine::w3c::{Codec, Kind};
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The first byte. Raised with every change of what follows.
const VERSION: u8 = 2;

/// Contributing sources of an RTP packet at most (RFC 3550 section 5.1: four bits), in bytes.
const MAX_CSRC: usize = 15 * 4;
/// What a UDP datagram holds: no packet came with more.
const MAX_PACKET: usize = 65_535;

#[derive(serde::Serialize, serde::Deserialize)]
enum Wire<'a> {
    Attach {
        #[serde(borrow)]
        label: Slice<'a>,
        sender: u64,
        video: bool,
        format: Option<WireFormat>,
    },
    Attached(Result<(), &'a str>),
    Format(WireFormat),
    Packets {
        run: u64,
        clock: Option<SourceClock>,
        packets: Vec<WirePacket<'a>>,
    },
    Wanted(Option<u64>),
    SourceEnded(&'a str),
    Keyframe,
    Budget(u64),
    SinkEnded(&'a str),
}

#[derive(serde::Serialize, serde::Deserialize)]
struct WireFormat {
    video: bool,
    codecs: Vec<Codec>,
    extensions: BTreeMap<u8, String>,
    rids: Vec<String>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct WirePacket<'a> {
    marker: bool,
    begins: bool,
    payload_type: u8,
    sequence_number: u16,
    timestamp: u32,
    #[serde(borrow)]
    csrc: Slice<'a>,
    elements: Slice<'a>,
    payload: Slice<'a>,
}

/// Bytes that are copied at once; serde takes a slice element by element.
struct Slice<'a>(&'a [u8]);

impl Serialize for Slice<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Slice<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a [u8]>::deserialize(deserializer).map(Self)
    }
}

/// A message for an end in another VM; `None` for what is never said to one. Whom it is for is not in
/// the bytes: they may be for many.
pub fn encode<M>(message: &ForwardMessage<M>) -> Option<(ForwardId, Elsewhere, Vec<u8>)> {
    let (id, what, wire) = match message {
        ForwardMessage::Attach(attaching) => {
            let Attaching {
                name,
                sender,
                offer,
                source: _,
            } = attaching.as_ref();
            let wire = Wire::Attach {
                label: Slice(&name.label),
                sender: sender.0,
                video: offer.kind == Kind::Video,
                format: offer.format.as_deref().map(WireFormat::from),
            };
            (name.id, Elsewhere::Attach, wire)
        }
        ForwardMessage::Attached(id, result) => {
            let what = match result {
                Ok(()) => Elsewhere::Control,
                Err(_) => Elsewhere::End,
            };
            (*id, what, Wire::Attached(result.map_err(Error::as_str)))
        }
        ForwardMessage::ToSink(id, message) => {
            let (what, wire) = match message {
                // Said to all who take them, by `encode_burst`.
                ToSink::Packets(..) => return None,
                ToSink::Wanted(wanted) => (Elsewhere::Control, Wire::Wanted(*wanted)),
                ToSink::End(reason) => (Elsewhere::End, Wire::SourceEnded(reason.as_str())),
            };
            (*id, what, wire)
        }
        ForwardMessage::ToSource(id, message) => {
            let (what, wire) = match message {
                ToSource::Keyframe => (Elsewhere::Feedback, Wire::Keyframe),
                ToSource::Budget(bits) => (Elsewhere::Feedback, Wire::Budget(*bits)),
                ToSource::End(reason) => (Elsewhere::End, Wire::SinkEnded(reason.as_str())),
            };
            (*id, what, wire)
        }
        ForwardMessage::Open(_) | ForwardMessage::Far(..) => return None,
    };
    Some((id, what, write(&wire)))
}

/// What the packets that follow are made of.
pub fn encode_format(format: &SourceFormat) -> Vec<u8> {
    write(&Wire::Format(format.into()))
}

/// Packets of a burst, without the format.
pub fn encode_burst(burst: &Burst, range: Range<usize>) -> Vec<u8> {
    let packets = burst.packets.get(range).unwrap_or_default();
    write(&Wire::Packets {
        run: burst.run,
        clock: burst.clock,
        packets: packets.iter().map(WirePacket::from).collect(),
    })
}

fn write(wire: &Wire<'_>) -> Vec<u8> {
    // Only a writer that is full, or a length that is not known, would be an error.
    postcard::to_extend(wire, vec![VERSION]).unwrap_or_default()
}

/// What was said in another VM, to one end of a forward or to many.
pub enum Said {
    /// To a sink: may it begin?
    Attach {
        /// What the source's side gives back.
        label: Bytes,
        /// The sink's sender.
        sender: SenderId,
        /// What the source is.
        offer: SourceOffer,
    },
    /// To a source: whether it may.
    Attached(Result<(), Error>),
    /// To sinks: what the packets from here on are made of.
    Format(Arc<SourceFormat>),
    /// To sinks.
    Packets(Arc<FarBurst>),
    /// To a sink.
    Wanted(Option<u64>),
    /// To a sink.
    SourceEnded(ForwardEnd),
    /// To a source.
    Feedback(ToSource),
}

impl Said {
    /// What [`encode`], [`encode_format`] or [`encode_burst`] made; `None` for anything else.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let (&VERSION, body) = bytes.split_first()? else {
            return None;
        };
        let (wire, rest) = postcard::take_from_bytes::<Wire<'_>>(body).ok()?;
        if !rest.is_empty() {
            return None;
        }
        Some(match wire {
            Wire::Attach {
                label,
                sender,
                video,
                format,
            } => Self::Attach {
                label: bytes.slice_ref(label.0),
                sender: SenderId(sender),
                offer: SourceOffer {
                    kind: kind(video),
                    format: format.map(|format| Arc::new(format.into())),
                },
            },
            Wire::Attached(Ok(())) => Self::Attached(Ok(())),
            Wire::Attached(Err(name)) => {
                let mut reasons = Error::ALL.iter();
                let reason = reasons.find(|reason| reason.as_str() == name)?;
                Self::Attached(Err(*reason))
            }
            Wire::Format(format) => Self::Format(Arc::new(format.into())),
            Wire::Packets {
                run,
                clock,
                packets,
            } => {
                let packets = packets.iter().map(|packet| packet.read(bytes));
                let packets = packets.collect::<Option<_>>()?;
                Self::Packets(Arc::new(FarBurst::new(run, clock, packets)))
            }
            Wire::Wanted(wanted) => Self::Wanted(wanted),
            Wire::SourceEnded(name) => Self::SourceEnded(end(name)?),
            Wire::Keyframe => Self::Feedback(ToSource::Keyframe),
            Wire::Budget(bits) => Self::Feedback(ToSource::Budget(bits)),
            Wire::SinkEnded(name) => Self::Feedback(ToSource::End(end(name)?)),
        })
    }

    /// The message for one of those that it was said to; `range` is which packets it takes.
    pub fn message<M>(&self, id: ForwardId, range: Range<usize>) -> ForwardMessage<M> {
        match self {
            Self::Attach {
                label,
                sender,
                offer,
            } => ForwardMessage::Attach(Box::new(Attaching {
                name: ForwardName {
                    id,
                    label: label.clone(),
                },
                sender: *sender,
                offer: offer.clone(),
                source: Link::elsewhere(),
            })),
            Self::Attached(result) => ForwardMessage::Attached(id, *result),
            Self::Format(format) => ForwardMessage::Far(id, FarMessage::Format(Arc::clone(format))),
            Self::Packets(burst) => {
                let end = range.end.min(burst.len());
                let range = range.start.min(end)..end;
                ForwardMessage::Far(id, FarMessage::Packets(Arc::clone(burst), range))
            }
            Self::Wanted(wanted) => ForwardMessage::ToSink(id, ToSink::Wanted(*wanted)),
            Self::SourceEnded(reason) => ForwardMessage::ToSink(id, ToSink::End(*reason)),
            Self::Feedback(message) => ForwardMessage::ToSource(id, *message),
        }
    }
}

fn end(name: &str) -> Option<ForwardEnd> {
    let mut reasons = ForwardEnd::ALL.iter();
    reasons.find(|reason| reason.as_str() == name).copied()
}

const fn kind(video: bool) -> Kind {
    if video { Kind::Video } else { Kind::Audio }
}

impl From<&SourceFormat> for WireFormat {
    fn from(format: &SourceFormat) -> Self {
        Self {
            video: format.kind == Kind::Video,
            codecs: format.codecs.clone(),
            extensions: format.extensions.clone(),
            rids: format.rids.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<WireFormat> for SourceFormat {
    fn from(format: WireFormat) -> Self {
        Self {
            kind: kind(format.video),
            codecs: format.codecs,
            extensions: format.extensions,
            rids: format
                .rids
                .iter()
                .map(|rid| Rid::from(rid.as_str()))
                .collect(),
        }
    }
}

impl<'a> From<&'a ForwardedRtp> for WirePacket<'a> {
    fn from(packet: &'a ForwardedRtp) -> Self {
        Self {
            marker: packet.marker,
            begins: packet.begins,
            payload_type: packet.payload_type,
            sequence_number: packet.sequence_number,
            timestamp: packet.timestamp,
            csrc: Slice(&packet.csrc),
            elements: Slice(&packet.elements),
            payload: Slice(&packet.payload),
        }
    }
}

impl WirePacket<'_> {
    /// The packet, which shares the memory of the message; `None` for one that is no RTP.
    fn read(&self, bytes: &Bytes) -> Option<ForwardedRtp> {
        let size = self.csrc.0.len() + self.elements.0.len() + self.payload.0.len();
        let is_rtp = self.payload_type < 128
            && self.csrc.0.len() <= MAX_CSRC
            && self.csrc.0.len().is_multiple_of(4)
            && size <= MAX_PACKET;
        is_rtp.then(|| ForwardedRtp {
            marker: self.marker,
            begins: self.begins,
            payload_type: self.payload_type,
            sequence_number: self.sequence_number,
            timestamp: self.timestamp,
            csrc: bytes.slice_ref(self.csrc.0),
            elements: bytes.slice_ref(self.elements.0),
            payload: bytes.slice_ref(self.payload.0),
        })
    }
}

#[cfg(test)]
mod tests;
