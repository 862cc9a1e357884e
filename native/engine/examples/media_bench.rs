//! Nanoseconds per packet of the media path alone: no cipher, no socket.
//!
//! `cargo run --release --example media_bench`

use bytes::Bytes;
use engine::command::{CommandResult, OutgoingRtp};
use engine::config::Features;
use engine::event::{Event, Sink};
use engine::ids::{Mid, ReceiverId, RequestId, Rid, SenderId, TrackId, TransceiverId};
use engine::media::{Media, PacketWriter, ReceivedRtp};
use engine::plan::{EncodingPlan, MediaPlan, MediaSection, ReceivePlan, SendPlan};
use engine::w3c::{Codec, Kind};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const PACKETS: u32 = 2_000_000;
const BATCH: usize = 1000;

/// Keeps the packets of one batch, in a buffer that is used again.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    rtcp: Vec<Vec<u8>>,
}

impl PacketWriter for Wire {
    fn write_rtp(&mut self, header: &[u8], payload: &[u8]) -> Option<usize> {
        self.bytes.extend_from_slice(header);
        self.bytes.extend_from_slice(payload);
        self.ends.push(self.bytes.len());
        Some(header.len() + payload.len())
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn write_rtcp(&mut self, packet: &[u8]) -> Option<usize> {
        self.rtcp.push(packet.to_vec());
        Some(packet.len())
    }
}

#[derive(Default)]
struct Counter(u64);

impl Sink for Counter {
    fn reply(&mut self, _id: RequestId, _result: CommandResult) {}
    fn event(&mut self, _event: Event) {}
    fn rtp(&mut self, _track: TrackId, _rid: Option<&Rid>, packet: &ReceivedRtp<'_>) {
        self.0 += packet.payload.len() as u64;
    }
}

fn section() -> MediaSection {
    let uris = [
        "urn:ietf:params:rtp-hdrext:sdes:mid",
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    ];
    MediaSection {
        mid: Mid::from("0"),
        kind: Kind::Video,
        transceiver: TransceiverId(1),
        extensions: (1..).zip(uris.map(String::from)).collect(),
        reduced_size_rtcp: true,
        receive: None,
        send: None,
    }
}

fn main() {
    let codec = Codec {
        payload_type: 96,
        mime_type: "video/VP8".into(),
        clock_rate: 90_000,
        channels: None,
        fmtp: None,
        feedback: vec!["nack".into(), "transport-cc".into()],
    };
    let mut sending = section();
    sending.send = Some(SendPlan {
        sender: SenderId(1),
        track: Some(TrackId(1)),
        codec: codec.clone(),
        codecs: vec![codec.clone()],
        rtx: [(97, 96)].into(),
        encodings: vec![EncodingPlan {
            rid: None,
            ssrc: 1,
            rtx_ssrc: Some(2),
            active: true,
        }],
        cname: "bench".into(),
    });
    let mut receiving = section();
    receiving.receive = Some(ReceivePlan {
        receiver: ReceiverId(1),
        track: TrackId(2),
        codecs: vec![codec],
        rtx: BTreeMap::from([(97, 96)]),
        ssrcs: vec![],
        rids: vec![],
    });
    let features = Features::ALL;
    let start = Instant::now();
    let mut sender = Media::new(start, features, true);
    sender.apply(
        start,
        &MediaPlan {
            sections: vec![sending.clone()],
        },
    );
    // The same without transport-wide numbers: nothing is remembered for the estimate.
    let mut unnumbered = Media::new(start, features, true);
    let mut plain = sending.clone();
    plain.extensions.retain(|_, uri| uri.ends_with("mid"));
    unnumbered.apply(
        start,
        &MediaPlan {
            sections: vec![plain],
        },
    );
    let mut receiver = Media::new(start, features, true);
    receiver.apply(
        start,
        &MediaPlan {
            sections: vec![receiving],
        },
    );

    let mut packet = OutgoingRtp {
        marker: false,
        payload_type: 96,
        sequence_number: 0,
        timestamp: 0,
        ssrc: 0,
        csrc: vec![],
        extensions: vec![],
        payload: Bytes::from(vec![7; 1200]),
        padding_size: 0,
        rtx: false,
    };
    let (mut wire, mut back, mut sink) = (Wire::default(), Wire::default(), Counter::default());
    let (mut sent, mut received, mut copied) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut without, mut told) = (Duration::ZERO, Duration::ZERO);
    let mut now = start;
    for _ in 0..PACKETS as usize / BATCH {
        now += Duration::from_millis(10);
        let began = Instant::now();
        for _ in 0..BATCH {
            packet.sequence_number = packet.sequence_number.wrapping_add(1);
            packet.timestamp = packet.timestamp.wrapping_add(9);
            sender.send_rtp(now, TrackId(1), &packet, &mut wire);
        }
        sent += began.elapsed();
        let began = Instant::now();
        let mut from = 0;
        for &end in &wire.ends {
            receiver.handle_rtp(now, &wire.bytes[from..end], &mut sink, &mut back);
            from = end;
        }
        while receiver.poll_timeout().is_some_and(|due| due <= now) {
            receiver.handle_timeout(now, &mut back);
        }
        received += began.elapsed();
        let began = Instant::now();
        for feedback in back.rtcp.drain(..) {
            sender.handle_rtcp(now, &feedback, &mut sink, &mut wire);
        }
        told += began.elapsed();
        // What the fake wire itself costs: the copy of a packet.
        wire.bytes.clear();
        wire.ends.clear();
        let began = Instant::now();
        for _ in 0..BATCH {
            wire.write_rtp(&[0; 24], &packet.payload);
        }
        copied += began.elapsed();
        wire.bytes.clear();
        wire.ends.clear();
        let began = Instant::now();
        for _ in 0..BATCH {
            packet.sequence_number = packet.sequence_number.wrapping_add(1);
            unnumbered.send_rtp(now, TrackId(1), &packet, &mut wire);
        }
        without += began.elapsed();
        wire.bytes.clear();
        wire.ends.clear();
        packet.sequence_number = packet.sequence_number.wrapping_sub(BATCH as u16);
    }
    assert_eq!(sink.0, u64::from(PACKETS) * 1200, "every packet arrives");
    let each = |time: Duration| time.as_nanos() / u128::from(PACKETS);
    println!(
        "send     {:>4} ns/packet (and {} ns for the copy)",
        each(sent - copied),
        each(copied)
    );
    println!(
        "– without transport-wide numbers {:>4} ns/packet",
        each(without.saturating_sub(copied))
    );
    println!(
        "feedback {:>4} ns for each packet that it tells of; the estimate is {:?}",
        each(told),
        sender.available_outgoing_bitrate()
    );
    println!(
        "receive  {:>4} ns/packet (feedback and reports included)",
        each(received)
    );
}
