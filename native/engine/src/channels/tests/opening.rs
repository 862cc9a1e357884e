use super::*;

#[test]
fn a_channel_created_before_the_association_gets_its_id_and_opens_at_both_ends() {
    for end in 0..2 {
        let mut pair = Pair::new(PERFECT);
        let info = pair.ends[end].create(pair.now, options("early")).unwrap();
        assert_eq!(
            (info.id, info.ready_state),
            (None, ChannelState::Connecting)
        );
        pair.start();
        pair.run(Duration::from_secs(1));
        let own = pair.ends[end].get(info.handle.id).unwrap();
        assert_eq!(
            (own.id, own.ready_state),
            (Some(end as u16), ChannelState::Open)
        );
        assert_eq!(pair.states(end, &info.handle), [ChannelState::Open]);
        match pair.events[1 - end].as_slice() {
            [
                ChannelEvent::Opened(peer),
                ChannelEvent::StateChange(same, ChannelState::Open),
            ] => {
                assert_eq!(peer.ready_state, ChannelState::Open);
                assert_eq!(peer.label, "early");
                assert_eq!(peer.id, own.id);
                assert_eq!(peer.handle.id, same.id);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_channel_created_long_after_opens_at_once() {
    let mut pair = Pair::up(PERFECT);
    pair.run(Duration::from_secs(600));
    let info = pair.ends[1].create(pair.now, options("late")).unwrap();
    assert_eq!((info.id, info.ready_state), (Some(1), ChannelState::Open));
    pair.run(Duration::from_millis(20));
    assert!(matches!(&pair.events[0][0], ChannelEvent::Opened(info) if info.label == "late"));
}

#[test]
fn an_association_on_a_short_path_is_up_after_two_round_trips() {
    let mut pair = Pair::new(PERFECT);
    pair.ends[1].create(pair.now, options("x")).unwrap();
    pair.start();
    let opened = |pair: &Pair| !pair.events[0].is_empty();
    assert!(pair.run_until(pair.base + Duration::from_secs(1), opened));
    assert!(
        pair.now - pair.base <= pair.link.delay * 5,
        "{:?}",
        pair.now - pair.base
    );
}

#[test]
fn the_association_comes_up_whichever_end_starts_later() {
    for first in 0..2 {
        for later in [0, 10, 100, 3_000] {
            let mut pair = Pair::new(PERFECT);
            pair.ends[0].create(pair.now, options("x")).unwrap();
            pair.start_end(first);
            pair.run(Duration::from_millis(later));
            pair.start_end(1 - first);
            pair.run(Duration::from_secs(3));
            assert!(matches!(
                pair.events[1].first(),
                Some(ChannelEvent::Opened(_))
            ));
        }
    }
}

#[test]
fn the_association_comes_up_on_a_long_and_on_a_rough_path() {
    for (seed, delay, loss) in [
        (1, 200, 0),
        (2, 400, 0),
        (3, 900, 0),
        (4, 20, 300),
        (5, 300, 300),
    ] {
        let mut pair = Pair::new(Link {
            delay: Duration::from_millis(delay),
            loss,
            ..ROUGH
        });
        pair.seed = seed;
        pair.ends[0].create(pair.now, options("x")).unwrap();
        pair.start();
        let opened = |pair: &Pair| !pair.events[1].is_empty();
        assert!(
            pair.run_until(pair.base + Duration::from_secs(60), opened),
            "delay {delay} loss {loss}"
        );
    }
}

#[test]
fn other_ports_than_5000_are_used_on_the_wire() {
    let mut pair = Pair::new(PERFECT);
    pair.ends[0].create(pair.now, options("x")).unwrap();
    for end in 0..2 {
        let ports = [(6_000, 7_000), (7_000, 6_000)][end];
        let plan = DataPlan {
            local_port: ports.0,
            remote_port: ports.1,
            ..plan()
        };
        let role = [DtlsRole::Client, DtlsRole::Server][end];
        pair.ends[end].apply(pair.now, Some(&plan), Some(role));
    }
    let packet = pair.ends[0].poll_packet(pair.now).unwrap();
    assert_eq!(packet[..4], [0x17, 0x70, 0x1b, 0x58]);
    pair.run(Duration::from_secs(3));
    assert!(matches!(
        pair.events[1].first(),
        Some(ChannelEvent::Opened(_))
    ));
}

#[test]
fn what_the_opener_decides_is_known_to_the_peer() {
    for (ordered, lifetime, retransmits) in [
        (true, None, None),
        (false, Some(500), None),
        (false, None, Some(0)),
        (true, None, Some(9)),
    ] {
        let mut pair = Pair::up(PERFECT);
        let wanted = ChannelOptions {
            ordered,
            max_packet_life_time: lifetime,
            max_retransmits: retransmits,
            protocol: "proto".into(),
            ..options("näme")
        };
        pair.ends[0].create(pair.now, wanted).unwrap();
        pair.run(Duration::from_secs(1));
        let ChannelEvent::Opened(info) = &pair.events[1][0] else {
            panic!()
        };
        assert_eq!(info.label, "näme");
        assert_eq!(info.protocol, "proto");
        assert_eq!(info.ordered, ordered);
        assert_eq!(info.max_packet_life_time, lifetime);
        assert_eq!(info.max_retransmits, retransmits);
        assert!(!info.negotiated);
    }
}

#[test]
fn negotiated_channels_open_without_a_message() {
    let mut pair = Pair::new(PERFECT);
    let wanted = ChannelOptions {
        negotiated: true,
        id: Some(7),
        ..options("both")
    };
    let own = pair.ends[0].create(pair.now, wanted.clone()).unwrap();
    let peer = pair.ends[1].create(pair.now, wanted).unwrap();
    assert_eq!(own.id, Some(7));
    pair.start();
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.states(0, &own.handle), [ChannelState::Open]);
    assert_eq!(pair.states(1, &peer.handle), [ChannelState::Open]);
    pair.send(0, &own.handle, DataKind::String, b"hello");
    pair.run(Duration::from_secs(1));
    assert_eq!(
        pair.data(1),
        [(peer.handle.id, DataKind::String, Bytes::from("hello"))]
    );
}

#[test]
fn data_for_a_negotiated_channel_waits_until_it_is_created() {
    let mut pair = Pair::up(PERFECT);
    let wanted = ChannelOptions {
        negotiated: true,
        id: Some(7),
        ..options("both")
    };
    let own = pair.ends[0].create(pair.now, wanted.clone()).unwrap();
    pair.send(0, &own.handle, DataKind::String, b"hello");
    pair.run(Duration::from_secs(1));
    pair.ends[1].create(pair.now, wanted).unwrap();
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.data(1).len(), 1);
}

#[test]
fn options_that_w3c_refuses_are_refused() {
    let mut pair = Pair::up(PERFECT);
    let long = "x".repeat(65_536);
    let taken = ChannelOptions {
        negotiated: true,
        id: Some(3),
        ..options("a")
    };
    pair.ends[0].create(pair.now, taken.clone()).unwrap();
    let refused = [
        options(&long),
        ChannelOptions {
            protocol: long.clone(),
            ..options("a")
        },
        ChannelOptions {
            max_packet_life_time: Some(1),
            max_retransmits: Some(1),
            ..options("a")
        },
        ChannelOptions {
            negotiated: true,
            id: None,
            ..options("a")
        },
        ChannelOptions {
            negotiated: true,
            id: Some(65_535),
            ..options("a")
        },
        taken,
    ];
    for wanted in refused {
        let result = pair.ends[0].create(pair.now, wanted);
        assert_eq!(result.err(), Some(Error::InvalidOption));
    }
    assert!(pair.ends[0].create(pair.now, options(&long[1..])).is_ok());
    pair.ends[0].close();
    let result = pair.ends[0].create(pair.now, options("a"));
    assert_eq!(result.err(), Some(Error::InvalidState));
}

#[test]
fn unordered_data_that_overtakes_the_open_message_is_not_lost() {
    // With two tenths lost, some OPEN arrives after its channel's data.
    let mut pair = Pair::up(PERFECT);
    pair.link = Link {
        loss: 200,
        ..PERFECT
    };
    for round in 0..40u8 {
        let wanted = ChannelOptions {
            ordered: false,
            ..options("u")
        };
        let own = pair.ends[0].create(pair.now, wanted).unwrap();
        pair.send(0, &own.handle, DataKind::Binary, &[round]);
        pair.run(Duration::from_millis(30));
    }
    pair.run(Duration::from_secs(30));
    assert_eq!(pair.data(1).len(), 40);
}

#[test]
fn a_hundred_channels_open_from_both_ends_at_once() {
    let mut pair = Pair::new(ROUGH);
    for _ in 0..100 {
        for end in 0..2 {
            pair.ends[end].create(pair.now, options("x")).unwrap();
        }
    }
    pair.start();
    pair.run(Duration::from_secs(600));
    for end in 0..2 {
        let (opened, closed) = pair.ends[end].stats(&mut StatsReport::default());
        assert_eq!((opened, closed), (200, 0));
    }
}

#[test]
fn an_idle_association_sleeps() {
    let (pair, _) = Pair::with_channel(PERFECT, |_| {});
    assert_eq!(pair.ends[0].poll_timeout(), None);
    assert_eq!(pair.ends[1].poll_timeout(), None);
}

#[test]
fn a_peer_that_ignores_our_init_is_answered_and_one_that_only_waits_is_asked() {
    for mute in 0..2 {
        let mut pair = Pair::new(PERFECT);
        pair.mute = Some(mute);
        pair.ends[1].create(pair.now, options("x")).unwrap();
        pair.start();
        let opened = |pair: &Pair| !pair.events[0].is_empty();
        let end = pair.base + Duration::from_millis(300);
        assert!(pair.run_until(end, opened), "INITs of end {mute} ignored");
    }
}

/// The server's COOKIE ECHO and the client's INIT cross: both ends must keep the same association.
#[test]
fn an_init_that_comes_behind_the_answer_to_our_own_changes_nothing() {
    let mut pair = Pair::new(ROUGH);
    pair.seed = 17_676_417_062_686_928_943;
    pair.start();
    pair.ends[0].create(pair.now, options("x")).unwrap();
    pair.run(Duration::from_secs(10));
    assert!(matches!(&pair.events[1][..], [ChannelEvent::Opened(info), ..] if info.label == "x"));
}

#[test]
fn whatever_is_lost_of_a_handshake_both_ends_come_up() {
    for seed in 0..6_000 {
        let mut pair = Pair::new(Link { loss: 200, ..ROUGH });
        pair.seed = seed;
        pair.start();
        pair.ends[0].create(pair.now, options("x")).unwrap();
        pair.run(Duration::from_secs(600));
        let opened = matches!(&pair.events[1][..], [ChannelEvent::Opened(_), ..]);
        assert!(opened, "seed {seed}: {:?}", pair.events[1]);
    }
}
