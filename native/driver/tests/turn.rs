//! Relayed candidates over a real TURN server (coturn), over UDP, TCP and TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod coturn;
mod support;

use coturn::{Coturn, PASSWORD, USER};
use engine::config::Config;
use engine::event::Event;
use engine::w3c::{ConnectionState, DataKind, IceServer, IceTransportPolicy, Kind};
use std::time::{Duration, Instant};
use support::{Peer, config, gathering, runtime};

fn server(url: String, credential: &str) -> IceServer {
    IceServer {
        urls: vec![url],
        username: USER.to_owned(),
        credential: credential.to_owned(),
    }
}

fn relay_only(servers: Vec<IceServer>) -> Config {
    Config {
        ice_servers: servers,
        ice_transport_policy: IceTransportPolicy::Relay,
        ..config()
    }
}

/// Two that only have relayed candidates send messages and media through the server, both ways.
fn connect_over(url: &str, ca_pem: Option<String>) {
    let relayed = Config {
        ice_tls_ca_pem: ca_pem,
        ..relay_only(vec![server(url.to_owned(), PASSWORD)])
    };
    let runtime = runtime(2);
    let mut alice = Peer::open(&runtime, relayed.clone());
    let mut bob = Peer::open(&runtime, relayed);
    alice.add_track(Kind::Audio, 1);
    let channel = alice.create_channel("chat");
    let offer = alice.offer();
    let candidates: Vec<&str> = offer
        .sdp
        .lines()
        .filter(|line| line.starts_with("a=candidate"))
        .collect();
    assert!(!candidates.is_empty(), "{}", offer.sdp);
    for line in &candidates {
        assert!(
            line.contains(" typ relay raddr 0.0.0.0 rport 0"),
            "{candidates:?}"
        );
    }
    let told = alice.candidates();
    assert!(
        told.iter().all(|it| it.url.as_deref() == Some(url)),
        "{told:?}"
    );

    let answer = bob.answer(offer);
    alice.accept(answer);
    alice.wait_for_state(ConnectionState::Connected);
    bob.wait_for_state(ConnectionState::Connected);
    alice.wait_until_open(&channel);
    let far = bob.remote_channel();
    for size in [0, 1, 1200, 60_000] {
        let payload = vec![7; size];
        alice.send_message(&channel, DataKind::Binary, &payload);
        assert_eq!(bob.message().1, payload);
        bob.send_message(&far, DataKind::Binary, &payload);
        assert_eq!(alice.message().1, payload);
    }
}

#[test]
fn messages_flow_over_a_relay_reached_over_udp() {
    let coturn = Coturn::start(&[]);
    connect_over(&format!("turn:127.0.0.1:{}", coturn.port), None);
}

#[test]
fn messages_flow_over_a_relay_reached_over_tcp() {
    let coturn = Coturn::start(&[]);
    let url = format!("turn:127.0.0.1:{}?transport=tcp", coturn.port);
    connect_over(&url, None);
}

#[test]
fn messages_flow_over_a_relay_reached_over_tls() {
    let coturn = Coturn::start(&[]);
    let url = format!("turns:localhost:{}", coturn.tls_port);
    connect_over(&url, Some(coturn.ca_pem.clone()));
}

#[test]
fn a_tls_server_that_no_known_authority_vouches_for_is_an_error() {
    let coturn = Coturn::start(&[]);
    let url = format!("turns:localhost:{}", coturn.tls_port);
    let (_runtime, mut peer) = gathering(relay_only(vec![server(url.clone(), PASSWORD)]));
    assert!(!peer.offer().sdp.contains("a=candidate"));
    let error = peer.candidate_error();
    assert_eq!((error.url, error.error_code), (url, 701));
    assert!(
        error.error_text.contains("certificate"),
        "{}",
        error.error_text
    );
}

#[test]
fn a_tls_server_with_a_certificate_for_another_name_is_an_error() {
    let coturn = Coturn::start(&[]);
    let trusting = Config {
        ice_tls_ca_pem: Some(coturn.ca_pem.clone()),
        ..relay_only(vec![server(
            format!("turns:127.0.0.1:{}", coturn.tls_port),
            PASSWORD,
        )])
    };
    let (_runtime, mut peer) = gathering(trusting);
    assert!(!peer.offer().sdp.contains("a=candidate"));
    let text = peer.candidate_error().error_text;
    assert!(text.contains("certificate"), "{text}");
}

#[test]
fn a_wrong_credential_is_an_error_with_the_servers_code_and_another_server_is_used() {
    let coturn = Coturn::start(&[]);
    let url = format!("turn:127.0.0.1:{}", coturn.port);
    let tcp = format!("turn:127.0.0.1:{}?transport=tcp", coturn.port);
    let servers = vec![server(url.clone(), "wrong"), server(tcp.clone(), PASSWORD)];
    let (_runtime, mut peer) = gathering(relay_only(servers));
    assert!(peer.offer().sdp.contains("typ relay"));
    let error = peer.candidate_error();
    assert_eq!((error.url, error.error_code), (url, 401));
    let candidates = peer.candidates();
    assert_eq!(candidates.len(), 1);
    assert_eq!(candidates[0].url, Some(tcp));
}

#[test]
fn a_relay_is_used_beside_host_candidates_and_serves_an_ice_restart() {
    let coturn = Coturn::start(&["--user-quota=1"]);
    let url = format!("turn:127.0.0.1:{}", coturn.port);
    let all = Config {
        ice_servers: vec![server(url, PASSWORD)],
        ..config()
    };
    let (_runtime, mut peer) = gathering(all);
    let relays = |sdp: &str| -> Vec<String> {
        sdp.lines()
            .filter(|line| line.contains("typ relay"))
            .map(str::to_owned)
            .collect()
    };
    let first = peer.offer().sdp;
    assert!(first.contains("typ host"));
    assert_eq!(relays(&first).len(), 1);
    // The server gives no second one.
    let again = peer.restart_offer().sdp;
    assert!(again.contains("typ host"));
    assert_eq!(relays(&again), relays(&first));
}

#[test]
fn a_server_that_has_no_room_is_an_error_and_a_closed_connection_makes_room() {
    let coturn = Coturn::start(&["--user-quota=1"]);
    let url = format!("turn:127.0.0.1:{}", coturn.port);
    let relayed = relay_only(vec![server(url, PASSWORD)]);
    let (runtime, mut first) = gathering(relayed.clone());
    assert!(first.offer().sdp.contains("typ relay"));
    let mut second = Peer::open(&runtime, relayed.clone());
    second.add_track(Kind::Audio, 1);
    assert!(!second.offer().sdp.contains("typ relay"));
    assert_eq!(second.candidate_error().error_code, 486);

    first.request(engine::command::Command::Close).unwrap();
    // The server gives the place back when it has tidied up, seconds later.
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let mut third = Peer::open(&runtime, relayed.clone());
        third.add_track(Kind::Audio, 1);
        if third.offer().sdp.contains("typ relay") {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "the allocation was not given back"
        );
    }
}

#[test]
fn nonces_that_live_for_a_second_are_replaced() {
    let coturn = Coturn::start(&["--stale-nonce=1"]);
    connect_over(&format!("turn:127.0.0.1:{}", coturn.port), None);
}

#[test]
fn a_relay_on_ipv6_is_used() {
    let coturn = Coturn::start(&[]);
    let url = format!("turn:[::1]:{}", coturn.port);
    let on_ipv6 = Config {
        host_addresses: Some(vec![("::1".parse().unwrap(), None)]),
        ..relay_only(vec![server(url, PASSWORD)])
    };
    let runtime = runtime(2);
    let mut alice = Peer::open(&runtime, on_ipv6.clone());
    let mut bob = Peer::open(&runtime, on_ipv6);
    alice.add_track(Kind::Audio, 1);
    let offer = alice.offer();
    assert!(
        offer.sdp.contains(" typ relay raddr :: rport 0"),
        "{}",
        offer.sdp
    );
    let answer = bob.answer(offer);
    alice.accept(answer);
    alice.wait_for_state(ConnectionState::Connected);
    bob.wait_for_state(ConnectionState::Connected);
}

#[test]
fn a_stun_request_to_coturn_is_answered_for_ipv4_and_ipv6() {
    let coturn = Coturn::start(&[]);
    for (host, address) in [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")] {
        let stun = IceServer {
            urls: vec![format!("stun:{host}:{}", coturn.port)],
            ..IceServer::default()
        };
        let here = Config {
            ice_servers: vec![stun],
            host_addresses: Some(vec![(address.parse().unwrap(), None)]),
            ..config()
        };
        let (_runtime, mut peer) = gathering(here);
        let start = Instant::now();
        assert!(peer.offer().sdp.contains("typ host"));
        // No NAT: the server sees the host candidate, which is no second one. An unanswered
        // request would take five seconds.
        assert!(start.elapsed() < Duration::from_secs(4));
        let errors = peer
            .drain()
            .into_iter()
            .any(|output| matches!(output, support::Output::Event(Event::IceCandidateError(_))));
        assert!(!errors);
    }
}

#[test]
fn connections_on_a_shared_port_each_have_a_relay() {
    let coturn = Coturn::start(&[]);
    let url = format!("turn:127.0.0.1:{}", coturn.port);
    let runtime = runtime(2);
    let loopback = std::net::Ipv4Addr::LOCALHOST.into();
    let mut pairs: Vec<_> = (0..2)
        .map(|_| {
            let lease = runtime.share_port(None, &[loopback]).unwrap();
            let relayed = relay_only(vec![server(url.clone(), PASSWORD)]);
            let mut inside = Peer::open_on(&runtime, lease, relayed);
            let channel = inside.create_channel("chat");
            (inside, Peer::open(&runtime, config()), channel)
        })
        .collect();
    for (number, (inside, outside, channel)) in pairs.iter_mut().enumerate() {
        support::connect(inside, outside);
        inside.wait_until_open(channel);
        inside.send_message(channel, DataKind::Binary, &[number as u8; 1000]);
        assert_eq!(outside.message().1, vec![number as u8; 1000]);
    }
}
