//! A side that is told something wrong of the other, by whoever carried the description: whoever
//! offers and whichever end of DTLS each is, no packet of media or data leaves either side.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::command::{ChannelOptions, Command};
use engine::config::Config;
use engine::event::Event;
use engine::w3c::{ChannelState, ConnectionState, DataKind, DtlsRole, Kind, SessionDescription};
use std::time::Duration;
use world::{World, channel_options, config, packet};

/// What of a description is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    Fingerprint,
    IcePassword,
    IceUserName,
}

/// Another character behind the name of each attribute.
fn tampered(mut description: SessionDescription, lie: Lie) -> SessionDescription {
    let name = match lie {
        Lie::Fingerprint => "a=fingerprint:sha-256 ",
        Lie::IcePassword => "a=ice-pwd:",
        Lie::IceUserName => "a=ice-ufrag:",
    };
    let places: Vec<usize> = description
        .sdp
        .match_indices(name)
        .map(|(at, _)| at + name.len())
        .collect();
    assert!(!places.is_empty(), "{name}");
    for at in places {
        let other = if &description.sdp[at..=at] == "A" {
            "B"
        } else {
            "A"
        };
        description.sdp.replace_range(at..=at, other);
    }
    description
}

/// Sides 0 and 1 after an exchange that side 0 offered, in which `deceived` was lied to. Both try
/// to send media and data while it lasts.
fn deceive(deceived: usize, answerer: DtlsRole, lie: Lie) -> World {
    let answering = Config {
        dtls_role: Some(answerer),
        ..config()
    };
    let mut world = World::new(config(), answering);
    world.tap = Some(Vec::new());
    world.add_transceiver(0, 1, Kind::Video);
    let channels = [0, 1].map(|side| {
        let options = ChannelOptions {
            negotiated: true,
            id: Some(5),
            ..channel_options("secrets")
        };
        world.channel_with(side, options)
    });
    let offer = world.create(0, Command::CreateOffer { ice_restart: false });
    world.ok(0, Command::SetLocalDescription(Some(offer.clone())));
    let told = |description, side| {
        if side == deceived {
            tampered(description, lie)
        } else {
            description
        }
    };
    world.ok(1, Command::SetRemoteDescription(told(offer, 1)));
    world.send_back(1, 1, 2);
    let answer = world.create(1, Command::CreateAnswer);
    world.ok(1, Command::SetLocalDescription(Some(answer.clone())));
    world.ok(0, Command::SetRemoteDescription(told(answer, 0)));
    for number in 0..100 {
        world.run_for(Duration::from_millis(500));
        for (side, channel) in channels.iter().enumerate() {
            world.send(side, side as u64 + 1, &packet(number, 0, b"secret"));
            world.send_data(side, channel, DataKind::String, Bytes::from("secret"));
        }
    }
    world
}

/// Datagrams of a side that begin as these protocols do (RFC 7983).
fn sent(world: &World, side: usize, first: std::ops::Range<u8>) -> usize {
    let from = world.peers[side].public;
    let tapped = world.tap.iter().flatten();
    tapped
        .filter(|(sender, _, bytes)| *sender == from && first.contains(&bytes[0]))
        .count()
}

fn assert_nothing_passed(world: &World, what: &str) {
    for (side, peer) in world.peers.iter().enumerate() {
        assert!(peer.heard.packets.is_empty(), "{what}");
        assert_eq!(sent(world, side, 128..192), 0, "{what}: SRTP of {side}");
        assert!(
            !peer
                .connection_states()
                .contains(&ConnectionState::Connected),
            "{what}: {:?}",
            peer.connection_states()
        );
        let told = peer.heard.events.iter().any(|event| {
            matches!(
                event,
                Event::Data(..)
                    | Event::DataChannel(_)
                    | Event::Rtcp(_)
                    | Event::DataChannelStateChange(_, ChannelState::Open)
            )
        });
        assert!(!told, "{what}: side {side}");
    }
}

#[test]
fn a_wrong_fingerprint_fails_both_sides_before_anything_is_sent() {
    for deceived in [0, 1] {
        for answerer in [DtlsRole::Client, DtlsRole::Server] {
            let what = format!("deceived {deceived}, answerer {answerer:?}");
            let world = deceive(deceived, answerer, Lie::Fingerprint);
            assert_nothing_passed(&world, &what);
            for peer in &world.peers {
                // The other side is told by an alert.
                assert_eq!(
                    peer.connection_states(),
                    [
                        ConnectionState::New,
                        ConnectionState::Connecting,
                        ConnectionState::Failed
                    ],
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn a_wrong_ice_password_or_user_name_fails_before_dtls() {
    for lie in [Lie::IcePassword, Lie::IceUserName] {
        for deceived in [0, 1] {
            for answerer in [DtlsRole::Client, DtlsRole::Server] {
                let what = format!("{lie:?}, deceived {deceived}, answerer {answerer:?}");
                let world = deceive(deceived, answerer, lie);
                assert_nothing_passed(&world, &what);
                // Candidates name the user they are for: with another one there is none to check.
                if lie == Lie::IcePassword {
                    assert_eq!(
                        world.peers[deceived].connection_states().last(),
                        Some(&ConnectionState::Failed),
                        "{what}"
                    );
                }
                // Its checks fail, so it has nowhere to send a handshake.
                assert_eq!(sent(&world, deceived, 20..64), 0, "{what}: DTLS");
            }
        }
    }
}
