//! Two media paths, a fake wire and a virtual clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod pacing;
mod repair;
mod robustness;
mod routing;
mod rtcp;
mod sending;
mod wire;

use super::*;
use crate::command::CommandResult;
use crate::event::{Event, Sink};
use crate::ids::{Mid, ReceiverId, RequestId, Rid, SenderId, TransceiverId};
use crate::plan::{EncodingPlan, MediaSection, ReceivePlan, SendPlan};
use crate::w3c::{Codec, Kind};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub(super) const MID: u8 = 1;
pub(super) const TWCC: u8 = 3;
pub(super) const RID: u8 = 4;
pub(super) const REPAIRED_RID: u8 = 5;
pub(super) const LEVEL: u8 = 6;
pub(super) const VP8: u8 = 96;
pub(super) const RTX: u8 = 97;
pub(super) const OPUS: u8 = 111;
/// The track that A sends; B receives it as `RECEIVED`.
pub(super) const SENT: TrackId = TrackId(10);
pub(super) const RECEIVED: TrackId = TrackId(20);

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn vp8() -> Codec {
    Codec {
        payload_type: VP8,
        mime_type: "video/VP8".into(),
        clock_rate: 90_000,
        channels: None,
        fmtp: None,
        feedback: ["nack", "nack pli", "ccm fir", "transport-cc"]
            .map(String::from)
            .to_vec(),
    }
}

pub(super) fn opus() -> Codec {
    Codec {
        payload_type: OPUS,
        mime_type: "audio/opus".into(),
        clock_rate: 48_000,
        channels: Some(2),
        fmtp: None,
        feedback: vec!["transport-cc".into()],
    }
}

pub(super) fn extensions() -> BTreeMap<u8, String> {
    let mut extensions = BTreeMap::new();
    extensions.insert(MID, "urn:ietf:params:rtp-hdrext:sdes:mid".into());
    extensions.insert(
        TWCC,
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01".into(),
    );
    extensions.insert(RID, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id".into());
    extensions.insert(
        REPAIRED_RID,
        "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id".into(),
    );
    extensions.insert(LEVEL, "urn:ietf:params:rtp-hdrext:ssrc-audio-level".into());
    extensions
}

pub(super) fn section(mid: &str, number: u64) -> MediaSection {
    MediaSection {
        mid: Mid::from(mid),
        kind: Kind::Video,
        transceiver: TransceiverId(number),
        extensions: extensions(),
        reduced_size_rtcp: true,
        receive: None,
        send: None,
    }
}

pub(super) fn receive(track: TrackId, codec: Codec, rids: &[&str]) -> ReceivePlan {
    let rtx = if codec.payload_type == VP8 {
        BTreeMap::from([(RTX, VP8)])
    } else {
        BTreeMap::new()
    };
    ReceivePlan {
        receiver: ReceiverId(track.0),
        track,
        codecs: vec![codec],
        rtx,
        ssrcs: vec![],
        rids: rids.iter().map(|rid| Rid::from(*rid)).collect(),
    }
}

pub(super) fn send(track: TrackId, codec: Codec, rids: &[&str], ssrc: u32) -> SendPlan {
    let rtx = codec.payload_type == VP8;
    let encoding = |rid: Option<&str>, at: u32| EncodingPlan {
        rid: rid.map(Rid::from),
        ssrc: ssrc + at,
        rtx_ssrc: rtx.then_some(ssrc + 100 + at),
        active: true,
    };
    SendPlan {
        sender: SenderId(track.0),
        track: Some(track),
        codec: codec.clone(),
        codecs: vec![codec],
        rtx: rtx.then_some((RTX, VP8)).into_iter().collect(),
        encodings: if rids.is_empty() {
            vec![encoding(None, 0)]
        } else {
            rids.iter()
                .zip(0..)
                .map(|(rid, at)| encoding(Some(rid), at))
                .collect()
        },
        cname: "test".into(),
    }
}

pub(super) fn plan(sections: Vec<MediaSection>) -> MediaPlan {
    MediaPlan { sections }
}

/// The plans of two ends: A sends video to B.
pub(super) fn one_way(rids: &[&str]) -> (MediaPlan, MediaPlan) {
    let mut sending = section("v", 1);
    sending.send = Some(send(SENT, vp8(), rids, 1000));
    let mut receiving = section("v", 1);
    receiving.receive = Some(receive(RECEIVED, vp8(), rids));
    (plan(vec![sending]), plan(vec![receiving]))
}

#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) rtp: Vec<Vec<u8>>,
    pub(super) rtcp: Vec<Vec<u8>>,
    pub(super) closed: bool,
}

impl PacketWriter for Wire {
    fn write_rtp(&mut self, header: &[u8], payload: &[u8]) -> Option<usize> {
        if self.closed {
            return None;
        }
        self.rtp.push([header, payload].concat());
        Some(header.len() + payload.len())
    }

    fn is_ready(&self) -> bool {
        !self.closed
    }

    fn write_rtcp(&mut self, packet: &[u8]) -> Option<usize> {
        if self.closed {
            return None;
        }
        self.rtcp.push(packet.to_vec());
        Some(packet.len())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) track: TrackId,
    pub(super) rid: Option<String>,
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) sequence_number: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) elements: Vec<(u8, Vec<u8>)>,
    pub(super) payload: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Got {
    pub(super) packets: Vec<Delivered>,
    pub(super) rtcp: Vec<(Option<TrackId>, Bytes)>,
}

impl Sink for Got {
    fn reply(&mut self, _id: RequestId, _result: CommandResult) {}

    fn event(&mut self, event: Event) {
        if let Event::Rtcp(packets) = event {
            self.rtcp.extend(packets);
        }
    }

    fn rtp(&mut self, track: TrackId, rid: Option<&Rid>, packet: &ReceivedRtp<'_>) {
        self.packets.push(Delivered {
            track,
            rid: rid.map(|rid| rid.as_str().to_owned()),
            ssrc: packet.ssrc,
            payload_type: packet.payload_type,
            sequence_number: packet.sequence_number,
            timestamp: packet.timestamp,
            marker: packet.marker,
            elements: packet
                .elements()
                .map(|(id, data)| (id, data.to_vec()))
                .collect(),
            payload: packet.payload.to_vec(),
        });
    }
}

/// One end with its wire and what it was told.
pub(super) struct End {
    pub(super) media: Media,
    pub(super) wire: Wire,
    pub(super) got: Got,
    inbox: VecDeque<(Instant, bool, Vec<u8>)>,
}

impl End {
    pub(super) fn new(now: Instant, plan: &MediaPlan) -> Self {
        let mut media = Media::new(now, Features::ALL, true);
        media.apply(now, plan);
        Self {
            media,
            wire: Wire::default(),
            got: Got::default(),
            inbox: VecDeque::new(),
        }
    }

    pub(super) fn rtp(&mut self, now: Instant, packet: &[u8]) {
        self.media
            .handle_rtp(now, packet, &mut self.got, &mut self.wire);
    }

    pub(super) fn rtcp(&mut self, now: Instant, packet: &[u8]) {
        self.media
            .handle_rtcp(now, packet, &mut self.got, &mut self.wire);
    }

    pub(super) fn send(&mut self, now: Instant, track: TrackId, packet: &OutgoingRtp) -> bool {
        self.media.send_rtp(now, track, packet, &mut self.wire)
    }

    pub(super) fn timers(&mut self, now: Instant) {
        while self.media.poll_timeout().is_some_and(|due| due <= now) {
            self.media.handle_timeout(now, &mut self.wire);
        }
    }

    /// The fields of the only entry of this kind with this SSRC.
    pub(super) fn stats(
        &self,
        kind: &str,
        ssrc: u32,
    ) -> serde_json::Map<String, serde_json::Value> {
        let mut report = StatsReport::default();
        self.media.stats(Instant::now(), &mut report);
        let id = format!("{kind}_{ssrc}");
        report
            .entries
            .into_iter()
            .find(|entry| entry.id == id)
            .expect(&id)
            .fields
    }

    pub(super) fn drops(&self, name: &str) -> u64 {
        let mut report = StatsReport::default();
        self.media.stats(Instant::now(), &mut report);
        let entry = report
            .entries
            .into_iter()
            .find(|entry| entry.kind == "media_drops");
        entry.map_or(0, |entry| entry.fields[name].as_u64().unwrap())
    }
}

/// Two ends and what is between them.
pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) a: End,
    pub(super) b: End,
    pub(super) delay: Duration,
    /// Percent of packets of either kind, in either direction.
    pub(super) loss: u64,
    /// RTP packets of A's that the link lost, repairs left out.
    pub(super) lost_originals: u64,
    random: u64,
}

impl Pair {
    pub(super) fn new((a, b): (MediaPlan, MediaPlan), delay: Duration) -> Self {
        let now = Instant::now();
        Self {
            now,
            a: End::new(now, &a),
            b: End::new(now, &b),
            delay,
            loss: 0,
            lost_originals: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    fn loses(&mut self) -> bool {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.random >> 33) % 100 < self.loss
    }

    /// Lets time pass, one millisecond at a time.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.exchange();
            self.now += ms(1);
            self.a.timers(self.now);
            self.b.timers(self.now);
            self.exchange();
        }
    }

    fn exchange(&mut self) {
        let arrival = self.now + self.delay;
        for packet in std::mem::take(&mut self.a.wire.rtp) {
            if self.loses() {
                self.lost_originals += u64::from(packet[1] & 0x7f != RTX);
            } else {
                self.b.inbox.push_back((arrival, true, packet));
            }
        }
        for packet in std::mem::take(&mut self.b.wire.rtp) {
            if !self.loses() {
                self.a.inbox.push_back((arrival, true, packet));
            }
        }
        for packet in std::mem::take(&mut self.a.wire.rtcp) {
            if !self.loses() {
                self.b.inbox.push_back((arrival, false, packet));
            }
        }
        for packet in std::mem::take(&mut self.b.wire.rtcp) {
            if !self.loses() {
                self.a.inbox.push_back((arrival, false, packet));
            }
        }
        for end in [&mut self.a, &mut self.b] {
            while end.inbox.front().is_some_and(|(at, ..)| *at <= self.now) {
                let (_, is_rtp, packet) = end.inbox.pop_front().unwrap();
                if is_rtp {
                    end.rtp(self.now, &packet)
                } else {
                    end.rtcp(self.now, &packet)
                }
            }
        }
    }
}

/// A packet as a program hands it over.
pub(super) fn outgoing(sequence_number: u16) -> OutgoingRtp {
    OutgoingRtp {
        marker: false,
        payload_type: VP8,
        sequence_number,
        timestamp: u32::from(sequence_number) * 900,
        ssrc: 0,
        csrc: vec![],
        extensions: vec![],
        payload: Bytes::from(vec![sequence_number as u8; 20]),
        padding_size: 0,
        rtx: false,
    }
}

/// A packet as a peer sends it.
pub(super) fn packet(
    ssrc: u32,
    payload_type: u8,
    number: u16,
    elements: &[(u8, &[u8])],
) -> Vec<u8> {
    let mut list = super::header::ElementList::new();
    for (id, data) in elements {
        list.push(*id, data);
    }
    let fields = super::header::Fields {
        marker: false,
        payload_type,
        sequence_number: number,
        timestamp: u32::from(number) * 900,
        ssrc,
        padding: false,
    };
    let header = super::header::HeaderBuffer::write(fields, std::iter::empty(), &list);
    [header.as_slice(), &[number as u8; 8]].concat()
}
