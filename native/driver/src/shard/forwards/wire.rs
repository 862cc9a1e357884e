//! What the ends of a forward say to each other, as bytes between two VMs. They come from the
//! cluster, which is trusted, but another version of this library may run there: what is not
//! understood is refused, and nothing that is decoded is larger than the bytes it came in.

use super::{Attaching, FarBurst, FarMessage, ForwardMessage, Link};
use crate::mailbox::Elsewhere;
use bytes::Bytes;
use engine::SourceOffer;
use engine::error::Error;
use engine::ids::{ForwardId, Rid, SenderId};
use engine::media::{
    ForwardEnd, ForwardName, ForwardedRtp, SourceClock, SourceFormat, ToSink, ToSource,
};
use engine::w3c::{Codec, Kind};
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The first byte. Raised with every change of what follows.
const VERSION: u8 = 1;

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

/// A message for an end in another VM; `None` for what is never said to one.
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
            let (what, wire) = to_sink(message);
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
    Some((id, what, write(id, &wire)))
}

fn to_sink(message: &ToSink) -> (Elsewhere, Wire<'_>) {
    match message {
        ToSink::Packets(burst, range) => {
            let packets = burst.packets.get(range.clone()).unwrap_or_default();
            let wire = Wire::Packets {
                run: burst.run,
                clock: burst.clock,
                packets: packets.iter().map(WirePacket::from).collect(),
            };
            (Elsewhere::Packets(packets.len()), wire)
        }
        ToSink::Wanted(wanted) => (Elsewhere::Control, Wire::Wanted(*wanted)),
        ToSink::End(reason) => (Elsewhere::End, Wire::SourceEnded(reason.as_str())),
    }
}

/// What the packets that follow are made of.
pub fn encode_format(id: ForwardId, format: &SourceFormat) -> Vec<u8> {
    write(id, &Wire::Format(format.into()))
}

fn write(id: ForwardId, wire: &Wire<'_>) -> Vec<u8> {
    // Only a writer that is full, or a length that is not known, would be an error.
    postcard::to_extend(&(id.0, wire), vec![VERSION]).unwrap_or_default()
}

/// What [`encode`] or [`encode_format`] made; `None` for anything else.
pub fn decode<M>(bytes: &Bytes) -> Option<ForwardMessage<M>> {
    let (&VERSION, body) = bytes.split_first()? else {
        return None;
    };
    let ((id, wire), rest) = postcard::take_from_bytes::<(u64, Wire<'_>)>(body).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let id = ForwardId(id);
    Some(match wire {
        Wire::Attach {
            label,
            sender,
            video,
            format,
        } => {
            let format = format.map(|format| Arc::new(format.into()));
            ForwardMessage::Attach(Box::new(Attaching {
                name: ForwardName {
                    id,
                    label: bytes.slice_ref(label.0),
                },
                sender: SenderId(sender),
                offer: SourceOffer {
                    kind: kind(video),
                    format,
                },
                source: Link::elsewhere(),
            }))
        }
        Wire::Attached(Ok(())) => ForwardMessage::Attached(id, Ok(())),
        Wire::Attached(Err(name)) => {
            let mut reasons = Error::ALL.iter();
            let reason = reasons.find(|reason| reason.as_str() == name)?;
            ForwardMessage::Attached(id, Err(*reason))
        }
        Wire::Format(format) => {
            ForwardMessage::Far(id, FarMessage::Format(Arc::new(format.into())))
        }
        Wire::Packets {
            run,
            clock,
            packets,
        } => {
            let packets = packets.iter().map(|packet| packet.read(bytes));
            let burst = FarBurst {
                run,
                clock,
                packets: packets.collect::<Option<_>>()?,
            };
            ForwardMessage::Far(id, FarMessage::Packets(burst))
        }
        Wire::Wanted(wanted) => ForwardMessage::ToSink(id, ToSink::Wanted(wanted)),
        Wire::SourceEnded(name) => ForwardMessage::ToSink(id, ToSink::End(end(name)?)),
        Wire::Keyframe => ForwardMessage::ToSource(id, ToSource::Keyframe),
        Wire::Budget(bits) => ForwardMessage::ToSource(id, ToSource::Budget(bits)),
        Wire::SinkEnded(name) => ForwardMessage::ToSource(id, ToSource::End(end(name)?)),
    })
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
