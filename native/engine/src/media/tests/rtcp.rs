use super::repair::nack;
use super::*;
use crate::media::rtcp_in::RtcpPackets;
use proptest::prelude::*;
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::source_description::SourceDescription;
use rtc_rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, SymbolTypeTcc, TransportLayerCc,
};
use rtc_shared::marshal::Marshal;

fn parse(packet: &[u8]) -> Vec<Box<dyn rtc_rtcp::packet::Packet>> {
    rtc_rtcp::packet::unmarshal(&mut &packet[..]).unwrap()
}

/// Every packet of this type that was sent.
fn sent<T: Clone + 'static>(end: &End) -> Vec<T> {
    let packets = end.wire.rtcp.iter().flat_map(|compound| parse(compound));
    packets
        .filter_map(|packet| packet.as_any().downcast_ref::<T>().cloned())
        .collect()
}

#[test]
fn reports_are_compound_and_tell_the_round_trip_to_the_sender() {
    let mut pair = Pair::new(one_way(&[]), ms(40));
    for number in 0..400 {
        pair.a.send(pair.now, SENT, &outgoing(number));
        pair.run(ms(10));
    }
    let remote = pair.a.stats("remote_inbound_rtp", 1000);
    let round_trip = remote["round_trip_time"].as_f64().unwrap();
    assert!((0.079..0.083).contains(&round_trip), "{round_trip}");
    assert!(remote["round_trip_time_measurements"].as_u64().unwrap() >= 2);
    assert_eq!(remote["packets_lost"], 0);
    assert_eq!(remote["fraction_lost"], 0.0);
    let remote = pair.b.stats("remote_outbound_rtp", 1000);
    let packets = remote["packets_sent"].as_u64().unwrap();
    assert!((300..400).contains(&packets));
    assert_eq!(remote["bytes_sent"].as_u64().unwrap(), packets * 20);
    assert!(remote["reports_sent"].as_u64().unwrap() >= 4);
    // The program saw the same, with the tracks they are about.
    let kinds = |got: &Got| {
        got.rtcp
            .iter()
            .map(|(track, p)| (*track, p[1]))
            .collect::<Vec<_>>()
    };
    assert!(kinds(&pair.b.got).contains(&(Some(RECEIVED), 200)));
    assert!(kinds(&pair.b.got).contains(&(Some(RECEIVED), 202)));
    assert!(kinds(&pair.a.got).contains(&(Some(SENT), 201)));
    assert!(kinds(&pair.a.got).contains(&(Some(SENT), 205)));
}

#[test]
fn a_sender_report_extrapolates_the_timestamp_and_counts_payload() {
    let now = Instant::now();
    let mut a = End::new(now, &one_way(&[]).0);
    a.send(now, SENT, &outgoing(10));
    a.timers(now + ms(250));
    let report = sent::<SenderReport>(&a).pop().unwrap();
    assert_eq!(
        (report.ssrc, report.packet_count, report.octet_count),
        (1000, 1, 20)
    );
    assert_eq!(report.rtp_time, 9000 + 22_500);
    assert_eq!(report.ntp_time, a.media.clock.ntp(now + ms(250)));
    let description = sent::<SourceDescription>(&a).pop().unwrap();
    assert_eq!(description.chunks[0].items[0].text, "test");
}

#[test]
fn a_receiver_report_says_what_was_lost_and_how_it_jittered() {
    let now = Instant::now();
    let mut b = End::new(now, &one_way(&[]).1);
    // 10 ms apart on the sender's time line, alternately 10 ms late.
    for number in 0..100u16 {
        if number % 4 != 1 {
            let late = u64::from(number % 2 == 0) * 10;
            b.rtp(
                now + ms(u64::from(number) * 10 + late),
                &packet(5, VP8, number, &[]),
            );
        }
    }
    b.timers(now + ms(1100));
    let reports = sent::<ReceiverReport>(&b);
    let block = &reports
        .iter()
        .find(|report| !report.reports.is_empty())
        .unwrap()
        .reports[0];
    assert_eq!(
        (block.ssrc, block.total_lost, block.fraction_lost),
        (5, 25, 64)
    );
    assert_eq!(block.last_sequence_number, 99);
    let seconds = b.stats("inbound_rtp", 5)["jitter"].as_f64().unwrap();
    assert!((0.004..0.010).contains(&seconds), "{seconds}");
    assert!((u64::from(block.jitter) as f64 / 90_000.0 - seconds).abs() < 0.001);
}

#[test]
fn the_count_of_wraps_stands_in_the_extended_sequence_number() {
    let now = Instant::now();
    let mut b = End::new(now, &one_way(&[]).1);
    for number in 65_530..65_546u32 {
        b.rtp(now, &packet(5, VP8, number as u16, &[]));
    }
    b.timers(now + ms(300));
    let report = sent::<ReceiverReport>(&b).pop().unwrap();
    assert_eq!(report.reports[0].last_sequence_number, (1 << 16) + 9);
}

#[test]
fn silence_ends_the_timers() {
    let mut pair = Pair::new(one_way(&[]), ms(5));
    assert_eq!(pair.a.media.poll_timeout(), None);
    for number in 0..10 {
        pair.a.send(pair.now, SENT, &outgoing(number));
        pair.run(ms(10));
    }
    pair.run(ms(6000));
    assert_eq!(pair.a.media.poll_timeout(), None);
    assert_eq!(pair.b.media.poll_timeout(), None);
    let kept = &pair.a.media.outbound.senders[0].encodings[0].history;
    assert!(
        kept.is_empty(),
        "the history's memory goes back when the sender falls silent"
    );
}

#[test]
fn arrivals_are_told_as_transport_wide_feedback() {
    let now = Instant::now();
    let mut b = End::new(now, &one_way(&[]).1);
    let arrivals: [(u16, u64); 6] = [
        (65_534, 64),
        (65_535, 65),
        (0, 75),
        (3, 80),
        (2, 81),
        (4, 2000),
    ];
    for (number, at) in arrivals {
        let twcc = number.to_be_bytes();
        b.rtp(now + ms(at), &packet(5, VP8, number, &[(TWCC, &twcc)]));
    }
    b.timers(now + ms(2000));
    let feedback = sent::<TransportLayerCc>(&b);
    assert_eq!(feedback.len(), 1);
    let feedback = &feedback[0];
    assert_eq!(feedback.media_ssrc, 5);
    assert_eq!(feedback.base_sequence_number, 65_534);
    assert_eq!(feedback.packet_status_count, 7);
    assert_eq!(feedback.reference_time, 1);
    let deltas: Vec<i64> = feedback
        .recv_deltas
        .iter()
        .map(|delta| delta.delta)
        .collect();
    assert_eq!(deltas, [0, 1000, 10_000, 6000, -1000, 1_920_000]);
    assert_eq!(b.media.arrivals.due(), None);
}

#[test]
fn feedback_goes_on_where_the_last_one_ended() {
    let now = Instant::now();
    let mut b = End::new(now, &one_way(&[]).1);
    let mut time = now;
    let mut lost = 0;
    for number in 0..3000u16 {
        time += ms(1);
        if number % 7 == 2 {
            lost += 1;
            continue;
        }
        b.rtp(
            time,
            &packet(5, VP8, number, &[(TWCC, &number.to_be_bytes())]),
        );
        b.timers(time);
    }
    b.timers(time + ms(200));
    let feedback = sent::<TransportLayerCc>(&b);
    assert!(
        feedback.len() >= 30,
        "at least every 100 ms: {}",
        feedback.len()
    );
    let mut next = 0u16;
    let mut arrived = 0;
    for (at, feedback) in feedback.iter().enumerate() {
        assert_eq!(feedback.base_sequence_number, next);
        assert_eq!(feedback.fb_pkt_count, at as u8);
        next = next.wrapping_add(feedback.packet_status_count);
        arrived += feedback.recv_deltas.len();
    }
    assert_eq!(arrived, 3000 - lost);
    assert_eq!(next, 3000);
}

#[test]
fn without_transport_cc_in_the_answer_no_feedback_is_sent() {
    let now = Instant::now();
    let mut plan = one_way(&[]).1;
    plan.sections[0].receive.as_mut().unwrap().codecs[0]
        .feedback
        .retain(|f| f != "transport-cc");
    let mut b = End::new(now, &plan);
    b.rtp(now, &packet(5, VP8, 1, &[(TWCC, &[0, 1])]));
    b.timers(now + ms(3000));
    assert!(sent::<TransportLayerCc>(&b).is_empty());
}

#[test]
fn a_keyframe_request_goes_to_the_named_layer_or_to_all() {
    let now = Instant::now();
    let mut b = End::new(now, &one_way(&["h", "l"]).1);
    b.rtp(now, &packet(5, VP8, 1, &[(RID, b"h")]));
    b.rtp(now, &packet(6, VP8, 1, &[(RID, b"l")]));
    b.media
        .send_pli(now, RECEIVED, Some(&Rid::from("l")), &mut b.wire);
    let targets = |end: &End| {
        sent::<PictureLossIndication>(end)
            .iter()
            .map(|pli| pli.media_ssrc)
            .collect::<Vec<_>>()
    };
    assert_eq!(targets(&b), [6]);
    b.media.send_pli(now, RECEIVED, None, &mut b.wire);
    assert_eq!(targets(&b), [6, 5, 6]);
    assert_eq!(b.stats("inbound_rtp", 6)["pli_count"], 2);
    b.media.send_pli(now, TrackId(999), None, &mut b.wire);
    b.media
        .send_pli(now, RECEIVED, Some(&Rid::from("x")), &mut b.wire);
    assert_eq!(targets(&b).len(), 3);
}

#[test]
fn a_keyframe_that_was_wanted_early_is_asked_for_with_the_first_packet() {
    let now = Instant::now();
    let mut b = End::new(now, &one_way(&[]).1);
    b.media.send_pli(now, RECEIVED, None, &mut b.wire);
    assert!(b.wire.rtcp.is_empty());
    b.rtp(now, &packet(5, VP8, 1, &[]));
    b.rtp(now, &packet(5, VP8, 2, &[]));
    assert_eq!(sent::<PictureLossIndication>(&b).len(), 1);
}

#[test]
fn where_only_fir_was_negotiated_fir_is_sent_with_rising_numbers() {
    let now = Instant::now();
    let mut plan = one_way(&[]).1;
    plan.sections[0].receive.as_mut().unwrap().codecs[0].feedback = vec!["ccm fir".into()];
    let mut b = End::new(now, &plan);
    b.rtp(now, &packet(5, VP8, 1, &[]));
    b.media.send_pli(now, RECEIVED, None, &mut b.wire);
    b.media.send_pli(now, RECEIVED, None, &mut b.wire);
    let firs = sent::<FullIntraRequest>(&b);
    let numbers: Vec<_> = firs
        .iter()
        .map(|fir| (fir.fir[0].ssrc, fir.fir[0].sequence_number))
        .collect();
    assert_eq!(numbers, [(5, 1), (5, 2)]);
    assert_eq!(b.stats("inbound_rtp", 5)["fir_count"], 2);
    assert_eq!(b.stats("inbound_rtp", 5)["pli_count"], 0);
}

#[test]
fn keyframe_requests_from_the_peer_are_counted_and_told() {
    let mut pair = Pair::new(one_way(&[]), ms(1));
    pair.a.send(pair.now, SENT, &outgoing(1));
    pair.run(ms(5));
    pair.b
        .media
        .send_pli(pair.now, RECEIVED, None, &mut pair.b.wire);
    pair.run(ms(5));
    assert_eq!(pair.a.stats("outbound_rtp", 1000)["pli_count"], 1);
    let (track, pli) = pair.a.got.rtcp.last().unwrap();
    assert_eq!((*track, pli[1], pli[0] & 31), (Some(SENT), 206, 1));
}

#[test]
fn a_goodbye_lets_the_stream_begin_anew() {
    let now = Instant::now();
    let mut b = End::new(now, &one_way(&[]).1);
    b.rtp(now, &packet(5, VP8, 50_000, &[]));
    let goodbye = Goodbye {
        sources: vec![5],
        reason: Bytes::new(),
    }
    .marshal()
    .unwrap();
    b.rtcp(now, &goodbye);
    b.rtp(now, &packet(5, VP8, 20_000, &[]));
    assert_eq!(b.got.packets.len(), 2);
    assert_eq!(b.stats("inbound_rtp", 5)["packets_lost"], 0);
    assert_eq!(b.got.rtcp[0].0, Some(RECEIVED));
    b.timers(now + ms(100));
    assert!(
        b.wire.rtcp.is_empty(),
        "nothing is asked for across a goodbye"
    );
}

/// The types of the packets in each RTCP datagram that was sent.
fn types(end: &End) -> Vec<Vec<u8>> {
    let datagrams = end.wire.rtcp.iter();
    datagrams
        .map(|bytes| RtcpPackets::new(bytes).map(|packet| packet.kind).collect())
        .collect()
}

#[test]
fn feedback_stands_alone_only_where_both_sides_take_that() {
    for (reduced, nack, pli) in [
        (true, vec![205], vec![206]),
        // A report and a description come first (RFC 4585 section 3.1).
        (false, vec![201, 202, 205], vec![201, 202, 206]),
    ] {
        let now = Instant::now();
        let mut plan = one_way(&[]).1;
        plan.sections[0].reduced_size_rtcp = reduced;
        let mut b = End::new(now, &plan);
        for number in [1, 3, 4, 5] {
            b.rtp(now, &packet(5, VP8, number, &[]));
        }
        b.media.send_pli(now, RECEIVED, None, &mut b.wire);
        b.timers(now + ms(200));
        let sent = types(&b);
        assert!(sent.contains(&nack) && sent.contains(&pli), "{sent:?}");
        assert_eq!(sent.iter().all(|types| types[0] == 201), !reduced);
    }
}

#[test]
fn closing_says_goodbye_for_every_stream_that_was_sent() {
    let now = Instant::now();
    let mut a = End::new(now, &one_way(&["h", "l"]).0);
    a.send(now, SENT, &outgoing(1));
    a.media.close(now, &mut a.wire);
    let goodbyes = sent::<Goodbye>(&a);
    assert_eq!(goodbyes.len(), 1);
    assert_eq!(goodbyes[0].sources, [1000], "the second layer never sent");
    assert_eq!(a.media.poll_timeout(), None);
    a.media.close(now, &mut a.wire);
    assert!(a.send(now, SENT, &outgoing(2)));
    a.rtcp(now, &nack(1000, &[1]));
    assert_eq!((a.wire.rtp.len(), a.wire.rtcp.len()), (1, 1));
    assert_eq!(a.media.poll_timeout(), None);
    assert_eq!(
        a.stats("outbound_rtp", 1000)["packets_sent"],
        1,
        "still readable"
    );
}

#[test]
fn malformed_rtcp_is_dropped_and_counted() {
    let now = Instant::now();
    let mut a = End::new(now, &one_way(&[]).0);
    let good = nack(1000, &[1]);
    let mut long = good.clone();
    long[3] = 200;
    let short_nack = [0x81, 205, 0, 1, 0, 0, 0, 1];
    let lying_report = [0x83, 201, 0, 1, 0, 0, 0, 1];
    for bad in [
        &long[..],
        &[],
        &[0x81],
        &short_nack,
        &lying_report,
        &[0x01, 201, 0, 0],
    ] {
        a.rtcp(now, bad);
    }
    assert_eq!(a.drops("malformed_rtcp_packets"), 6);
    assert!(a.got.rtcp.is_empty());
    a.media.send_rtcp(now, b"nonsense", &mut a.wire);
    assert!(a.wire.rtcp.is_empty());
    a.media.send_rtcp(now, &good, &mut a.wire);
    assert_eq!(a.wire.rtcp, [good]);
}

#[test]
fn each_packet_of_a_compound_is_told_whole() {
    let now = Instant::now();
    let mut a = End::new(now, &one_way(&[]).0);
    let report = ReceiverReport {
        ssrc: 9,
        ..Default::default()
    }
    .marshal()
    .unwrap();
    let request = nack(1000, &[1]);
    a.rtcp(now, &[&report[..], &request].concat());
    let told: Vec<_> = a
        .got
        .rtcp
        .iter()
        .map(|(track, packet)| (*track, packet.to_vec()))
        .collect();
    assert_eq!(told, [(None, report.to_vec()), (Some(SENT), request)]);
}

#[test]
fn many_streams_are_reported_in_packets_that_fit_a_datagram() {
    let now = Instant::now();
    let mut sections = Vec::new();
    for at in 0..60u64 {
        let mut section = section(&format!("{at}"), at);
        section.send = Some(send(TrackId(at), opus(), &[], 5000 + at as u32));
        section.receive = Some(receive(TrackId(1000 + at), opus(), &[]));
        sections.push(section);
    }
    let mut end = End::new(now, &plan(sections));
    for at in 0..60u64 {
        let mut outgoing = outgoing(1);
        outgoing.payload_type = OPUS;
        end.send(now, TrackId(at), &outgoing);
        let mid = at.to_string();
        end.rtp(
            now,
            &packet(100 + at as u32, OPUS, 1, &[(MID, mid.as_bytes())]),
        );
    }
    end.timers(now + ms(400));
    assert!(end.wire.rtcp.iter().all(|compound| compound.len() <= 1200));
    assert_eq!(sent::<SenderReport>(&end).len(), 60);
    let blocks: usize = sent::<SenderReport>(&end)
        .iter()
        .map(|report| report.reports.len())
        .sum();
    let more: usize = sent::<ReceiverReport>(&end)
        .iter()
        .map(|report| report.reports.len())
        .sum();
    assert_eq!(blocks + more, 60);
}

/// What feedback says of the packets: number and arrival in microseconds.
fn told(feedback: &[TransportLayerCc]) -> std::collections::BTreeMap<u16, i64> {
    let mut told = std::collections::BTreeMap::new();
    for feedback in feedback {
        let mut clock = i64::from(feedback.reference_time) * 64_000;
        let mut deltas = feedback.recv_deltas.iter();
        let symbols = feedback.packet_chunks.iter().flat_map(|chunk| match chunk {
            PacketStatusChunk::RunLengthChunk(run) => {
                vec![run.packet_status_symbol; usize::from(run.run_length)]
            }
            PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.clone(),
        });
        for (at, symbol) in symbols
            .take(usize::from(feedback.packet_status_count))
            .enumerate()
        {
            if symbol != SymbolTypeTcc::PacketNotReceived {
                clock += deltas.next().unwrap().delta;
                told.insert(feedback.base_sequence_number.wrapping_add(at as u16), clock);
            }
        }
        assert!(deltas.next().is_none());
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn feedback_tells_every_arrival_to_a_quarter_of_a_millisecond(
        first in 0u16..60_000,
        packets in proptest::collection::vec(
            (prop_oneof![9 => 1u16..3, 1 => 3u16..60], prop_oneof![9 => 0u64..4000, 1 => 0u64..12_000_000]),
            1..400),
    ) {
        let now = Instant::now();
        let mut b = End::new(now, &one_way(&[]).1);
        let (mut number, mut micros) = (first, 0);
        let mut arrivals = std::collections::BTreeMap::new();
        for (step, wait) in packets {
            number = number.wrapping_add(step);
            micros += wait;
            let time = now + Duration::from_micros(micros);
            b.timers(time);
            b.rtp(time, &packet(5, VP8, number, &[(TWCC, &number.to_be_bytes())]));
            arrivals.insert(number, micros as i64);
        }
        b.timers(now + Duration::from_micros(micros) + ms(200));
        let told = told(&sent::<TransportLayerCc>(&b));
        prop_assert_eq!(told.keys().collect::<Vec<_>>(), arrivals.keys().collect::<Vec<_>>());
        // The reference time counts 2^24 units of 64 ms: no wrap within this test.
        for (number, at) in &arrivals {
            prop_assert!((0..250).contains(&(at - told[number])), "{}: {} and {}", number, at, told[number]);
        }
    }
}
