use super::link::*;
use crate::media::PacketWriter;

#[test]
fn rtp_and_rtcp_cross_in_both_directions() {
    let mut pair = Pair::new();
    pair.connect();
    for sequence in [65_533, 65_534, 65_535, 0, 1, 2] {
        assert!(pair.exchange(sequence));
    }
    let report = [0x80, 201, 0, 1, 1, 2, 3, 4];
    let written = pair
        .a
        .transport
        .packet_writer(&mut pair.a.out)
        .write_rtcp(&report);
    assert_eq!(written, Some(8 + 16 + 4));
    pair.run(ms(5));
    assert_eq!(pair.b.rtcp, [report.to_vec()]);
}

#[test]
fn nothing_is_written_before_there_are_keys() {
    let mut pair = Pair::new();
    assert_eq!(pair.a.send_rtp(1), None);
    pair.introduce(crate::w3c::DtlsRole::Client);
    pair.run_until(ms(100), |pair| {
        pair.a.transport.ice_state() == crate::w3c::IceConnectionState::Connected
    });
    assert_eq!(pair.a.send_rtp(1), None);
}

#[test]
fn a_replayed_packet_is_dropped() {
    let mut pair = Pair::new();
    pair.connect();
    assert!(pair.exchange(1));
    let protected = pair
        .log
        .iter()
        .rev()
        .find(|(to_b, bytes)| *to_b && bytes[0] == 0x80)
        .unwrap()
        .1
        .clone();
    let (from, count) = (pair.a.address, pair.b.rtp.len());
    pair.b.deliver(pair.now, from, &protected);
    assert_eq!(pair.b.rtp.len(), count);
}

#[test]
fn media_from_an_address_that_proved_nothing_is_dropped() {
    let mut pair = Pair::new();
    pair.connect();
    pair.a.send_rtp(1);
    let bytes = pair.a.out.bytes.clone();
    pair.a.out.clear(0);
    pair.b
        .deliver(pair.now, ([10, 0, 0, 66], 1_000).into(), &bytes);
    assert_eq!(pair.b.rtp.len(), 0);
    let from = pair.a.address;
    pair.b.deliver(pair.now, from, &bytes);
    assert_eq!(pair.b.rtp.len(), 1);
}

#[test]
fn a_second_write_lands_behind_the_first_in_the_arena() {
    let mut pair = Pair::new();
    pair.connect();
    let first = pair.a.send_rtp(1).unwrap();
    let second = pair.a.send_rtp(2).unwrap();
    let segments = &pair.a.out.segments;
    assert_eq!(segments.len(), 2);
    assert_eq!((segments[0].offset, segments[0].length), (0, first));
    assert_eq!((segments[1].offset, segments[1].length), (first, second));
    assert_eq!(segments[0].local.address, pair.a.address);
    assert_eq!(segments[0].remote, pair.b.address);
}
