//! What waits in front of the cipher, and what does not.

use super::*;
use crate::w3c::Kind;

const AUDIO: TrackId = TrackId(11);

/// A sends video and audio, and somebody wants its estimate.
fn paced() -> Pair {
    let (mut a, mut b) = one_way(&[]);
    let mut audio = section("a", 2);
    audio.kind = Kind::Audio;
    let mut received = audio.clone();
    audio.send = Some(send(AUDIO, opus(), &[], 2000));
    received.receive = Some(receive(TrackId(21), opus(), &[]));
    a.sections.push(audio);
    b.sections.push(received);
    let mut pair = Pair::new((a, b), ms(10));
    pair.a
        .media
        .want_outgoing_bitrate(pair.now, Some(2_000_000));
    pair
}

fn large(number: u16) -> OutgoingRtp {
    OutgoingRtp {
        payload: Bytes::from(vec![number as u8; 1000]),
        ..outgoing(number)
    }
}

/// Payload type and transport-wide number of what left.
fn left(packets: &[Vec<u8>]) -> Vec<(u8, u16)> {
    let parsed = packets.iter().map(|packet| {
        let packet = ReceivedRtp::parse(packet).unwrap();
        let (_, number) = packet.elements().find(|(id, _)| *id == TWCC).unwrap();
        let number = u16::from_be_bytes(number.try_into().unwrap());
        (packet.payload_type, number)
    });
    parsed.collect()
}

#[test]
fn a_burst_waits_and_audio_does_not_wait_behind_it() {
    let mut pair = paced();
    for number in 0..40 {
        assert!(pair.a.send(pair.now, SENT, &large(number)));
    }
    let mut audio = outgoing(0);
    audio.payload_type = OPUS;
    pair.a.send(pair.now, AUDIO, &audio);
    let at_once = left(&pair.a.wire.rtp);
    assert!(at_once.len() < 5, "{at_once:?}");
    assert_eq!(at_once.last().unwrap().0, OPUS);
}

#[test]
fn what_waited_leaves_in_order_and_is_numbered_as_it_leaves() {
    let mut pair = paced();
    for number in 0..40 {
        pair.a.send(pair.now, SENT, &large(number));
    }
    let mut packets = Vec::new();
    for _ in 0..500 {
        pair.now += ms(1);
        pair.a.timers(pair.now);
        packets.append(&mut pair.a.wire.rtp);
    }
    let numbers: Vec<u16> = left(&packets).iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, (0..packets.len() as u16).collect::<Vec<u16>>());
    let mut video: Vec<&Vec<u8>> = packets.iter().collect();
    video.retain(|packet| packet[1] & 0x7f == VP8);
    let sent: Vec<u8> = video.iter().map(|packet| *packet.last().unwrap()).collect();
    assert_eq!(sent, (0..40).collect::<Vec<u8>>(), "within half a second");
}

#[test]
fn what_finds_no_room_is_dropped_and_counted() {
    let mut pair = paced();
    for number in 0..3000 {
        pair.a.send(pair.now, SENT, &large(number));
    }
    let dropped = pair.a.drops("paced_out_packets");
    assert!(dropped > 500, "{dropped}");
    let sent = pair.a.stats("outbound_rtp", 1000)["packets_sent"].as_u64();
    assert_eq!(sent, Some(3000 - dropped));
}

#[test]
fn what_still_waits_when_nobody_wants_the_estimate_any_more_leaves_first() {
    let mut pair = paced();
    for number in 0..10 {
        pair.a.send(pair.now, SENT, &large(number));
    }
    pair.a.media.want_outgoing_bitrate(pair.now, None);
    pair.a.send(pair.now, SENT, &large(10));
    pair.run(ms(500));
    let payloads: Vec<u8> = pair.b.got.packets.iter().map(|p| p.payload[0]).collect();
    assert_eq!(payloads, (0..=10).collect::<Vec<u8>>());
    for number in 11..20 {
        pair.a.send(pair.now, SENT, &large(number));
    }
    assert_eq!(pair.a.wire.rtp.len(), 9, "no pacing");
}

#[test]
fn a_closed_connection_sends_nothing_of_what_waited() {
    let mut pair = paced();
    for number in 0..40 {
        pair.a.send(pair.now, SENT, &large(number));
    }
    pair.a.wire.rtp.clear();
    pair.a.media.close(pair.now, &mut pair.a.wire);
    assert_eq!(pair.a.media.poll_timeout(), None);
    assert!(pair.a.wire.rtp.is_empty());
}

#[test]
fn a_repair_leaves_before_what_is_new() {
    let mut pair = paced();
    pair.a.send(pair.now, SENT, &large(0));
    pair.run(ms(300));
    for number in 1..30 {
        pair.a.send(pair.now, SENT, &large(number));
    }
    pair.a.wire.rtp.clear();
    // RFC 4585 section 6.2.1: a request for packet 0.
    let mut nack = vec![0x81, 205, 0, 3, 0, 0, 0, 1];
    nack.extend(1000u32.to_be_bytes());
    nack.extend([0, 0, 0, 0]);
    pair.a.rtcp(pair.now, &nack);
    for _ in 0..60 {
        pair.now += ms(1);
        pair.a.timers(pair.now);
    }
    let repair = |packet: &&Vec<u8>| packet[1] & 0x7f == RTX && packet.len() > 1000;
    assert!(repair(&&pair.a.wire.rtp[0]), "the repair is first");
}

#[test]
fn a_storm_of_requests_is_answered_with_no_more_than_half_of_the_estimate() {
    let mut pair = Pair::new(one_way(&[]), ms(10));
    for number in 0..200 {
        pair.a.send(pair.now, SENT, &large(number));
        pair.run(ms(10));
    }
    let estimate = pair.a.media.available_outgoing_bitrate().unwrap();
    pair.a.wire.rtp.clear();
    // All of them, again and again for a second.
    for _ in 0..20 {
        for first in (0..200u16).step_by(17) {
            let mut nack = vec![0x81, 205, 0, 3, 0, 0, 0, 1];
            nack.extend(1000u32.to_be_bytes());
            nack.extend(first.to_be_bytes());
            nack.extend([0xff, 0xff]);
            pair.a.rtcp(pair.now, &nack);
        }
        pair.now += ms(50);
    }
    let repaired: usize = pair.a.wire.rtp.iter().map(Vec::len).sum();
    // Half of it, and what was left over from before.
    let most = estimate as usize / 8 / 2 * 14 / 10;
    assert!(
        repaired < most,
        "{repaired} bytes at {estimate} bits per second"
    );
    assert!(repaired > most / 3, "{repaired} bytes");
}

#[test]
fn what_a_sender_is_to_forget_leaves_no_more_and_is_counted() {
    let mut pair = paced();
    for number in 0..40 {
        pair.a.send(pair.now, SENT, &large(number));
    }
    let video = |packets: &[Vec<u8>]| packets.iter().filter(|it| it.len() > 1000).count() as u64;
    // Nothing arrives, or it would be asked for again.
    let mut left = |forgets: TrackId, time: u32| {
        let media = &mut pair.a.media;
        let sender = media.outbound.sender_of(forgets).unwrap();
        media.outbound.forget_sent(sender, &mut media.bandwidth);
        for _ in 0..time {
            pair.now += ms(1);
            pair.a.timers(pair.now);
        }
        (video(&pair.a.wire.rtp), pair.a.drops("paced_out_packets"))
    };
    let (some, dropped) = left(AUDIO, 20);
    assert!((2..40).contains(&some), "{some}");
    assert_eq!(dropped, 0);
    let (after, dropped) = left(SENT, 500);
    assert_eq!((after, dropped), (some, 40 - some));
    pair.a.send(pair.now, SENT, &large(40));
    pair.now += ms(1);
    pair.a.timers(pair.now);
    assert_eq!(video(&pair.a.wire.rtp), some + 1);
}
