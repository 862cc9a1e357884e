//! Everything at once between two engines, whoever offers and whichever end of DTLS the answerer
//! takes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::command::{Command, Property, Value};
use engine::config::{Config, SrtpProfile};
use engine::event::Event;
use engine::w3c::{ConnectionState, DataKind, Direction, DtlsRole, DtlsState, Kind};
use std::time::Duration;
use world::{World, config};

fn pair(offerer: usize, role: DtlsRole, profile: SrtpProfile) -> World {
    let offering = Config {
        srtp_profiles: vec![profile],
        ..config()
    };
    let answering = Config {
        dtls_role: Some(role),
        ..config()
    };
    if offerer == 0 {
        World::new(offering, answering)
    } else {
        World::new(answering, offering)
    }
}

fn everything(offerer: usize, role: DtlsRole) {
    for profile in SrtpProfile::ALL {
        everything_with(offerer, role, *profile);
    }
}

fn everything_with(offerer: usize, role: DtlsRole, profile: SrtpProfile) {
    let answerer = 1 - offerer;
    let mut world = pair(offerer, role, profile);
    world.add_transceiver(offerer, 1, Kind::Audio);
    world.add_transceiver(offerer, 2, Kind::Video);
    let mine = world.channel(offerer, "first");
    world.negotiate(offerer);
    let answer = world.create(answerer, Command::Get(Property::LocalDescription));
    let setup = match role {
        DtlsRole::Client => "a=setup:active",
        DtlsRole::Server => "a=setup:passive",
    };
    assert!(answer.sdp.contains(setup), "{}", answer.sdp);
    world.connect();

    let Value::Stats(stats) = world.ok(offerer, Command::GetStats) else {
        panic!("statistics");
    };
    let transport = stats.entries.iter().find(|entry| entry.kind == "transport");
    assert_eq!(
        transport.unwrap().fields["srtp_cipher"],
        profile.as_str(),
        "the profile that both sides have"
    );

    // Media both ways.
    for id in [1, 2] {
        world.send_back(answerer, id, 10 + id);
    }
    world.negotiate(answerer);
    for id in [1, 2] {
        world.flows(offerer, id, 0..20);
        world.flows(answerer, 10 + id, 0..20);
    }

    // Data both ways, on a channel of each side, one of them made later.
    world.wait_until_open(offerer, &mine);
    let first = world.remote_channel(answerer, "first");
    let second = world.channel(answerer, "second");
    world.wait_until_open(answerer, &second);
    let at_offerer = world.remote_channel(offerer, "second");
    for (side, from, to) in [
        (offerer, &mine, &first),
        (answerer, &first, &mine),
        (answerer, &second, &at_offerer),
        (offerer, &at_offerer, &second),
    ] {
        let before = world.messages_on(1 - side, to).len();
        let text = Bytes::from_static("Grüße".as_bytes());
        let binary = Bytes::from(vec![7; 100_000]);
        world.send_data(side, from, DataKind::String, text.clone());
        world.send_data(side, from, DataKind::Binary, binary.clone());
        world.send_data(side, from, DataKind::Binary, Bytes::new());
        world.run_for(Duration::from_secs(1));
        assert_eq!(
            world.messages_on(1 - side, to).split_off(before),
            [
                (DataKind::String, text),
                (DataKind::Binary, binary),
                (DataKind::Binary, Bytes::new())
            ]
        );
    }

    // Hold and resume, a restart of each side, an m-line used again.
    let video = world.transceiver_of(offerer, 2).id;
    for direction in [Direction::Inactive, Direction::Sendrecv] {
        world.ok(offerer, Command::SetTransceiverDirection(video, direction));
        world.negotiate(offerer);
    }
    for side in 0..2 {
        let offer = world.create(side, Command::CreateOffer { ice_restart: true });
        world.exchange(side, offer);
        world.flows(offerer, 2, 100 + side as u16 * 20..120 + side as u16 * 20);
    }
    world.ok(offerer, Command::StopTransceiver(video));
    world.negotiate(offerer);
    world.add_transceiver(answerer, 30, Kind::Video);
    world.negotiate(answerer);
    world.flows(answerer, 30, 0..20);
    world.flows(offerer, 1, 20..40);

    for peer in &world.peers {
        assert_eq!(
            peer.connection_states(),
            [
                ConnectionState::New,
                ConnectionState::Connecting,
                ConnectionState::Connected
            ]
        );
    }

    // Closing.
    world.ok(answerer, Command::Close);
    world.wait_until_closed(offerer, &mine);
    world.wait_until_closed(offerer, &at_offerer);
    assert!(
        world.peers[offerer]
            .heard
            .events
            .iter()
            .any(|event| matches!(event, Event::DtlsTransportStateChange(DtlsState::Closed)))
    );
}

#[test]
fn an_answer_that_turns_the_dtls_role_round_by_mistake_changes_nothing() {
    let (mut world, mine, theirs) = World::with_channel();
    world.add_transceiver(0, 2, Kind::Video);
    world.negotiate(0);
    world.flows(0, 2, 0..10);
    let before = world.peers[0].dtls_states();
    // Side 1 answered first, and so became the client. Now it is said to be the server.
    let offer = world.create(0, Command::CreateOffer { ice_restart: true });
    world.ok(0, Command::SetLocalDescription(Some(offer.clone())));
    world.ok(1, Command::SetRemoteDescription(offer));
    let answer = world.create(1, Command::CreateAnswer);
    world.ok(1, Command::SetLocalDescription(Some(answer.clone())));
    let mut altered = answer.clone();
    altered.sdp = answer.sdp.replace("a=setup:active", "a=setup:passive");
    assert_ne!(altered, answer);
    world.ok(0, Command::SetRemoteDescription(altered));
    world.flows(0, 2, 10..20);
    world.send_data(
        0,
        &mine,
        DataKind::String,
        Bytes::from_static(b"still here"),
    );
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.messages_on(1, &theirs).len(), 1);
    assert_eq!(world.peers[0].dtls_states(), before);
}

#[test]
fn a_channel_made_after_dtls_has_ended_waits_for_another_association() {
    let (mut world, mine, _) = World::with_channel();
    world.ok(1, Command::Close);
    world.run_for(Duration::from_secs(1));
    assert_eq!(
        world.peers[0].dtls_states().last(),
        Some(&DtlsState::Closed)
    );
    world.wait_until_closed(0, &mine);
    let late = world.channel(0, "late");
    world.run_for(Duration::from_secs(1));
    assert!(
        world.channel_states(0, &late).is_empty(),
        "it is connecting"
    );
}

#[test]
fn everything_works_when_the_answerer_is_the_dtls_client() {
    for offerer in 0..2 {
        everything(offerer, DtlsRole::Client);
    }
}

#[test]
fn everything_works_when_the_answerer_is_the_dtls_server() {
    for offerer in 0..2 {
        everything(offerer, DtlsRole::Server);
    }
}

#[test]
fn channels_begin_anew_with_a_side_that_is_replaced() {
    for says_goodbye in [true, false] {
        let (mut world, mine, _) = World::with_channel();
        if says_goodbye {
            world.ok(1, Command::Close);
            world.run_for(Duration::from_secs(1));
            assert_eq!(
                world.peers[0].dtls_states().last(),
                Some(&DtlsState::Closed)
            );
        }
        world.replace(1);
        let offer = world.create(0, Command::CreateOffer { ice_restart: true });
        world.exchange(0, offer);
        world.connect();
        world.wait_until_closed(0, &mine);
        for (from, label) in [(0, "another"), (1, "and back")] {
            let mine = world.channel(from, label);
            world.wait_until_open(from, &mine);
            let theirs = world.remote_channel(1 - from, label);
            let data = Bytes::from_static(b"over the new association");
            world.send_data(from, &mine, DataKind::String, data.clone());
            world.run_for(Duration::from_secs(1));
            assert_eq!(
                world.messages_on(1 - from, &theirs),
                [(DataKind::String, data)]
            );
        }
    }
}

#[test]
fn a_closed_side_can_be_replaced_by_a_new_one() {
    // The other side is replaced behind the same connection, as when its program crashed: a new
    // certificate, new credentials, nothing known of the old association.
    let mut world = World::connected();
    world.flows(0, 2, 0..10);
    world.ok(1, Command::Close);
    world.run_for(Duration::from_secs(1));
    world.replace(1);
    let offer = world.create(0, Command::CreateOffer { ice_restart: true });
    world.exchange(0, offer);
    let up = world.run_until(Duration::from_secs(10), |world| {
        let states = world.peers[1].connection_states();
        states.last() == Some(&ConnectionState::Connected)
    });
    assert!(up, "{:?}", world.peers[1].connection_states());
    world.flows(0, 2, 10..30);
}
