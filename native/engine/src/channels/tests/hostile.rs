use super::*;

/// The value of a chunk: words that are often small, or one of the parameter types, as lengths
/// and counts in chunks are.
fn random_value() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        0u16..24,
        any::<u16>(),
        Just(13),
        Just(16),
        Just(7),
        Just(0xC000)
    ];
    (proptest::collection::vec(word, 0..20), 0usize..3).prop_map(|(words, cut)| {
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u16::to_be_bytes).collect();
        bytes.truncate(bytes.len().saturating_sub(cut));
        bytes
    })
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        packets in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..120), 1..20,
        ),
        valid_header: bool,
        started: bool,
        up: bool,
    ) {
        let mut pair = if up { Pair::up(PERFECT) } else { Pair::new(PERFECT) };
        if started && !up {
            pair.start();
            pair.flush();
        }
        for mut packet in packets {
            if valid_header && packet.len() >= 16 {
                // Ports and checksum right, so that the chunks are looked at.
                packet[..4].copy_from_slice(&[0x13, 0x88, 0x13, 0x88]);
                packet[4..8].fill(0);
                packet = wire::sealed(packet).to_vec();
            }
            pair.ends[0].handle_packet(pair.now, packet.into());
            pair.flush();
        }
        pair.run(Duration::from_secs(1));
    }

    /// Chunks that only the peer of an association that is up can send.
    #[test]
    fn random_chunks_of_the_peer_never_panic(
        packets in proptest::collection::vec(
            proptest::collection::vec(
                (0usize..wire::KNOWN.len(), any::<u8>(), random_value()), 1..4,
            ), 1..40,
        ),
    ) {
        let (mut pair, [own, peer]) = Pair::with_channel(PERFECT, |_| {});
        let (header, tsn) = taken_over(&mut pair, &peer);
        for (at, chunks) in packets.into_iter().enumerate() {
            let mut packet = header.clone();
            for (kind, flags, mut value) in chunks {
                let kind = wire::KNOWN[kind];
                if kind == wire::DATA && value.len() >= 4 && flags & 0x10 != 0 {
                    // The next in order, or a little ahead.
                    let near = tsn.wrapping_add(at as u32 + u32::from(flags >> 5));
                    value[..4].copy_from_slice(&near.to_be_bytes());
                }
                packet.extend([kind, flags & 0x0F]);
                packet.extend((value.len() as u16 + 4).to_be_bytes());
                packet.extend(&value);
                packet.resize(packet.len().next_multiple_of(4), 0);
            }
            pair.ends[0].handle_packet(pair.now, wire::sealed(packet));
            while pair.ends[0].poll_packet(pair.now).is_some() {}
            if at % 8 == 7 {
                pair.now += Duration::from_millis(400);
                pair.ends[0].handle_timeout(pair.now);
            }
            pair.send(0, &own, DataKind::Binary, &[1; 3_000]);
        }
        while pair.ends[0].poll_event().is_some() {}
    }

    /// Packets of a real association with bytes changed and the checksum put right.
    #[test]
    fn changed_packets_never_panic(
        changes in proptest::collection::vec((8usize..200, any::<u8>()), 1..60),
        size in 1usize..6_000,
    ) {
        let (mut pair, [own, _]) = Pair::with_channel(PERFECT, |own| own.ordered = false);
        let mut changes = changes.into_iter().cycle();
        for round in 0..30 {
            if own.account.charge(size as u64) {
                pair.ends[0].send(pair.now, OutgoingData {
                    channel: own.id,
                    kind: DataKind::Binary,
                    payload: vec![round; size].into(),
                    notify: None,
                });
            }
            let mut flying = std::mem::take(&mut pair.flying).into_vec();
            for flight in &mut flying {
                let (at, value) = changes.next().unwrap();
                let mut packet = flight.packet.to_vec();
                // The tag stays, or it would only be dropped.
                if at >= 12 && at < packet.len() {
                    packet[at] = value;
                    flight.packet = wire::sealed(packet);
                }
            }
            pair.flying = flying.into();
            pair.run(Duration::from_millis(7));
        }
    }
}

/// The peer's verification tag and next TSN, taken from a packet that it sends.
fn taken_over(pair: &mut Pair, handle: &ChannelHandle) -> (Vec<u8>, u32) {
    pair.send(1, handle, DataKind::String, b"x");
    let packet = pair.ends[1].poll_packet(pair.now).unwrap();
    let tsn = wire::u32_at(&packet, 16).unwrap();
    (packet[..12].to_vec(), tsn)
}

fn data_chunk(tsn: u32, stream: u16, flags: u8, protocol: u32, payload: &[u8]) -> Vec<u8> {
    let mut chunk = vec![wire::DATA, flags];
    chunk.extend((16 + payload.len() as u16).to_be_bytes());
    chunk.extend(tsn.to_be_bytes());
    chunk.extend(stream.to_be_bytes());
    chunk.extend(0u16.to_be_bytes());
    chunk.extend(protocol.to_be_bytes());
    chunk.extend(payload);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

fn deliver(pair: &mut Pair, header: &[u8], chunk: &[u8]) {
    let packet = wire::sealed([header, chunk].concat());
    pair.ends[0].handle_packet(pair.now, packet);
    while pair.ends[0].poll_packet(pair.now).is_some() {}
}

#[test]
fn a_peer_that_opens_every_stream_gets_a_bounded_number() {
    let (mut pair, [_, peer]) = Pair::with_channel(PERFECT, |_| {});
    let (header, tsn) = taken_over(&mut pair, &peer);
    let open = dcep::Message::Open(dcep::Open {
        ordered: true,
        reliability: dcep::Reliability::Full,
        label: String::new(),
        protocol: String::new(),
    })
    .encode();
    for stream in 0..=u16::MAX {
        let tsn = tsn.wrapping_add(u32::from(stream));
        deliver(&mut pair, &header, &data_chunk(tsn, stream, 3, 50, &open));
    }
    let channels = pair.ends[0].channels.len();
    assert!((1_024..=4_200).contains(&channels), "{channels}");
}

#[test]
fn data_and_nonsense_on_unknown_streams_leave_nothing_behind() {
    let (mut pair, [own, peer]) = Pair::with_channel(PERFECT, |_| {});
    let (header, mut tsn) = taken_over(&mut pair, &peer);
    for round in 0..20_000u32 {
        let stream = 1_000 + (round % 40_000) as u16;
        let protocol = [50, 51, 52, 53, 54, 99][round as usize % 6];
        let flags = (round % 8) as u8;
        deliver(
            &mut pair,
            &header,
            &data_chunk(tsn, stream, flags, protocol, &[9; 300]),
        );
        tsn = tsn.wrapping_add(1);
        if pair.ends[0]
            .association
            .as_deref()
            .is_none_or(Association::is_lost)
        {
            break;
        }
    }
    assert!(pair.ends[0].channels.len() <= 1);
    assert!(pair.states(0, &own).is_empty() || pair.ends[0].channels.is_empty());
}

#[test]
fn messages_in_deprecated_parts_are_dropped_and_the_channel_goes_on() {
    let (mut pair, [own, peer]) = Pair::with_channel(PERFECT, |_| {});
    let (header, tsn) = taken_over(&mut pair, &peer);
    for (at, (protocol, text)) in [(54, "par"), (52, "ts"), (51, "whole")].iter().enumerate() {
        let tsn = tsn.wrapping_add(at as u32);
        // Unordered, so that no stream sequence number is needed.
        let chunk = data_chunk(tsn, 0, 7, *protocol, text.as_bytes());
        deliver(&mut pair, &header, &chunk);
    }
    pair.flush();
    assert_eq!(
        pair.data(0),
        [(own.id, DataKind::String, Bytes::from_static(b"whole"))]
    );
}

#[test]
fn a_forward_tsn_over_half_the_number_space_is_not_followed() {
    let (mut pair, [own, peer]) = Pair::with_channel(PERFECT, |_| {});
    let (header, tsn) = taken_over(&mut pair, &peer);
    let mut chunk = vec![wire::FORWARD_TSN, 0, 0, 8];
    chunk.extend(tsn.wrapping_add(1 << 30).to_be_bytes());
    deliver(&mut pair, &header, &chunk);
    // Still where it was: the next TSN in sequence is delivered.
    deliver(&mut pair, &header, &data_chunk(tsn, 0, 7, 51, b"next"));
    pair.flush();
    assert_eq!(
        pair.data(0),
        [(own.id, DataKind::String, Bytes::from("next"))]
    );
}

#[test]
fn late_copies_of_the_handshake_do_not_end_the_association() {
    let mut pair = Pair::new(PERFECT);
    let own = pair.ends[0].create(pair.now, options("x")).unwrap().handle;
    pair.start();
    let mut all: [Vec<Bytes>; 2] = [vec![], vec![]];
    for _ in 0..40 {
        pair.flush();
        for flight in &pair.flying {
            all[flight.to].push(flight.packet.clone());
        }
        pair.run(Duration::from_millis(5));
    }
    for end in 0..2 {
        for packet in all[end].clone() {
            pair.ends[end].handle_packet(pair.now, packet);
        }
    }
    pair.run(Duration::from_secs(1));
    pair.send(0, &own, DataKind::String, b"alive");
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.data(1).len(), 1);
}

#[test]
fn an_abort_ends_the_association_whatever_its_causes_say() {
    for (length, cause) in [(4, None), (8, Some(4)), (9, Some(0xFFFF)), (8, Some(0))] {
        let (mut pair, [own, peer]) = Pair::with_channel(PERFECT, |_| {});
        let (header, _) = taken_over(&mut pair, &peer);
        let mut abort = vec![wire::ABORT, 0, 0, length];
        if let Some(cause) = cause {
            abort.extend([0, 12]);
            abort.extend(u16::to_be_bytes(cause));
        }
        abort.resize(usize::from(length).next_multiple_of(4), 0);
        deliver(&mut pair, &header, &abort);
        pair.flush();
        assert_eq!(pair.states(0, &own).last(), Some(&ChannelState::Closed));
    }
}

#[test]
fn chunks_inside_of_chunks_are_not_found() {
    let (mut pair, [own, peer]) = Pair::with_channel(PERFECT, |_| {});
    let (header, tsn) = taken_over(&mut pair, &peer);
    for kind in [8, 11, 14] {
        deliver(&mut pair, &header, &[kind, 0, 0, 8, wire::ABORT, 0, 0, 4]);
    }
    deliver(&mut pair, &header, &data_chunk(tsn, 0, 7, 51, b"ok"));
    pair.flush();
    assert_eq!(
        pair.data(0),
        [(own.id, DataKind::String, Bytes::from("ok"))]
    );
}

#[test]
fn an_init_that_brings_more_is_not_taken() {
    let mut pair = Pair::new(PERFECT);
    pair.start();
    pair.flush();
    let init = pair
        .flying
        .iter()
        .find(|flight| flight.to == 0)
        .unwrap()
        .packet
        .clone();
    let abort = [wire::ABORT, 0, 0, 8, 0, 12, 0xFF, 0xFF];
    let bundled = wire::sealed([&init[..], &abort].concat());
    pair.ends[0].handle_packet(pair.now, bundled);
    pair.run(Duration::from_secs(1));
    let own = pair.ends[0].create(pair.now, options("x")).unwrap().handle;
    pair.run(Duration::from_secs(1));
    pair.send(0, &own, DataKind::String, b"alive");
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.data(1).len(), 1);
}

#[test]
fn an_error_report_does_not_end_the_association() {
    let (mut pair, [own, peer]) = Pair::with_channel(PERFECT, |_| {});
    let (header, tsn) = taken_over(&mut pair, &peer);
    deliver(&mut pair, &header, &[9, 0, 0, 8, 0, 1, 0, 4]);
    let bundled = [
        &[9, 0, 0, 8, 0, 1, 0, 4][..],
        &data_chunk(tsn, 0, 7, 51, b"ok"),
    ]
    .concat();
    deliver(&mut pair, &header, &bundled);
    pair.flush();
    assert_eq!(
        pair.data(0),
        [(own.id, DataKind::String, Bytes::from("ok"))]
    );
}
