use super::*;

#[test]
fn a_burst_of_100_000_messages_arrives_whole_and_in_order() {
    let (mut pair, [own, _]) = Pair::with_channel(PERFECT, |_| {});
    for number in 0..100_000u32 {
        pair.send(0, &own, DataKind::Binary, &number.to_be_bytes());
    }
    let end = pair.now + Duration::from_secs(120);
    assert!(pair.run_until(end, |pair| pair.events[1].len() >= 100_000));
    for (number, (_, kind, payload)) in pair.data(1).into_iter().enumerate() {
        assert_eq!(kind, DataKind::Binary);
        assert_eq!(payload.as_ref(), (number as u32).to_be_bytes());
    }
    pair.run(Duration::from_secs(1));
    assert_eq!(own.account.waiting(), 0);
}

#[test]
fn text_binary_and_empty_messages_arrive_as_what_they_are() {
    let (mut pair, [own, peer]) = Pair::with_channel(PERFECT, |_| {});
    let sent: [(DataKind, &[u8]); 4] = [
        (DataKind::String, b"text"),
        (DataKind::Binary, b"\x00\xff"),
        (DataKind::String, b""),
        (DataKind::Binary, b""),
    ];
    for (kind, payload) in sent {
        pair.send(0, &own, kind, payload);
        pair.send(1, &peer, kind, payload);
    }
    pair.run(Duration::from_secs(1));
    for end in 0..2 {
        let got = pair.data(end);
        assert_eq!(got.len(), 4);
        for ((_, kind, payload), sent) in got.iter().zip(sent) {
            assert_eq!((*kind, payload.as_ref()), sent);
        }
    }
    assert_eq!(own.account.waiting(), 0);
}

#[test]
fn the_largest_message_arrives_and_a_larger_one_is_refused() {
    let (mut pair, [own, _]) = Pair::with_channel(ROUGH, |_| {});
    let largest = 256 << 10;
    assert_eq!(own.account.max_message_size(), largest as u64);
    let message: Vec<u8> = (0..largest).map(|index| index as u8).collect();
    pair.send(0, &own, DataKind::Binary, &message);
    pair.send_zeros(0, &own, largest + 1, RequestId(9));
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.data(1)[0].2, message);
    assert_eq!(pair.data(1).len(), 1);
    assert_eq!(own.account.waiting(), 0);
    assert!(pair.events[0].iter().any(|event| matches!(
        event,
        ChannelEvent::Sent(RequestId(9), Err(Error::InvalidOption))
    )));
}

#[test]
fn a_message_larger_than_we_take_closes_its_channel_alone() {
    let (mut pair, [own, peer]) = Pair::with_channel(PERFECT, |_| {});
    let other = pair.ends[0]
        .create(pair.now, options("other"))
        .unwrap()
        .handle;
    let unlimited = DataPlan {
        remote_max_message_size: None,
        ..plan()
    };
    pair.ends[0].apply(pair.now, Some(&unlimited), Some(DtlsRole::Client));
    pair.send(0, &own, DataKind::Binary, &vec![0; (256 << 10) + 1]);
    pair.run(Duration::from_secs(10));
    assert_eq!(pair.states(0, &own), [ChannelState::Closed]);
    assert_eq!(pair.states(1, &peer), [ChannelState::Closed]);
    pair.send(0, &other, DataKind::String, b"still here");
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.data(1).len(), 1);
}

#[test]
fn an_endless_message_ends_the_association_before_it_eats_the_memory() {
    let (mut pair, [own, peer]) = Pair::with_channel(PERFECT, |_| {});
    let unlimited = DataPlan {
        remote_max_message_size: None,
        ..plan()
    };
    pair.ends[0].apply(pair.now, Some(&unlimited), Some(DtlsRole::Client));
    pair.send(0, &own, DataKind::Binary, &vec![0; 32 << 20]);
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.states(0, &own), [ChannelState::Closed]);
    assert_eq!(pair.states(1, &peer), [ChannelState::Closed]);
}

#[test]
fn reliable_channels_lose_nothing_on_a_rough_link() {
    for ordered in [true, false] {
        let (mut pair, [own, peer]) = Pair::with_channel(ROUGH, |own| own.ordered = ordered);
        for number in 0..2_000u32 {
            let mut payload = number.to_be_bytes().to_vec();
            payload.resize(4 + (number as usize * 7) % 3_000, 1);
            pair.send(0, &own, DataKind::Binary, &payload);
            pair.send(1, &peer, DataKind::Binary, &payload);
        }
        let end = pair.now + Duration::from_secs(600);
        assert!(pair.run_until(end, |pair| pair.events.iter().all(|all| all.len() >= 2_000)));
        for end in 0..2 {
            let mut got: Vec<_> = pair
                .data(end)
                .iter()
                .map(|(_, _, payload)| u32::from_be_bytes(payload[..4].try_into().unwrap()))
                .collect();
            if !ordered {
                got.sort_unstable();
            }
            assert!(got.iter().copied().eq(0..2_000));
        }
    }
}

#[test]
fn a_channel_without_retransmissions_loses_on_a_lossy_link_and_goes_on() {
    for change in [
        (|own: &mut ChannelOptions| own.max_retransmits = Some(0)) as fn(&mut ChannelOptions),
        |own| own.max_packet_life_time = Some(1),
    ] {
        let lossy = Link {
            loss: 200,
            ..PERFECT
        };
        let (mut pair, [own, _]) = Pair::with_channel(lossy, |own| {
            own.ordered = false;
            change(own);
        });
        for number in 0..500u32 {
            pair.send(0, &own, DataKind::Binary, &number.to_be_bytes());
            pair.run(Duration::from_millis(20));
        }
        pair.link = PERFECT;
        pair.run(Duration::from_secs(10));
        let before = pair.data(1).len();
        assert!((300..500).contains(&before), "{before} of 500");
        pair.send(0, &own, DataKind::String, b"last");
        pair.run(Duration::from_secs(5));
        assert_eq!(pair.data(1).len(), before + 1);
        assert_eq!(own.account.waiting(), 0);
    }
}

#[test]
fn retransmissions_asked_for_by_the_peer_bind_us_too() {
    // The opener's limit holds for what the other end sends.
    let lossy = Link {
        loss: 200,
        ..PERFECT
    };
    let (mut pair, [_, peer]) = Pair::with_channel(lossy, |own| {
        own.ordered = false;
        own.max_retransmits = Some(0);
    });
    for number in 0..500u32 {
        pair.send(1, &peer, DataKind::Binary, &number.to_be_bytes());
        pair.run(Duration::from_millis(20));
    }
    pair.run(Duration::from_secs(10));
    assert!((300..500).contains(&pair.data(0).len()));
}

#[test]
fn a_lost_tail_is_repeated_within_300_ms_on_a_short_path() {
    let (mut pair, [own, _]) = Pair::with_channel(PERFECT, |_| {});
    pair.link.loss = 1_000;
    pair.send(0, &own, DataKind::String, b"tail");
    pair.flush();
    pair.link.loss = 0;
    let sent = pair.now;
    assert!(pair.run_until(sent + Duration::from_secs(5), |pair| {
        !pair.events[1].is_empty()
    }));
    assert!(
        pair.now - sent < Duration::from_millis(300),
        "{:?}",
        pair.now - sent
    );
}

#[test]
fn a_channel_goes_on_after_an_outage_of_two_minutes() {
    let (mut pair, [own, _]) = Pair::with_channel(PERFECT, |_| {});
    pair.link.loss = 1_000;
    for number in 0..1_000u32 {
        pair.send(0, &own, DataKind::Binary, &number.to_be_bytes());
    }
    pair.run(Duration::from_secs(120));
    pair.link.loss = 0;
    pair.run(Duration::from_secs(30));
    assert_eq!(pair.data(1).len(), 1_000);
}

#[test]
fn a_quiet_channel_does_not_queue_behind_a_busy_one() {
    let slow = Link {
        delay: Duration::from_millis(50),
        ..PERFECT
    };
    let (mut pair, [busy, _]) = Pair::with_channel(slow, |_| {});
    let quiet = pair.ends[0]
        .create(pair.now, options("quiet"))
        .unwrap()
        .handle;
    pair.run(Duration::from_secs(1));
    for _ in 0..1_000 {
        pair.send(0, &busy, DataKind::Binary, &[0; 16_384]);
    }
    pair.run(Duration::from_millis(200));
    pair.send(0, &quiet, DataKind::String, b"now");
    let is_text =
        |event: &ChannelEvent| matches!(event, ChannelEvent::Data(_, DataKind::String, _));
    let sent = pair.now;
    let end = sent + Duration::from_secs(100);
    assert!(pair.run_until(end, |pair| pair.events[1].iter().any(is_text)));
    assert!(pair.data(1).len() < 900);
    assert!(
        pair.now - sent < Duration::from_secs(1),
        "{:?}",
        pair.now - sent
    );
}

#[test]
fn the_buffered_amount_is_given_back_and_its_threshold_told_once() {
    let (mut pair, [own, _]) = Pair::with_channel(PERFECT, |_| {});
    pair.ends[0].set_low_threshold(own.id, 10_000);
    for _ in 0..100 {
        pair.send(0, &own, DataKind::Binary, &[0; 1_000]);
    }
    assert_eq!(own.account.waiting(), 100_000);
    pair.run(Duration::from_secs(5));
    assert_eq!(own.account.waiting(), 0);
    let low = |event: &&ChannelEvent| matches!(event, ChannelEvent::BufferedAmountLow(_));
    assert_eq!(pair.events[0].iter().filter(low).count(), 1);
    pair.ends[0].close_channel(pair.now, own.id);
    pair.run(Duration::from_secs(5));
    pair.events = [vec![], vec![]];
    pair.ends[0].set_low_threshold(own.id, 1);
    pair.run(Duration::from_secs(5));
    assert!(pair.events[0].is_empty(), "of a closed one nothing is told");
}

#[test]
fn the_buffered_amount_is_not_told_of_before_a_threshold_was_set() {
    let (mut pair, [own, _]) = Pair::with_channel(PERFECT, |_| {});
    for _ in 0..100 {
        pair.send(0, &own, DataKind::Binary, &[0; 1_000]);
    }
    pair.run(Duration::from_secs(5));
    assert_eq!(own.account.waiting(), 0);
    let low = |event: &ChannelEvent| matches!(event, ChannelEvent::BufferedAmountLow(_));
    assert!(!pair.events[0].iter().any(low));
}

#[test]
fn a_synchronous_send_waits_for_the_high_water_mark_only() {
    let (mut pair, [own, _]) = Pair::with_channel(PERFECT, |_| {});
    pair.link.loss = 1_000;
    for number in 0..200 {
        pair.send_zeros(0, &own, 16_384, RequestId(number));
    }
    pair.flush();
    let answered = |pair: &Pair| {
        let ok = |event: &&ChannelEvent| matches!(event, ChannelEvent::Sent(_, Ok(())));
        pair.events[0].iter().filter(ok).count()
    };
    let at_once = answered(&pair);
    assert!((60..80).contains(&at_once), "{at_once}");
    pair.link.loss = 0;
    pair.run(Duration::from_secs(10));
    assert_eq!(answered(&pair), 200);
    assert_eq!(pair.data(1).len(), 200);
}

#[test]
fn an_account_refuses_past_its_limit_and_takes_back() {
    let account = SendAccount::new(100);
    assert!(account.charge(60));
    assert!(!account.charge(41));
    assert!(account.charge(40));
    account.release(100);
    assert_eq!(account.waiting(), 0);
    assert!(
        account.charge(1_000),
        "one message larger than the limit goes alone"
    );
    assert!(!account.charge(1));
}

#[test]
fn statistics_count_what_went_through() {
    let (mut pair, [own, _]) = Pair::with_channel(ROUGH, |own| own.protocol = "p".into());
    for _ in 0..10 {
        pair.send(0, &own, DataKind::String, b"12345");
    }
    pair.run(Duration::from_secs(20));
    for (end, sent, received) in [(0, 10, 0), (1, 0, 10)] {
        let mut report = StatsReport::default();
        assert_eq!(pair.ends[end].stats(&mut report), (1, 0));
        let fields = &report.entries[0].fields;
        assert_eq!(fields["messages_sent"], sent);
        assert_eq!(fields["bytes_sent"], sent * 5);
        assert_eq!(fields["messages_received"], received);
        assert_eq!(fields["bytes_received"], received * 5);
        assert_eq!(fields["label"], "channel");
        assert_eq!(fields["protocol"], "p");
        assert_eq!(fields["state"], "open");
        assert_eq!(fields["data_channel_identifier"], 0);
    }
}
