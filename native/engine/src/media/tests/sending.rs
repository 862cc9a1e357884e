use super::*;
use crate::media::inbound::Marks;

fn last(end: &End) -> ReceivedRtp<'_> {
    ReceivedRtp::parse(end.wire.rtp.last().unwrap()).unwrap()
}

fn elements(packet: &ReceivedRtp<'_>) -> Vec<(u8, Vec<u8>)> {
    packet
        .elements()
        .map(|(id, data)| (id, data.to_vec()))
        .collect()
}

#[test]
fn the_engine_overwrites_what_is_its_own_and_keeps_the_rest() {
    let now = Instant::now();
    let mut a = End::new(now, &one_way(&[]).0);
    let mut packet = outgoing(500);
    packet.marker = true;
    packet.payload_type = 33;
    packet.ssrc = 42;
    packet.csrc = vec![1, 2];
    packet.extensions = vec![
        (MID, Bytes::from_static(b"forged")),
        (LEVEL, Bytes::from_static(&[0x55])),
        (13, Bytes::from_static(b"unknown")),
    ];
    assert!(a.send(now, SENT, &packet));
    let sent = last(&a);
    assert_eq!((sent.ssrc, sent.payload_type), (1000, VP8));
    assert_eq!(
        (sent.sequence_number, sent.timestamp, sent.marker),
        (500, 450_000, true)
    );
    assert_eq!(sent.csrc, [0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(sent.payload, packet.payload);
    let expected = [
        (MID, b"v".to_vec()),
        (TWCC, vec![0, 0]),
        (LEVEL, vec![0x55]),
    ];
    assert_eq!(elements(&sent), expected);
    let stats = a.stats("outbound_rtp", 1000);
    assert_eq!(
        (&stats["packets_sent"], &stats["bytes_sent"]),
        (&1.into(), &20.into())
    );
    assert_eq!(stats["header_bytes_sent"], a.wire.rtp[0].len() - 20);
    assert_eq!(stats["markers_sent"], 1);
}

#[test]
fn a_negotiated_payload_type_of_the_packet_is_honoured() {
    let now = Instant::now();
    let mut plan = one_way(&[]).0;
    let mut h264 = vp8();
    h264.payload_type = 102;
    h264.mime_type = "video/H264".into();
    plan.sections[0].send.as_mut().unwrap().codecs.push(h264);
    let mut a = End::new(now, &plan);
    let mut packet = outgoing(1);
    packet.payload_type = 102;
    a.send(now, SENT, &packet);
    assert_eq!(last(&a).payload_type, 102);
    // RTX belongs to the codec in use: this one is repeated as it was.
    let original = a.wire.rtp[0].clone();
    a.rtcp(now + ms(50), &repair::nack(1000, &[1]));
    assert_eq!(a.wire.rtp[1], original);
}

#[test]
fn a_simulcast_packet_takes_the_layer_of_its_ssrc_or_rid() {
    let now = Instant::now();
    let mut a = End::new(now, &one_way(&["h", "m", "l"]).0);
    let mut packet = outgoing(1);
    packet.ssrc = 1002;
    a.send(now, SENT, &packet);
    assert_eq!(last(&a).ssrc, 1002);
    assert!(elements(&last(&a)).contains(&(RID, b"l".to_vec())));
    packet.ssrc = 0;
    packet.extensions = vec![(RID, Bytes::from_static(b"m"))];
    a.send(now, SENT, &packet);
    assert_eq!(last(&a).ssrc, 1001);
    packet.extensions.clear();
    a.send(now, SENT, &packet);
    assert_eq!(last(&a).ssrc, 1000);
    assert_eq!(a.stats("outbound_rtp", 1001)["rid"], "m");
}

#[test]
fn an_unknown_track_is_refused_and_one_on_hold_is_dropped_and_counted() {
    let now = Instant::now();
    let plan = one_way(&[]).0;
    let mut a = End::new(now, &plan);
    assert!(!a.send(now, TrackId(99), &outgoing(1)));
    a.send(now, SENT, &outgoing(1));
    let mut hold = plan.clone();
    hold.sections[0].send = None;
    a.media.apply(now, &hold);
    assert!(a.send(now, SENT, &outgoing(2)));
    assert_eq!(a.wire.rtp.len(), 1);
    assert_eq!(a.drops("not_sending_packets"), 1);
    assert_eq!(a.drops("unknown_track_packets"), 1);
    a.media.apply(now, &plan);
    a.send(now, SENT, &outgoing(3));
    assert_eq!(a.stats("outbound_rtp", 1000)["packets_sent"], 2);
}

#[test]
fn nothing_counts_as_sent_while_there_is_no_path() {
    let now = Instant::now();
    let mut a = End::new(now, &one_way(&[]).0);
    a.wire.closed = true;
    assert!(a.send(now, SENT, &outgoing(1)));
    assert_eq!(a.stats("outbound_rtp", 1000)["packets_sent"], 0);
    a.media.close(now, &mut a.wire);
}

#[test]
fn a_number_is_never_used_for_two_packets() {
    let now = Instant::now();
    let mut a = End::new(now, &one_way(&[]).0);
    a.send(now, SENT, &outgoing(7));
    let mut other = outgoing(7);
    other.payload = Bytes::from_static(b"other");
    assert!(a.send(now, SENT, &other));
    assert_eq!(a.wire.rtp.len(), 1);
    assert_eq!(a.stats("outbound_rtp", 1000)["packets_refused"], 1);
}

#[test]
fn a_source_that_starts_over_is_continued_without_reusing_numbers() {
    let now = Instant::now();
    let mut a = End::new(now, &one_way(&[]).0);
    for number in [20_000, 20_001, 10, 11, 13, 12] {
        a.send(now, SENT, &outgoing(number));
    }
    let numbers: Vec<_> = a
        .wire
        .rtp
        .iter()
        .map(|p| ReceivedRtp::parse(p).unwrap().sequence_number)
        .collect();
    assert_eq!(numbers, [20_000, 20_001, 20_002, 20_003, 20_005, 20_004]);
}

#[test]
fn the_program_may_repeat_a_packet_over_rtx() {
    let now = Instant::now();
    let mut a = End::new(now, &one_way(&["h", "l"]).0);
    let mut packet = outgoing(300);
    packet.ssrc = 1001;
    packet.rtx = true;
    a.send(now, SENT, &packet);
    let sent = last(&a);
    assert_eq!((sent.ssrc, sent.payload_type), (1101, RTX));
    assert_eq!(sent.payload[..2], [1, 44]);
    assert!(elements(&sent).contains(&(REPAIRED_RID, b"l".to_vec())));
    let stats = a.stats("outbound_rtp", 1001);
    assert_eq!(
        (&stats["packets_sent"], &stats["retransmitted_packets_sent"]),
        (&0.into(), &1.into())
    );
}

#[test]
fn transport_wide_numbers_run_over_all_streams() {
    let now = Instant::now();
    let mut plan = one_way(&[]).0;
    let mut audio = section("a", 2);
    audio.send = Some(send(TrackId(11), opus(), &[], 3000));
    plan.sections.push(audio);
    let mut a = End::new(now, &plan);
    a.send(now, SENT, &outgoing(1));
    let mut packet = outgoing(1);
    packet.payload_type = OPUS;
    a.send(now, TrackId(11), &packet);
    a.rtcp(now + ms(50), &repair::nack(1000, &[1]));
    let numbers: Vec<_> = a
        .wire
        .rtp
        .iter()
        .map(|p| {
            Marks::read(&ReceivedRtp::parse(p).unwrap(), &a.media.ids)
                .twcc
                .unwrap()
        })
        .collect();
    assert_eq!(numbers, [0, 1, 2]);
}

#[test]
fn abs_send_time_is_written_where_it_was_negotiated() {
    let now = Instant::now();
    let mut plan = one_way(&[]).0;
    let uri = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
    plan.sections[0].extensions.insert(9, uri.into());
    let mut a = End::new(now, &plan);
    let time = |end: &End| {
        let sent = last(end);
        let (_, data) = sent.elements().find(|(id, _)| *id == 9).unwrap();
        u32::from_be_bytes([0, data[0], data[1], data[2]])
    };
    a.send(now, SENT, &outgoing(1));
    let first = time(&a);
    a.send(now + ms(1500), SENT, &outgoing(2));
    let passed = time(&a).wrapping_sub(first) & 0x00ff_ffff;
    assert!(passed.abs_diff(3 << 17) <= 1, "1.5 s in 1/2^18 s: {passed}");
}

#[test]
fn the_history_keeps_what_the_rate_needs_and_no_more() {
    let now = Instant::now();
    let mut a = End::new(now, &one_way(&[]).0);
    for number in 0..5000u16 {
        a.send(
            now + Duration::from_micros(u64::from(number) * 100),
            SENT,
            &outgoing(number),
        );
    }
    a.wire.rtp.clear();
    let later = now + ms(500);
    a.rtcp(later, &repair::nack(1000, &[3970, 3976, 4999]));
    let originals: Vec<_> = a
        .wire
        .rtp
        .iter()
        .map(|p| u16::from_be_bytes(p[p.len() - 22..p.len() - 20].try_into().unwrap()))
        .collect();
    assert_eq!(originals, [3976, 4999], "the last 1,024");
    a.wire.rtp.clear();
    a.rtcp(later + ms(3000), &repair::nack(1000, &[4998]));
    assert!(a.wire.rtp.is_empty(), "too old");
}
