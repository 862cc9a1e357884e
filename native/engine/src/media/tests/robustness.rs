use super::*;
use proptest::prelude::*;

/// Both halves at once: simulcast in, video out.
fn both_ways(now: Instant) -> End {
    let mut both = section("v", 1);
    both.send = Some(send(SENT, vp8(), &["h", "l"], 1000));
    both.receive = Some(receive(RECEIVED, vp8(), &["h", "l"]));
    let mut end = End::new(now, &plan(vec![both]));
    for number in 0..50 {
        end.send(now, SENT, &outgoing(number));
    }
    end
}

/// What a peer may have made us keep.
fn kept(end: &End) -> usize {
    let media = &end.media;
    media.inbound.receivers.len() + media.inbound.repairs.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn random_bytes_never_panic(
        packets in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..80)), 0..40)
    ) {
        let now = Instant::now();
        let mut end = both_ways(now);
        for (at, (is_rtp, packet)) in packets.iter().enumerate() {
            let time = now + ms(at as u64 * 50);
            if *is_rtp { end.rtp(time, packet) } else { end.rtcp(time, packet) }
            end.timers(time);
        }
        prop_assert!(kept(&end) <= packets.len());
    }

    #[test]
    fn random_fields_in_well_formed_packets_never_panic(
        packets in proptest::collection::vec(
            (0u32..6, prop_oneof![Just(VP8), Just(RTX), any::<u8>()], any::<u16>(), any::<u16>(),
             0u64..100), 0..200)
    ) {
        let now = Instant::now();
        let mut end = both_ways(now);
        let mut time = now;
        for (ssrc, payload_type, number, twcc, wait) in packets {
            time += ms(wait);
            let rid: &[u8] = if ssrc % 2 == 0 { b"h" } else { b"l" };
            let twcc = twcc.to_be_bytes();
            let elements = [(MID, &b"v"[..]), (RID, rid), (TWCC, &twcc)];
            end.rtp(time, &packet(ssrc, payload_type & 0x7f, number, &elements));
            end.timers(time);
        }
        prop_assert!(kept(&end) <= 6);
        for compound in &end.wire.rtcp {
            prop_assert!(rtc_rtcp::packet::unmarshal(&mut &compound[..]).is_ok());
            prop_assert!(compound.len() <= 1200);
        }
    }

    #[test]
    fn random_rtcp_with_right_lengths_never_panics(
        packets in proptest::collection::vec(
            (0u8..32, 192u8..=223, proptest::collection::vec(any::<u8>(), 0..64), any::<bool>()), 0..60)
    ) {
        let now = Instant::now();
        let mut end = both_ways(now);
        for (count, kind, mut body, ours) in packets {
            body.truncate(body.len() / 4 * 4);
            if ours && body.len() >= 8 {
                body[4..8].copy_from_slice(&1000u32.to_be_bytes());
            }
            let length = (body.len() / 4) as u8;
            let packet = [&[0x80 | count, kind, 0, length][..], &body].concat();
            end.rtcp(now + ms(30), &packet);
        }
        prop_assert!(kept(&end) == 0);
        // Each of the 50 packets once at most, whatever was asked for.
        prop_assert!(end.wire.rtp.len() <= 100);
    }
}
