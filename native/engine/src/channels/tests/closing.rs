use super::*;

#[test]
fn closing_from_either_end_closes_both_once_and_loses_nothing_sent_before() {
    for link in [PERFECT, ROUGH] {
        for end in 0..2 {
            let (mut pair, ids) = Pair::with_channel(link, |_| {});
            for _ in 0..300 {
                pair.send(end, &ids[end], DataKind::Binary, &[1; 5_000]);
            }
            pair.ends[end].close_channel(pair.now, ids[end].id);
            assert_eq!(
                pair.ends[end].get(ids[end].id).map(|info| info.ready_state),
                Some(ChannelState::Closing)
            );
            pair.run(Duration::from_secs(120));
            assert_eq!(pair.data(1 - end).len(), 300);
            for side in 0..2 {
                assert_eq!(pair.states(side, &ids[side]), [ChannelState::Closed]);
                assert!(pair.ends[side].get(ids[side].id).is_none());
                assert_eq!(ids[side].account.waiting(), 0);
                assert_eq!(pair.ends[side].stats(&mut StatsReport::default()), (1, 1));
                assert_eq!(pair.ends[side].poll_timeout(), None);
            }
        }
    }
}

#[test]
fn both_ends_may_close_at_once() {
    for link in [PERFECT, ROUGH] {
        let (mut pair, ids) = Pair::with_channel(link, |_| {});
        for end in 0..2 {
            pair.send(end, &ids[end], DataKind::String, b"bye");
            pair.ends[end].close_channel(pair.now, ids[end].id);
        }
        pair.run(Duration::from_secs(60));
        for end in 0..2 {
            assert_eq!(pair.states(end, &ids[end]), [ChannelState::Closed]);
        }
    }
}

#[test]
fn a_close_under_the_peers_fire_ends_and_leaves_the_stream_clean() {
    for link in [PERFECT, ROUGH] {
        let (mut pair, [own, peer]) = Pair::with_channel(link, |_| {});
        for _ in 0..500 {
            pair.send(1, &peer, DataKind::Binary, &[1; 10_000]);
        }
        pair.run(Duration::from_millis(100));
        pair.ends[0].close_channel(pair.now, own.id);
        pair.run(Duration::from_secs(120));
        assert_eq!(pair.states(0, &own), [ChannelState::Closed]);
        assert_eq!(pair.states(1, &peer), [ChannelState::Closed]);
        assert_eq!(peer.account.waiting(), 0);
        // The whole receive window is free again.
        let next = pair.ends[1]
            .create(pair.now, options("next"))
            .unwrap()
            .handle;
        for _ in 0..1_000 {
            pair.send(1, &next, DataKind::String, &[1; 16_000]);
        }
        let before = pair.data(0).len();
        pair.run(Duration::from_secs(600));
        assert_eq!(pair.data(0).len(), before + 1_000);
    }
}

#[test]
fn ids_are_used_again_after_both_ends_reset_the_stream() {
    let mut pair = Pair::up(PERFECT);
    let wanted = ChannelOptions {
        negotiated: true,
        id: Some(6),
        ..options("again")
    };
    for round in 0..20u8 {
        let own = pair.ends[0]
            .create(pair.now, wanted.clone())
            .unwrap()
            .handle;
        let peer = pair.ends[1]
            .create(pair.now, wanted.clone())
            .unwrap()
            .handle;
        let in_use = pair.ends[0].create(pair.now, wanted.clone());
        assert_eq!(in_use.err(), Some(Error::InvalidOption));
        pair.events = [vec![], vec![]];
        pair.send(0, &own, DataKind::Binary, &[round]);
        pair.send(1, &peer, DataKind::Binary, &[round]);
        pair.run(Duration::from_secs(2));
        for end in 0..2 {
            assert_eq!(pair.data(end).len(), 1, "round {round}");
            assert_eq!(pair.data(end)[0].2.as_ref(), [round]);
        }
        pair.ends[usize::from(round % 2)]
            .close_channel(pair.now, [own, peer][usize::from(round % 2)].id);
        pair.run(Duration::from_secs(5));
    }
}

#[test]
fn all_32_768_ids_of_a_role_are_handed_out_and_then_none() {
    let mut streams = Streams::default();
    for (role, count) in [(DtlsRole::Client, 32_768), (DtlsRole::Server, 32_767)] {
        let mut taken = 0;
        while let Some(id) = streams.next(role, u16::MAX, |_| true) {
            streams.take(id, ChannelId(0));
            taken += 1;
        }
        assert_eq!(taken, count);
    }
}

#[test]
fn a_negotiated_channel_that_the_peer_never_made_closes_all_the_same() {
    let mut pair = Pair::up(PERFECT);
    let wanted = ChannelOptions {
        negotiated: true,
        id: Some(6),
        ..options("alone")
    };
    let own = pair.ends[0].create(pair.now, wanted).unwrap().handle;
    pair.run(Duration::from_secs(1));
    pair.ends[0].close_channel(pair.now, own.id);
    pair.run(Duration::from_secs(10));
    assert_eq!(
        pair.states(0, &own),
        [ChannelState::Open, ChannelState::Closed]
    );
}

#[test]
fn a_channel_closed_before_the_association_never_opens() {
    let mut pair = Pair::new(PERFECT);
    let own = pair.ends[0].create(pair.now, options("x")).unwrap().handle;
    pair.ends[0].close_channel(pair.now, own.id);
    pair.start();
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.states(0, &own), [ChannelState::Closed]);
    assert!(pair.events[1].is_empty());
    assert!(pair.ends[0].any());
}

#[test]
fn closing_the_connection_closes_every_channel_at_both_ends_and_answers_who_waits() {
    let (mut pair, [own, _]) = Pair::with_channel(PERFECT, |_| {});
    for number in 0..1_000 {
        pair.send_zeros(0, &own, 16_384, RequestId(number));
    }
    pair.ends[0].transport_ended();
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.states(0, &own), [ChannelState::Closed]);
    assert_eq!(own.account.waiting(), 0);
    let answers = pair.events[0]
        .iter()
        .filter(|event| matches!(event, ChannelEvent::Sent(..)));
    assert_eq!(answers.count(), 1_000);
    let late = OutgoingData {
        channel: own.id,
        kind: DataKind::Binary,
        payload: Bytes::new(),
        notify: Some(RequestId(7_777)),
    };
    pair.ends[0].send(pair.now, late);
    assert!(matches!(
        pair.ends[0].poll_event(),
        Some(ChannelEvent::Sent(RequestId(7_777), Err(Error::Closed)))
    ));
    assert_eq!(pair.ends[0].poll_timeout(), None);
}

#[test]
fn a_quiet_close_tells_nothing() {
    let (mut pair, [_, peer]) = Pair::with_channel(PERFECT, |_| {});
    pair.ends[0].close();
    assert!(pair.ends[0].poll_event().is_none());
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.states(1, &peer), [ChannelState::Closed], "the ABORT");
}

#[test]
fn a_rejected_m_line_closes_and_a_new_one_starts_afresh() {
    let (mut pair, [own, peer]) = Pair::with_channel(PERFECT, |_| {});
    for end in 0..2 {
        pair.ends[end].apply(pair.now, None, None);
    }
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.states(0, &own), [ChannelState::Closed]);
    assert_eq!(pair.states(1, &peer), [ChannelState::Closed]);
    pair.events = [vec![], vec![]];
    pair.start();
    pair.ends[1].create(pair.now, options("afresh")).unwrap();
    pair.run(Duration::from_secs(3));
    assert!(matches!(&pair.events[0][0], ChannelEvent::Opened(info) if info.label == "afresh"));
}

#[derive(Clone, Debug)]
enum Step {
    Send {
        end: usize,
        channel: usize,
        size: usize,
    },
    Close {
        end: usize,
        channel: usize,
    },
    Create {
        end: usize,
    },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2usize, 0..8usize, 0..9_000usize)
            .prop_map(|(end, channel, size)| Step::Send { end, channel, size }),
        1 => (0..2usize, 0..8usize).prop_map(|(end, channel)| Step::Close { end, channel }),
        1 => (0..2usize).prop_map(|end| Step::Create { end }),
        2 => (0..400u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Each label is made by one end once, so it names a channel at both ends.
    #[test]
    fn whatever_the_ends_do_reliable_data_arrives_exactly_and_in_order(
        steps in proptest::collection::vec(step(), 1..120), seed: u64,
    ) {
        let mut pair = Pair::new(ROUGH);
        pair.seed = seed;
        pair.start();
        let mut made = vec![];
        let mut sent: BTreeMap<(usize, String), Vec<Bytes>> = BTreeMap::new();
        let mut closed_by: BTreeMap<String, usize> = BTreeMap::new();
        let mut labels: [BTreeMap<ChannelId, String>; 2] = [BTreeMap::new(), BTreeMap::new()];
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Create { end } => {
                    let label = format!("c{number}");
                    let own = pair.ends[end].create(pair.now, options(&label)).unwrap();
                    labels[end].insert(own.handle.id, label);
                    made.push((end, own.handle));
                }
                Step::Send { end, channel, size } => {
                    // Only the maker sends, so that what its closing may cut off is nothing.
                    if let Some((maker, handle)) = made.get(channel).filter(|(own, _)| *own == end)
                        && pair.ends[end].get(handle.id)
                            .is_some_and(|info| info.ready_state == ChannelState::Open)
                    {
                        let mut payload = number.to_be_bytes().to_vec();
                        payload.resize(8 + size, 0);
                        let (maker, handle) = (*maker, handle.clone());
                        pair.send(maker, &handle, DataKind::Binary, &payload);
                        let label = labels[maker][&handle.id].clone();
                        sent.entry((1 - maker, label)).or_default().push(payload.into());
                    }
                }
                Step::Close { end, channel } => {
                    if let Some((_, handle)) = made.get(channel).filter(|(own, _)| *own == end) {
                        let handle = handle.clone();
                        pair.ends[end].close_channel(pair.now, handle.id);
                        closed_by.insert(labels[end][&handle.id].clone(), end);
                    }
                }
                Step::Wait(millis) => pair.run(Duration::from_millis(millis)),
            }
        }
        pair.run(Duration::from_secs(300));
        let mut got: BTreeMap<(usize, String), Vec<Bytes>> = BTreeMap::new();
        for end in 0..2 {
            for event in &pair.events[end] {
                match event {
                    ChannelEvent::Opened(info) => {
                        labels[end].insert(info.handle.id, info.label.clone());
                    }
                    ChannelEvent::Data(handle, _, payload) => {
                        let label = labels[end][&handle.id].clone();
                        got.entry((end, label)).or_default().push(payload.clone());
                    }
                    _ => {}
                }
            }
        }
        prop_assert_eq!(sent, got);
        for (maker, handle) in &made {
            prop_assert_eq!(handle.account.waiting(), 0);
            let is_closed = closed_by.contains_key(&labels[*maker][&handle.id]);
            prop_assert_eq!(pair.ends[*maker].get(handle.id).is_none(), is_closed);
        }
        prop_assert_eq!(pair.ends[0].channels.len(), pair.ends[1].channels.len());
    }
}

#[test]
fn a_channel_that_never_carried_anything_closes_at_once() {
    for end in 0..2 {
        let mut pair = Pair::new(PERFECT);
        let wanted = ChannelOptions {
            negotiated: true,
            id: Some(4),
            ..options("unused")
        };
        let own = pair.ends[end]
            .create(pair.now, wanted.clone())
            .unwrap()
            .handle;
        let peer = pair.ends[1 - end].create(pair.now, wanted).unwrap().handle;
        pair.start();
        pair.run(Duration::from_secs(1));
        pair.ends[end].close_channel(pair.now, own.id);
        pair.run(Duration::from_millis(50));
        let story = [ChannelState::Open, ChannelState::Closed];
        assert_eq!(pair.states(end, &own), story);
        assert_eq!(pair.states(1 - end, &peer), story);
    }
}

#[test]
fn a_partially_reliable_channel_closes_under_fire_and_loss() {
    for seed in 0..20 {
        let link = Link { loss: 150, ..ROUGH };
        let (mut pair, [own, peer]) = Pair::with_channel(link, |own| own.max_retransmits = Some(0));
        pair.seed = seed;
        for _ in 0..300 {
            pair.send(0, &own, DataKind::Binary, &[1; 3_000]);
            pair.send(1, &peer, DataKind::Binary, &[1; 3_000]);
        }
        pair.run(Duration::from_millis(150));
        pair.ends[0].close_channel(pair.now, own.id);
        pair.run(Duration::from_secs(120));
        assert_eq!(pair.states(0, &own), [ChannelState::Closed]);
        assert_eq!(pair.states(1, &peer), [ChannelState::Closed]);
        assert_eq!(own.account.waiting() + peer.account.waiting(), 0);
        pair.run(Duration::from_secs(60));
        assert_eq!(pair.ends[0].poll_timeout(), None, "seed {seed}");
        assert_eq!(pair.ends[1].poll_timeout(), None, "seed {seed}");
    }
}

#[test]
fn a_connection_that_closes_still_knows_the_channels_that_lived_then() {
    let (mut pair, [own, peer]) = Pair::with_channel(PERFECT, |_| {});
    let waiting = pair.ends[0]
        .create(pair.now, options("waiting"))
        .unwrap()
        .handle;
    pair.ends[0].close_channel(pair.now, own.id);
    pair.run(Duration::from_secs(5));
    assert!(pair.ends[1].get(peer.id).is_none(), "it closed before");
    for end in 0..2 {
        pair.ends[end].close();
        pair.ends[end].close();
    }
    let closed = pair.ends[0].get(waiting.id).unwrap();
    assert_eq!(
        (closed.label.as_str(), closed.ready_state),
        ("waiting", ChannelState::Closed)
    );
    assert!(pair.ends[0].get(own.id).is_none());
    assert!(pair.ends[1].get(peer.id).is_none());
}

#[test]
fn a_refused_m_line_closes_what_waits_for_it_and_what_is_made_later_waits_for_another() {
    let mut pair = Pair::new(PERFECT);
    let early = pair.ends[0]
        .create(pair.now, options("early"))
        .unwrap()
        .handle;
    pair.ends[0].refused();
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.states(0, &early), [ChannelState::Closed]);
    assert!(pair.ends[0].get(early.id).is_none());
    let late = pair.ends[0]
        .create(pair.now, options("late"))
        .unwrap()
        .handle;
    pair.ends[0].apply(pair.now, None, Some(DtlsRole::Client));
    assert_eq!(
        pair.ends[0].get(late.id).map(|info| info.ready_state),
        Some(ChannelState::Connecting)
    );
    for (end, role) in [(0, DtlsRole::Client), (1, DtlsRole::Server)] {
        pair.ends[end].apply(pair.now, Some(&plan()), Some(role));
    }
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.states(0, &late), [ChannelState::Open]);
}
