//! A DTLS peer that has no certificate, or none that is its own: whichever end of DTLS it is, the
//! handshake fails, it is told by an alert, no packet of media or data passes, and the right peer
//! can come in its place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod peer;
#[path = "../world/mod.rs"]
mod world;

use bytes::Bytes;
use engine::command::{ChannelInfo, ChannelOptions, Command};
use engine::config::Config;
use engine::event::Event;
use engine::w3c::{ChannelState, DataKind, DtlsRole, DtlsState, Kind};
use peer::{Manner, Peer, Proves, Shows, is_dtls, stand_in};
use rtc_dtls::crypto::Certificate;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use world::{World, channel_options, config, packet};

/// RFC 5246 section 7.2.
const CLOSE_NOTIFY: [u8; 2] = [1, 0];
const NO_CERTIFICATE: [u8; 2] = [2, 41];
const BAD_CERTIFICATE: [u8; 2] = [2, 42];

/// Handshake messages that a client sends only once it trusts the server (RFC 5246 section 7.3).
const CLIENT_FLIGHT: [u8; 4] = [11, 15, 16, 20];

/// Nobody waits for a handshake for longer.
const LIMIT: Duration = Duration::from_secs(31);

struct Call {
    world: World,
    channel: ChannelInfo,
    peer: Rc<RefCell<Peer>>,
    manner: Manner,
}

/// Side 0 in a call with side 1, whose DTLS is taken over.
fn call(manner: Manner) -> Call {
    let crypto = rtc_crypto::default_provider().unwrap();
    let certificate =
        Certificate::generate_self_signed(vec!["WebRTC".to_owned()], crypto.crypto()).unwrap();
    let answering = Config {
        certificate_pem: Some(certificate.serialize_pem().unwrap()),
        dtls_role: Some(if manner.client {
            DtlsRole::Client
        } else {
            DtlsRole::Server
        }),
        ..config()
    };
    let mut world = World::new(config(), answering);
    let peer = Rc::new(RefCell::new(Peer::new(manner, certificate)));
    let (taken, address) = (peer.clone(), world.peers[1].public);
    world.middle = Some(Box::new(move |datagram| {
        stand_in(&mut taken.borrow_mut(), address, datagram)
    }));
    world.tap = Some(Vec::new());
    world.add_transceiver(0, 1, Kind::Video);
    let options = ChannelOptions {
        negotiated: true,
        id: Some(5),
        ..channel_options("secrets")
    };
    let channel = world.channel_with(0, options);
    world.negotiate(0);
    Call {
        world,
        channel,
        peer,
        manner,
    }
}

impl Call {
    /// Lets time pass, in which side 0 tries to send media and data.
    fn go_on(&mut self, time: Duration) {
        let end = self.world.now + time;
        let mut number = 0;
        while self.world.now < end {
            self.world.run_for(Duration::from_millis(500));
            self.world.send(0, 1, &packet(number, 0, b"secret"));
            let data = Bytes::from_static(b"secret");
            let channel = self.channel.clone();
            self.world.send_data(0, &channel, DataKind::String, data);
            number += 1;
        }
    }

    fn states(&self) -> Vec<DtlsState> {
        self.world.peers[0].dtls_states()
    }

    /// Datagrams of side 0 whose first byte says so (RFC 7983).
    fn sent(&self, first: std::ops::Range<u8>) -> usize {
        let from = self.world.peers[0].public;
        let tapped = self.world.tap.iter().flatten();
        tapped
            .filter(|(sender, _, bytes)| *sender == from && first.contains(&bytes[0]))
            .count()
    }

    fn assert_nothing_passed(&self) {
        let what = self.manner;
        assert_eq!(self.sent(128..192), 0, "{what:?}: SRTP");
        let peer = self.peer.borrow();
        assert!(!peer.finished, "{what:?}: the handshake is complete");
        let told = &self.world.peers[0].heard;
        assert!(told.packets.is_empty(), "{what:?}");
        let opened = told.events.iter().any(|event| {
            matches!(
                event,
                Event::Data(..)
                    | Event::DataChannel(_)
                    | Event::Rtcp(_)
                    | Event::DataChannelStateChange(_, ChannelState::Open)
            )
        });
        assert!(!opened, "{what:?}");
    }

    /// What the peer sent comes again and again, and is of no more use.
    fn assert_repetition_is_ignored(&mut self) {
        let (from, before) = (self.world.peers[1].public, self.sent(20..64));
        let sent = self.peer.borrow().sent.clone();
        for _ in 0..200 {
            for datagram in &sent {
                self.world.inject(0, from, datagram.clone());
            }
        }
        self.go_on(Duration::from_secs(2));
        assert_eq!(self.sent(20..64), before, "{:?}: DTLS", self.manner);
        assert_eq!(self.states().last(), Some(&DtlsState::Failed));
    }

    /// Side 1 starts over with DTLS of its own.
    fn assert_the_right_peer_can_come(mut self) {
        let manner = self.manner;
        self.world.middle = None;
        self.world.replace(1);
        let offer = self
            .world
            .create(0, Command::CreateOffer { ice_restart: true });
        self.world.exchange(0, offer);
        self.world.connect();
        self.world.flows(0, 1, 500..510);
        let states = self.states();
        assert_eq!(states.last(), Some(&DtlsState::Connected), "{manner:?}");
    }
}

/// The peer fails, soon, and with this alert.
fn fails_with(manner: Manner, alert: [u8; 2]) {
    fails_within(manner, alert, Duration::from_secs(2));
}

fn fails_within(manner: Manner, alert: [u8; 2], limit: Duration) {
    let mut call = call(manner);
    call.go_on(limit);
    assert_eq!(
        call.states(),
        [DtlsState::Connecting, DtlsState::Failed],
        "{manner:?}"
    );
    assert_eq!(call.peer.borrow().alerts, [alert], "{manner:?}");
    call.assert_nothing_passed();
    call.assert_repetition_is_ignored();
    call.assert_nothing_passed();
    call.assert_the_right_peer_can_come();
}

const CLIENT: Manner = Manner {
    client: true,
    shows: Shows::Certificate,
    proves: Proves::Key,
    asks: false,
    backwards: false,
};

const SERVER: Manner = Manner {
    client: false,
    shows: Shows::Certificate,
    proves: Proves::Key,
    asks: true,
    backwards: false,
};

#[test]
fn the_peer_made_by_hand_connects_where_it_behaves() {
    for manner in [CLIENT, SERVER] {
        for backwards in [false, true] {
            let manner = Manner {
                backwards,
                ..manner
            };
            let mut call = call(manner);
            call.go_on(Duration::from_secs(1));
            assert_eq!(
                call.states(),
                [DtlsState::Connecting, DtlsState::Connected],
                "{manner:?}"
            );
            let peer = call.peer.borrow();
            assert!(peer.finished && peer.alerts.is_empty(), "{manner:?}");
            assert!(call.sent(128..192) > 0, "{manner:?}: SRTP");
        }
    }
}

/// Anybody can make an endpoint send a fatal alert, with a record that it can't read.
#[test]
fn no_record_of_anybody_ends_a_connection_or_is_answered_with_an_alert() {
    for manner in [CLIENT, SERVER] {
        let mut call = call(manner);
        call.go_on(Duration::from_secs(1));
        let alert = call.peer.borrow_mut().alert(2, 80);
        let address = call.world.peers[1].public;
        let record = |kind: u8, epoch: u8, body: &[u8]| {
            let head = [
                kind,
                254,
                253,
                0,
                epoch,
                0,
                0,
                0,
                0,
                99,
                0,
                0,
                body.len() as u8,
            ];
            [&head, body].concat()
        };
        for forged in [
            record(20, 1, &[0]),
            record(20, 1, &[1]),
            record(20, 0, &[0]),
            record(21, 0, &[2, 80]),
            record(22, 0, &[99; 40]),
            record(22, 1, &[0; 40]),
            record(23, 1, &[0; 40]),
            record(24, 1, &[0; 40]),
        ] {
            call.world.inject(0, address, forged.clone());
            call.go_on(Duration::from_secs(1));
            assert_eq!(call.states().last(), Some(&DtlsState::Connected));
            let alerts = &call.peer.borrow().alerts;
            assert!(alerts.is_empty(), "{manner:?}: {forged:?}: {alerts:?}");
        }
        call.world.inject(0, address, alert);
        call.go_on(Duration::from_secs(1));
        assert_eq!(call.states().last(), Some(&DtlsState::Connected));
        assert!(call.sent(128..192) > 0, "{manner:?}: SRTP");
    }
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    for shows in [Shows::EmptyList, Shows::Nothing] {
        fails_with(Manner { shows, ..CLIENT }, NO_CERTIFICATE);
    }
}

#[test]
fn a_client_with_a_stolen_certificate_is_refused() {
    for proves in [Proves::AnotherKey, Proves::Noise] {
        fails_with(Manner { proves, ..CLIENT }, BAD_CERTIFICATE);
    }
}

#[test]
fn a_client_that_never_proves_that_it_has_the_key_is_given_up() {
    let manner = Manner {
        proves: Proves::Nothing,
        ..CLIENT
    };
    fails_within(manner, CLOSE_NOTIFY, LIMIT);
}

#[test]
fn a_server_without_a_certificate_is_refused() {
    for shows in [Shows::EmptyList, Shows::Nothing] {
        fails_with(Manner { shows, ..SERVER }, BAD_CERTIFICATE);
    }
}

#[test]
fn a_server_with_a_stolen_certificate_is_refused() {
    for proves in [Proves::AnotherKey, Proves::Noise, Proves::Nothing] {
        fails_with(Manner { proves, ..SERVER }, BAD_CERTIFICATE);
    }
}

#[test]
fn a_server_cannot_mend_its_key_exchange_with_one_that_another_signed() {
    let manner = Manner {
        proves: Proves::AnothersKeyExchange,
        ..SERVER
    };
    let mut call = call(manner);
    call.go_on(Duration::from_secs(2));
    let received = call.peer.borrow().received.clone();
    assert!(
        received.iter().all(|kind| !CLIENT_FLIGHT.contains(kind)),
        "{received:?}"
    );
    assert_eq!(call.states(), [DtlsState::Connecting, DtlsState::Failed]);
    call.assert_nothing_passed();
    call.assert_repetition_is_ignored();
    call.assert_the_right_peer_can_come();
}

#[test]
fn a_server_that_asks_for_no_certificate_is_refused() {
    let manner = Manner {
        asks: false,
        ..SERVER
    };
    let mut call = call(manner);
    call.go_on(Duration::from_secs(2));
    assert_eq!(call.states(), [DtlsState::Connecting, DtlsState::Failed]);
    assert_eq!(call.sent(128..192), 0, "SRTP");
    call.assert_repetition_is_ignored();
    call.assert_the_right_peer_can_come();
}

#[test]
fn a_warning_of_anybody_does_not_end_a_handshake() {
    for manner in [CLIENT, SERVER] {
        let mut call = call(manner);
        // unrecognized_name, from the peer's address, before anything else.
        let warning = [&[21, 254, 253], [0; 7].as_slice(), &[9, 0, 2, 1, 112]].concat();
        let address = call.world.peers[1].public;
        let begun = call.world.run_until(Duration::from_secs(1), |world| {
            let sent = world.tap.iter().flatten();
            sent.filter(|(_, _, bytes)| is_dtls(bytes)).count() > 0
        });
        assert!(begun);
        call.world.inject(0, address, warning);
        call.go_on(Duration::from_secs(1));
        assert_eq!(
            call.states(),
            [DtlsState::Connecting, DtlsState::Connected],
            "{manner:?}"
        );
    }
}
