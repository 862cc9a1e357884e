use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Sends `count` packets on each layer, 5 ms apart, and returns what arrived, by layer.
fn stream(
    pair: &mut Pair,
    layers: &[&str],
    first: u16,
    count: u16,
) -> BTreeMap<Option<String>, Vec<u16>> {
    let loss = pair.loss;
    for at in 0..count {
        // The tail arrives, so that what is lost before it is noticed.
        pair.loss = if at + 20 > count || at == 0 { 0 } else { loss };
        for (layer, rid) in layers.iter().enumerate() {
            let mut packet = outgoing(first.wrapping_add(at));
            packet.ssrc = 1000 + layer as u32;
            packet.marker = *rid == layers[0];
            assert!(pair.a.send(pair.now, SENT, &packet));
        }
        pair.run(ms(5));
    }
    pair.loss = loss;
    pair.run(ms(2500));
    let mut arrived = BTreeMap::<_, Vec<u16>>::new();
    for packet in &pair.b.got.packets {
        assert_eq!(packet.payload_type, VP8);
        assert_eq!(packet.payload, vec![packet.sequence_number as u8; 20]);
        arrived
            .entry(packet.rid.clone())
            .or_default()
            .push(packet.sequence_number);
    }
    arrived
}

fn assert_repaired(loss: u64, layers: &[&str], rids: &[&str]) {
    let mut pair = Pair::new(one_way(rids), ms(25));
    pair.loss = loss;
    // Crosses the wrap of the sequence number.
    let arrived = stream(&mut pair, layers, 65_000, 1500);
    assert_eq!(arrived.len(), layers.len());
    for (rid, mut numbers) in arrived {
        assert_eq!(numbers.len(), 1500, "layer {rid:?}: each packet once");
        numbers.sort_by_key(|number| number.wrapping_sub(65_000));
        assert!(
            numbers
                .windows(2)
                .all(|pair| pair[1] == pair[0].wrapping_add(1))
        );
    }
    let mut repairs = 0;
    for layer in 0..layers.len() as u32 {
        let sent = pair.a.stats("outbound_rtp", 1000 + layer);
        assert_eq!(sent["packets_sent"], 1500);
        repairs += sent["retransmitted_packets_sent"].as_u64().unwrap();
        let received = pair.b.stats("inbound_rtp", 1000 + layer);
        assert_eq!(received["packets_received"], 1500);
        assert!(received["nack_count"].as_u64().unwrap() > 0);
        assert!(received["retransmitted_packets_received"].as_u64().unwrap() > 0);
    }
    let lost = pair.lost_originals;
    assert!(
        lost > 1500 * layers.len() as u64 * loss / 200,
        "the link must lose: {lost}"
    );
    // Repairs are lost too, so somewhat more are sent than originals were lost.
    let most = lost + lost * (loss + 5) / 50 + 10;
    assert!(
        (lost..=most).contains(&repairs),
        "{repairs} repairs of {lost} losses"
    );
}

#[test]
fn five_percent_loss_is_repaired_with_about_as_many_retransmissions() {
    assert_repaired(5, &[""], &[]);
}

#[test]
fn ten_percent_loss_is_repaired_with_about_as_many_retransmissions() {
    assert_repaired(10, &[""], &[]);
}

#[test]
fn losses_of_every_simulcast_layer_are_repaired() {
    assert_repaired(10, &["h", "m", "l"], &["h", "m", "l"]);
}

#[test]
fn a_repaired_packet_is_delivered_as_the_original_with_its_extensions() {
    let mut pair = Pair::new(one_way(&[]), ms(10));
    for number in 0..4u16 {
        let mut packet = outgoing(number);
        packet.marker = number == 1;
        packet.csrc = vec![7];
        packet.extensions = vec![(LEVEL, Bytes::from(vec![number as u8 + 1]))];
        pair.loss = if number == 1 { 100 } else { 0 };
        pair.a.send(pair.now, SENT, &packet);
        pair.run(ms(5));
    }
    pair.run(ms(200));
    let repaired = pair
        .b
        .got
        .packets
        .iter()
        .find(|packet| packet.sequence_number == 1)
        .unwrap();
    assert_eq!((repaired.ssrc, repaired.payload_type), (1000, VP8));
    assert!(repaired.marker);
    assert_eq!(repaired.timestamp, 900);
    assert!(repaired.elements.contains(&(LEVEL, vec![2])));
    assert!(repaired.elements.contains(&(MID, b"v".to_vec())));
    assert_eq!(pair.b.got.packets.len(), 4);
}

#[test]
fn without_rtx_a_packet_is_repeated_byte_by_byte() {
    let (mut sending, _) = one_way(&[]);
    let plan = sending.sections[0].send.as_mut().unwrap();
    plan.rtx.clear();
    plan.encodings[0].rtx_ssrc = None;
    let now = Instant::now();
    let mut a = End::new(now, &sending);
    let mut padded = outgoing(5);
    padded.padding_size = 9;
    a.send(now, SENT, &padded);
    let original = a.wire.rtp.pop().unwrap();
    a.rtcp(now + ms(40), &nack(1000, &[5]));
    assert_eq!(a.wire.rtp, [original]);
    assert_eq!(
        a.stats("outbound_rtp", 1000)["retransmitted_packets_sent"],
        1
    );
    assert_eq!(a.stats("outbound_rtp", 1000)["packets_sent"], 1);
}

#[test]
fn a_padded_packet_is_repaired_without_its_padding() {
    let now = Instant::now();
    let mut a = End::new(now, &one_way(&[]).0);
    let mut padded = outgoing(5);
    padded.padding_size = 9;
    a.send(now, SENT, &padded);
    a.wire.rtp.clear();
    a.rtcp(now + ms(40), &nack(1000, &[5]));
    let repair = ReceivedRtp::parse(&a.wire.rtp[0]).unwrap();
    assert_eq!(
        (repair.ssrc, repair.payload_type, repair.padding_size),
        (1100, RTX, 0)
    );
    assert_eq!(repair.payload, [&[0, 5][..], &[5; 20]].concat());
}

pub(super) fn nack(media_ssrc: u32, numbers: &[u16]) -> Vec<u8> {
    use rtc_rtcp::transport_feedbacks::transport_layer_nack as tln;
    let nacks = tln::nack_pairs_from_sequence_numbers(numbers);
    let nack = tln::TransportLayerNack {
        sender_ssrc: 1,
        media_ssrc,
        nacks,
    };
    rtc_rtcp::packet::marshal(&[Box::new(nack)])
        .unwrap()
        .to_vec()
}

#[test]
fn a_storm_of_nacks_is_answered_within_a_budget() {
    let now = Instant::now();
    let mut a = End::new(now, &one_way(&[]).0);
    for number in 0..2000 {
        a.send(now, SENT, &outgoing(number));
    }
    a.wire.rtp.clear();
    for round in 0..10u64 {
        for first in (0..65_000u32).step_by(1000) {
            let numbers: Vec<u16> = (first..first + 1000).map(|number| number as u16).collect();
            a.rtcp(now + ms(round), &nack(1000, &numbers));
        }
    }
    assert_eq!(a.wire.rtp.len(), 256);
    assert_eq!(a.stats("outbound_rtp", 1000)["nack_count"], 650);
}

#[test]
fn a_packet_that_is_asked_for_twice_at_once_is_sent_once() {
    let now = Instant::now();
    let mut a = End::new(now, &one_way(&[]).0);
    a.send(now, SENT, &outgoing(1));
    a.wire.rtp.clear();
    a.rtcp(now + ms(30), &nack(1000, &[1]));
    a.rtcp(now + ms(31), &nack(1000, &[1]));
    assert_eq!(a.wire.rtp.len(), 1);
    a.rtcp(now + ms(90), &nack(1000, &[1]));
    assert_eq!(a.wire.rtp.len(), 2);
}

#[test]
fn requests_for_a_lost_packet_end_after_ten() {
    let now = Instant::now();
    let mut b = End::new(now, &one_way(&[]).1);
    b.rtp(now, &packet(1, VP8, 1, &[]));
    b.rtp(now, &packet(1, VP8, 3, &[]));
    let mut time = now;
    for _ in 0..10_000 {
        time += ms(1);
        b.timers(time);
    }
    let requests = b
        .wire
        .rtcp
        .iter()
        .filter(|packet| packet[1] == 205 && packet[0] & 31 == 1);
    assert!((2..=10).contains(&requests.count()));
    assert_eq!(
        b.media.poll_timeout(),
        None,
        "an idle path must not wake anyone"
    );
}

#[test]
fn packets_that_arrive_while_a_repair_is_awaited_cause_no_wake_ups() {
    let now = Instant::now();
    let mut b = End::new(now, &one_way(&[]).1);
    b.rtp(now, &packet(1, VP8, 1, &[]));
    b.rtp(now, &packet(1, VP8, 3, &[]));
    b.timers(now + ms(11));
    b.rtp(now + ms(12), &packet(1, VP8, 4, &[]));
    let due = b.media.poll_timeout().unwrap();
    assert!(due > now + ms(100), "{:?}", due - now);
}

#[test]
fn a_packet_that_was_only_overtaken_is_not_asked_for() {
    let now = Instant::now();
    let mut b = End::new(now, &one_way(&[]).1);
    for number in [1, 3, 2, 4] {
        b.rtp(now, &packet(1, VP8, number, &[]));
    }
    b.timers(now + ms(50));
    assert_eq!(b.stats("inbound_rtp", 1)["nack_count"], 0);
    assert_eq!(b.got.packets.len(), 4);
    assert_eq!(b.stats("inbound_rtp", 1)["packets_lost"], 0);
}

#[test]
fn a_packet_that_comes_twice_is_delivered_once() {
    let now = Instant::now();
    let mut b = End::new(now, &one_way(&[]).1);
    for number in [1, 2, 2, 3, 1] {
        b.rtp(now, &packet(1, VP8, number, &[(MID, b"v")]));
    }
    // As a repair as well.
    let mut repair = packet(2, RTX, 900, &[(MID, b"v")]);
    let payload = repair.len() - 8;
    repair[payload..payload + 2].copy_from_slice(&[0, 3]);
    b.rtp(now, &repair);
    assert_eq!(b.got.packets.len(), 3);
    assert_eq!(b.stats("inbound_rtp", 1)["packets_duplicated"], 3);
}

#[test]
fn an_rtx_probe_without_payload_is_counted_and_not_delivered() {
    let now = Instant::now();
    let mut b = End::new(now, &one_way(&[]).1);
    b.rtp(now, &packet(1, VP8, 1, &[]));
    let mut probe = packet(2, RTX, 1, &[(MID, b"v")]);
    probe[0] |= 0x20;
    *probe.last_mut().unwrap() = 8;
    b.rtp(now, &probe);
    assert_eq!(b.got.packets.len(), 1);
    assert_eq!(b.drops("padding_probes"), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_order_of_arrival_delivers_each_packet_once(
        numbers in proptest::collection::vec(0u16..400, 1..300), first in any::<u16>()
    ) {
        let now = Instant::now();
        let mut b = End::new(now, &one_way(&[]).1);
        for number in &numbers {
            b.rtp(now, &packet(1, VP8, first.wrapping_add(*number), &[]));
        }
        let mut distinct = numbers.clone();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(b.got.packets.len(), distinct.len());
        let expected = i64::from(distinct[distinct.len() - 1] - distinct[0]) + 1;
        let lost = b.stats("inbound_rtp", 1)["packets_lost"].as_i64().unwrap();
        prop_assert_eq!(lost, expected - distinct.len() as i64);
    }
}
