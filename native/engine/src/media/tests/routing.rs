use super::*;

const OTHER: TrackId = TrackId(21);

/// Two video sections and one of audio, with tracks 20, 21 and 22.
fn three() -> MediaPlan {
    let mut sections = vec![section("a", 1), section("b", 2), section("c", 3)];
    sections[0].receive = Some(receive(RECEIVED, vp8(), &[]));
    sections[1].receive = Some(receive(OTHER, vp8(), &[]));
    sections[2].receive = Some(receive(TrackId(22), opus(), &[]));
    plan(sections)
}

fn tracks(end: &End) -> Vec<u64> {
    end.got
        .packets
        .iter()
        .map(|packet| packet.track.0)
        .collect()
}

#[test]
fn a_mid_decides_and_is_remembered_for_its_ssrc() {
    let now = Instant::now();
    let mut b = End::new(now, &three());
    b.rtp(now, &packet(5, VP8, 1, &[(MID, b"b")]));
    b.rtp(now, &packet(5, VP8, 2, &[]));
    assert_eq!(tracks(&b), [21, 21]);
}

#[test]
fn an_ssrc_that_changes_its_mid_moves() {
    let now = Instant::now();
    let mut b = End::new(now, &three());
    b.rtp(now, &packet(5, VP8, 1, &[(MID, b"b")]));
    b.rtp(now, &packet(5, VP8, 2, &[(MID, b"a")]));
    b.rtp(now, &packet(5, VP8, 3, &[]));
    assert_eq!(tracks(&b), [21, 20, 20]);
}

#[test]
fn an_unknown_mid_is_dropped_even_if_the_ssrc_is_known() {
    let now = Instant::now();
    let mut b = End::new(now, &three());
    b.rtp(now, &packet(5, VP8, 1, &[(MID, b"b")]));
    b.rtp(now, &packet(5, VP8, 2, &[(MID, b"zz")]));
    assert_eq!(tracks(&b), [21]);
    assert_eq!(b.drops("unknown_section_packets"), 1);
}

#[test]
fn a_signalled_ssrc_needs_no_mid() {
    let now = Instant::now();
    let mut plan = three();
    plan.sections[1].receive.as_mut().unwrap().ssrcs = vec![(77, Some(78))];
    let mut b = End::new(now, &plan);
    b.rtp(now, &packet(77, VP8, 1, &[]));
    b.rtp(now, &packet(77, VP8, 3, &[]));
    let mut repair = packet(78, RTX, 9, &[]);
    let payload = repair.len() - 8;
    repair[payload..payload + 2].copy_from_slice(&[0, 2]);
    b.rtp(now, &repair);
    assert_eq!(tracks(&b), [21, 21, 21]);
    assert_eq!(b.got.packets[2].sequence_number, 2);
    assert_eq!(b.got.packets[2].ssrc, 77);
}

#[test]
fn a_payload_type_that_one_section_has_is_enough() {
    let now = Instant::now();
    let mut b = End::new(now, &three());
    b.rtp(now, &packet(9, OPUS, 1, &[]));
    b.rtp(now, &packet(10, VP8, 1, &[]));
    b.rtp(now, &packet(11, 45, 1, &[]));
    assert_eq!(tracks(&b), [22], "VP8 fits two sections, 45 none");
    assert_eq!(b.drops("unknown_section_packets"), 2);
}

#[test]
fn a_rid_names_its_layer_and_is_latched() {
    let now = Instant::now();
    let mut b = End::new(now, &one_way(&["h", "l"]).1);
    b.rtp(now, &packet(5, VP8, 1, &[(RID, b"l")]));
    b.rtp(now, &packet(6, VP8, 1, &[(MID, b"v"), (RID, b"h")]));
    b.rtp(now, &packet(5, VP8, 2, &[]));
    b.rtp(now, &packet(7, VP8, 2, &[(MID, b"v"), (RID, b"unknown")]));
    let rids: Vec<_> = b
        .got
        .packets
        .iter()
        .map(|packet| packet.rid.as_deref().unwrap())
        .collect();
    assert_eq!(rids, ["l", "h", "l"]);
    assert_eq!(b.drops("unknown_payload_packets"), 1);
}

#[test]
fn made_up_ssrcs_are_bounded_and_counted() {
    let now = Instant::now();
    let mut b = End::new(now, &three());
    for ssrc in 0..5000 {
        b.rtp(now, &packet(ssrc, VP8, 1, &[(MID, b"a")]));
    }
    assert_eq!(b.media.inbound.receivers.len(), 1024);
    assert_eq!(b.drops("excess_stream_packets"), 5000 - 1024);
    // Idle ones give way.
    b.rtp(now + ms(20_000), &packet(9999, VP8, 1, &[(MID, b"a")]));
    assert_eq!(b.media.inbound.receivers.len(), 1);
}

#[test]
fn a_new_plan_keeps_the_streams_of_sections_that_stay() {
    let now = Instant::now();
    let mut b = End::new(now, &three());
    b.rtp(now, &packet(5, VP8, 1, &[(MID, b"a")]));
    b.rtp(now, &packet(6, VP8, 1, &[(MID, b"b")]));
    let mut next = three();
    next.sections.remove(0);
    next.sections[0].receive.as_mut().unwrap().codecs[0].payload_type = 100;
    b.media.apply(now, &next);
    b.rtp(now, &packet(6, 100, 2, &[]));
    b.rtp(now, &packet(5, VP8, 2, &[(MID, b"a")]));
    assert_eq!(tracks(&b), [20, 21, 21]);
    assert_eq!(b.stats("inbound_rtp", 6)["packets_received"], 2);
    assert_eq!(b.media.inbound.receivers.len(), 1);
}

#[test]
fn a_section_on_hold_keeps_its_counters_and_asks_for_nothing_it_missed() {
    let now = Instant::now();
    let (_, plan) = one_way(&["h", "l"]);
    let mut b = End::new(now, &plan);
    b.rtp(now, &packet(5, VP8, 1, &[(RID, b"l")]));
    let mut hold = plan.clone();
    hold.sections[0].receive = None;
    b.media.apply(now, &hold);
    b.rtp(now, &packet(5, VP8, 2, &[]));
    assert_eq!(b.got.packets.len(), 1);
    b.media.apply(now, &plan);
    b.rtp(now, &packet(5, VP8, 300, &[]));
    b.timers(now + ms(100));
    assert_eq!(b.got.packets.len(), 2);
    assert_eq!(b.got.packets[1].rid.as_deref(), Some("l"));
    let stats = b.stats("inbound_rtp", 5);
    assert_eq!(
        (&stats["packets_received"], &stats["packets_lost"]),
        (&2.into(), &0.into())
    );
    assert_eq!(stats["nack_count"], 0);
}

#[test]
fn a_payload_type_that_was_not_negotiated_is_discarded() {
    let now = Instant::now();
    let mut b = End::new(now, &three());
    b.rtp(now, &packet(5, VP8, 1, &[(MID, b"a")]));
    b.rtp(now, &packet(5, 45, 2, &[]));
    assert_eq!(tracks(&b), [20]);
    assert_eq!(b.stats("inbound_rtp", 5)["packets_discarded"], 1);
}

#[test]
fn nothing_is_delivered_where_delivery_is_off() {
    let now = Instant::now();
    let mut b = End::new(now, &three());
    b.media = Media::new(now, Features::ALL, false);
    b.media.apply(now, &three());
    b.rtp(now, &packet(5, VP8, 1, &[(MID, b"a")]));
    assert!(b.got.packets.is_empty());
    assert_eq!(b.stats("inbound_rtp", 5)["packets_received"], 1);
}

#[test]
fn padding_is_stripped_and_a_packet_of_padding_only_is_not_delivered() {
    let now = Instant::now();
    let mut b = End::new(now, &three());
    let mut padded = packet(5, VP8, 1, &[(MID, b"a")]);
    padded[0] |= 0x20;
    *padded.last_mut().unwrap() = 3;
    b.rtp(now, &padded);
    padded[3] = 2;
    *padded.last_mut().unwrap() = 8;
    b.rtp(now, &padded);
    assert_eq!(b.got.packets.len(), 1);
    assert_eq!(b.got.packets[0].payload, [1; 5]);
    assert_eq!(b.stats("inbound_rtp", 5)["packets_received"], 2);
    assert_eq!(b.stats("inbound_rtp", 5)["bytes_received"], 5);
}

#[test]
fn a_simulated_loss_of_half_drops_about_half_both_ways() {
    let mut pair = Pair::new(one_way(&[]), ms(0));
    pair.a.media.set_packet_loss(50);
    for number in 0..2000 {
        pair.a.send(pair.now, SENT, &outgoing(number));
    }
    let sent = pair.a.wire.rtp.len();
    assert!((850..1150).contains(&sent), "{sent} of 2000 left");
    assert_eq!(pair.a.stats("outbound_rtp", 1000)["packets_sent"], 2000);
    pair.b.media.set_packet_loss(50);
    for packet in &pair.a.wire.rtp {
        pair.b
            .media
            .handle_rtp(pair.now, packet, &mut pair.b.got, &mut pair.b.wire);
    }
    assert!((350..650).contains(&pair.b.got.packets.len()));
}
