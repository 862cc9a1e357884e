//! Many connections on one UDP port, over real loopback sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod port_pair;
mod support;

use driver::{PortLease, PortStats, Runtime};
use engine::command::Command;
use engine::config::Config;
use engine::event::Event;
use engine::w3c::{
    ConnectionState, IceConnectionState, IceServer, Kind, SdpType, SessionDescription,
};
use port_pair::{Pair, Side};
use rtc_stun::attributes::ATTR_USERNAME;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId};
use rtc_stun::textattrs::TextAttribute;
use rtc_stun::xoraddr::XorMappedAddress;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Instant;
use support::{PATIENCE, Peer, TestMailbox, config, connect, free_udp_port, runtime};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn lease(runtime: &Runtime<TestMailbox>) -> PortLease {
    runtime.share_port(None, &[LOOPBACK]).unwrap()
}

fn stats(runtime: &Runtime<TestMailbox>) -> PortStats {
    let ports = runtime.shared_ports();
    let [port] = &ports[..] else {
        panic!("{ports:?}");
    };
    *port
}

/// The ports of the candidates in a description.
fn ports_of(description: &SessionDescription) -> Vec<u16> {
    let candidates = description.sdp.lines();
    candidates
        .filter(|line| line.starts_with("a=candidate:"))
        .map(|line| line.split(' ').nth(5).unwrap().parse().unwrap())
        .collect()
}

/// A value of a description: `ice-ufrag`, `ice-pwd`.
fn attribute(description: &SessionDescription, name: &str) -> String {
    let start = format!("a={name}:");
    let mut lines = description.sdp.lines();
    let value = lines.find_map(|line| line.strip_prefix(&start));
    value.unwrap().trim().to_owned()
}

/// The same description from another user, with another candidate instead.
fn with_candidate(description: &SessionDescription, address: SocketAddr) -> SessionDescription {
    let lines = description.sdp.lines().map(|line| {
        if line.starts_with("a=candidate:") {
            let (ip, port) = (address.ip(), address.port());
            format!("a=candidate:1 1 udp 2130706431 {ip} {port} typ host")
        } else {
            line.to_owned()
        }
    });
    SessionDescription {
        sdp_type: description.sdp_type,
        sdp: lines.map(|line| line + "\r\n").collect(),
    }
}

/// Waits for something that only the counters of the port tell.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn many_connections_on_one_port_each_get_their_own_media_and_data() {
    let runtime = runtime(2);
    let mut pairs: Vec<_> = [Side::Inside, Side::Outside]
        .into_iter()
        .cycle()
        .take(16)
        .map(|offerer| Pair::open(&runtime, config(), config(), offerer))
        .collect();
    let port = lease(&runtime).number();
    for pair in &mut pairs {
        let (offerer, answerer) = pair.sides();
        let offer = offerer.offer();
        let answer = answerer.answer(offer);
        offerer.accept(answer);
        let ports = ports_of(&pair.inside.local_description());
        assert!(!ports.is_empty() && ports.iter().all(|it| *it == port));
    }
    for pair in &mut pairs {
        pair.inside.wait_for_state(ConnectionState::Connected);
        pair.outside.wait_for_state(ConnectionState::Connected);
    }
    for round in 0..3 {
        for (number, pair) in pairs.iter_mut().enumerate() {
            pair.exchange(&format!("pair {number}"), round * 20);
        }
    }
    let stats = stats(&runtime);
    assert_eq!((stats.port, stats.connections), (port, 16));
    assert_eq!(stats.dropped, 0);
    assert!(
        stats.handed_over > 0 && stats.handed_over < stats.received,
        "{stats:?}: the shards' sockets share the work"
    );
}

#[test]
fn ipv6_and_ipv4_have_the_same_port() {
    let runtime = runtime(2);
    let both = Config {
        host_addresses: Some(vec![(LOOPBACK, None), (Ipv6Addr::LOCALHOST.into(), None)]),
        ..config()
    };
    let only_v6 = Config {
        host_addresses: Some(vec![(Ipv6Addr::LOCALHOST.into(), None)]),
        ..config()
    };
    let mut pair = Pair::open(&runtime, both.clone(), only_v6, Side::Inside);
    let mut second = Pair::open(&runtime, both, config(), Side::Outside);
    pair.connect();
    pair.exchange("over v6", 0);
    let ports = ports_of(&pair.inside.local_description());
    assert_eq!(ports.len(), 2);
    assert_eq!(ports[0], ports[1]);
    second.connect();
    second.exchange("over v4", 0);
    pair.exchange("over v6 still", 20);
}

#[test]
fn lite_servers_share_a_port() {
    let runtime = runtime(2);
    let lite = Config {
        ice_lite: true,
        ..config()
    };
    let mut pairs: Vec<_> = (0..6)
        .map(|_| Pair::open(&runtime, lite.clone(), config(), Side::Outside))
        .collect();
    for (number, pair) in pairs.iter_mut().enumerate() {
        pair.connect();
        pair.exchange(&format!("lite {number}"), 0);
    }
    for (number, pair) in pairs.iter_mut().enumerate() {
        pair.exchange(&format!("again {number}"), 20);
    }
}

#[test]
fn ice_restarts_from_either_side_on_the_same_port() {
    let runtime = runtime(2);
    let mut pair = Pair::connected(&runtime);
    let mut neighbour = Pair::connected(&runtime);
    pair.exchange("before", 0);
    let before = attribute(&pair.inside.local_description(), "ice-ufrag");

    for round in 1..8u16 {
        let (offerer, answerer) = match round % 2 {
            0 => (&mut pair.outside, &mut pair.inside),
            _ => (&mut pair.inside, &mut pair.outside),
        };
        let offer = offerer.restart_offer();
        let answer = answerer.answer(offer);
        offerer.accept(answer);
        let description = pair.inside.local_description();
        assert_ne!(attribute(&description, "ice-ufrag"), before);
        assert!(
            ports_of(&description)
                .iter()
                .all(|port| *port == stats(&runtime).port)
        );
        pair.exchange(&format!("restart {round}"), round * 20);
    }
    neighbour.exchange("neighbour", 0);
}

#[test]
fn what_belongs_to_nobody_is_dropped_and_counted() {
    let runtime = runtime(2);
    let mut pair = Pair::connected(&runtime);
    let address = SocketAddr::new(LOOPBACK, stats(&runtime).port);
    let before = stats(&runtime).unknown;
    let stranger = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let unknown_user = check("nobody:else", "a password that nobody has");
    let mut answer = check("", "any");
    answer[..2].copy_from_slice(&[1, 1]);
    let (dtls, rtp, noise) = ([22; 100].to_vec(), vec![0x80; 100], vec![9; 100]);
    let datagrams = [unknown_user, answer, dtls, rtp, noise, Vec::new()];
    for datagram in &datagrams {
        stranger.send_to(datagram, address).unwrap();
    }
    // An empty datagram is not even counted: offload cannot tell it from none.
    let expected = before + datagrams.len() as u64 - 1;
    eventually("dropped and counted", || {
        stats(&runtime).unknown == expected
    });
    pair.exchange("undisturbed", 0);
}

/// A check of the owner of `password`, with a user name.
fn check(username: &str, password: &str) -> Vec<u8> {
    let provider = rtc_crypto::default_provider().unwrap();
    let integrity = MessageIntegrity::new_short_term_integrity_with_provider(
        password.to_owned(),
        provider.crypto(),
    );
    let mut message = Message::new();
    message
        .build(&[
            Box::new(BINDING_REQUEST),
            Box::new(TransactionId::new()),
            Box::new(TextAttribute::new(ATTR_USERNAME, username.to_owned())),
        ])
        .unwrap();
    integrity.add_to(&mut message).unwrap();
    message.raw
}

/// Carries datagrams between two sockets: the inner one faces the shared port.
struct Wire {
    inner: UdpSocket,
    outer: UdpSocket,
}

impl Wire {
    fn start() -> Self {
        let bind = || UdpSocket::bind((LOOPBACK, 0)).unwrap();
        let wire = Self {
            inner: bind(),
            outer: bind(),
        };
        let (last_in, last_out) = (
            std::sync::Arc::new(std::sync::Mutex::new(None::<SocketAddr>)),
            std::sync::Arc::new(std::sync::Mutex::new(None::<SocketAddr>)),
        );
        for (from, to, seen, other) in [
            (&wire.inner, &wire.outer, &last_in, &last_out),
            (&wire.outer, &wire.inner, &last_out, &last_in),
        ] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let (seen, other) = (seen.clone(), other.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 2000];
                while let Ok((length, peer)) = from.recv_from(&mut buffer) {
                    *seen.lock().unwrap() = Some(peer);
                    if let Some(peer) = *other.lock().unwrap() {
                        let _ = to.send_to(&buffer[..length], peer);
                    }
                }
            });
        }
        wire
    }
}

#[test]
fn an_address_is_not_stolen_with_credentials_of_another_connection() {
    let runtime = runtime(2);
    // The victim's peer is behind a wire, so that the test can forge its address.
    let wire = Wire::start();
    let mut victim = Pair::open(&runtime, config(), config(), Side::Inside);
    let offer = victim.inside.offer();
    let inner = wire.inner.local_addr().unwrap();
    let outer = wire.outer.local_addr().unwrap();
    let answer = victim.outside.answer(with_candidate(&offer, outer));
    victim.inside.accept(with_candidate(&answer, inner));
    victim.inside.wait_for_state(ConnectionState::Connected);
    victim.outside.wait_for_state(ConnectionState::Connected);
    victim.exchange("before", 0);

    // The thief has a connection of its own, and sends its checks from the victim's address.
    let mut thief = Pair::open(&runtime, config(), config(), Side::Inside);
    let offer = thief.inside.offer();
    let answer = thief.outside.answer(offer.clone());
    thief.inside.accept(answer.clone());
    thief.inside.wait_for_state(ConnectionState::Connected);
    let username = format!(
        "{}:{}",
        attribute(&offer, "ice-ufrag"),
        attribute(&answer, "ice-ufrag")
    );
    let address = SocketAddr::new(LOOPBACK, stats(&runtime).port);
    for round in 1..6 {
        for _ in 0..20 {
            let forged = check(&username, &attribute(&offer, "ice-pwd"));
            wire.inner.send_to(&forged, address).unwrap();
        }
        victim.exchange(&format!("round {round}"), 20 * round);
    }
    // The checks were taken: the address is a candidate of the thief's peer now.
    let known = thief.inside.request(Command::GetStats).unwrap();
    assert!(
        format!("{known:?}").contains(&format!("{}", inner.port())),
        "{known:?}"
    );
    thief.exchange("not the thief's loss", 0);
}

#[test]
fn an_address_whose_owner_is_gone_serves_the_next_connection() {
    let runtime = runtime(2);
    let held = lease(&runtime);
    let port = free_udp_port();
    let fixed = Config {
        ice_ports: vec![port],
        ..config()
    };
    for round in 0..3 {
        let mut pair = Pair::open(&runtime, config(), fixed.clone(), Side::Inside);
        pair.connect();
        pair.exchange(&format!("round {round}"), 0);
        pair.inside.request(Command::Close).unwrap();
        pair.outside.request(Command::Close).unwrap();
    }
    drop(held);
}

#[test]
fn of_two_connections_between_the_same_two_ports_the_first_goes_on() {
    let (runtime, other) = (runtime(1), support::runtime(1));
    let mut tracks = Vec::new();
    let mut pairs: Vec<_> = (0..2)
        .map(|_| {
            let mut inside = Peer::open_on(&runtime, lease(&runtime), config());
            let outside = Peer::open_on(&other, lease(&other), config());
            tracks.push(inside.add_track(Kind::Video, 1));
            (inside, outside)
        })
        .collect();
    let [first, second] = &mut pairs[..] else {
        panic!("two pairs");
    };
    connect(&mut first.0, &mut first.1);

    let offer = second.0.offer();
    let answer = second.1.answer(offer);
    second.0.accept(answer);
    // Checks say whose they are, so ICE works for the second one as well.
    for peer in [&mut second.0, &mut second.1] {
        peer.wait_for_event("ICE", |event| {
            let connected = IceConnectionState::Connected;
            matches!(event, Event::IceConnectionStateChange(state) if *state == connected)
                .then_some(())
        });
    }
    for number in 0..100u16 {
        first
            .0
            .send_packet(tracks[0], 96, number, &number.to_be_bytes());
        assert_eq!(first.1.next_packet(), number.to_be_bytes());
    }
}

#[test]
fn a_port_closes_with_its_last_connection_before_close_returns() {
    let runtime = runtime(2);
    let mut pairs: Vec<_> = (0..3).map(|_| Pair::connected(&runtime)).collect();
    let port = stats(&runtime).port;
    assert!(UdpSocket::bind((LOOPBACK, port)).is_err());
    while let Some(mut pair) = pairs.pop() {
        pair.inside.request(Command::Close).unwrap();
        assert_eq!(
            UdpSocket::bind((LOOPBACK, port)).is_ok(),
            pairs.is_empty(),
            "with the last one, and not before"
        );
        for left in &mut pairs {
            let first = 20 * u16::try_from(pairs_left(&runtime)).unwrap();
            left.exchange("still there", first);
        }
    }
    assert_eq!(runtime.shared_ports(), []);

    // And it can be opened again at once, by number.
    for _ in 0..5 {
        let lease = runtime.share_port(Some(port), &[LOOPBACK]).unwrap();
        let mut inside = Peer::open_on(&runtime, lease, config());
        let mut outside = Peer::open(&runtime, config());
        inside.add_track(Kind::Audio, 1);
        connect(&mut inside, &mut outside);
        inside.request(Command::Close).unwrap();
    }
}

fn pairs_left(runtime: &Runtime<TestMailbox>) -> usize {
    stats(runtime).connections
}

#[test]
fn a_connection_that_is_dropped_or_panics_leaves_the_port() {
    let runtime = runtime(2);
    let mut pair = Pair::connected(&runtime);
    let port = stats(&runtime).port;
    let mut neighbour = Pair::connected(&runtime);
    pair.inside
        .connection
        .with_mailbox(|_| panic!("on purpose"))
        .unwrap();
    pair.inside.wait_for_closed();
    assert_eq!(stats(&runtime).connections, 1);
    neighbour.exchange("goes on", 0);
    drop(neighbour.inside.connection);
    eventually("the port is closed", || runtime.shared_ports().is_empty());
    assert!(UdpSocket::bind((LOOPBACK, port)).is_ok());
}

#[test]
fn connections_may_share_different_ports() {
    let runtime = runtime(2);
    let mut first = Pair::connected(&runtime);
    let port = free_udp_port();
    let lease = runtime.share_port(Some(port), &[LOOPBACK]).unwrap();
    let mut inside = Peer::open_on(&runtime, lease, config());
    let mut outside = Peer::open(&runtime, config());
    inside.add_track(Kind::Audio, 1);
    connect(&mut inside, &mut outside);
    assert_eq!(ports_of(&inside.local_description()), [port]);
    assert_eq!(runtime.shared_ports().len(), 2);
    first.exchange("on the other", 0);
}

/// A STUN server that sees everybody at the port it has, on another address.
fn stun_server() -> SocketAddr {
    let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let local = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        let mut waiting = Vec::new();
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let mut request = Message::new();
            request.unmarshal_binary(&buffer[..length]).unwrap();
            waiting.push((request.transaction_id, peer));
            if waiting.len() < 2 {
                continue;
            }
            // Both at once, the later one first, each with an address of its own.
            for (id, peer) in waiting.drain(..).rev() {
                let ip = Ipv4Addr::new(198, 51, 100, id.0[0]);
                let mut answer = Message::new();
                let mapped = XorMappedAddress {
                    ip: ip.into(),
                    port: peer.port(),
                };
                answer
                    .build(&[Box::new(id), Box::new(BINDING_SUCCESS), Box::new(mapped)])
                    .unwrap();
                socket.send_to(&answer.raw, peer).unwrap();
            }
        }
    });
    local
}

#[test]
fn stun_servers_are_asked_from_the_shared_port_and_each_gets_its_own_answer() {
    let runtime = runtime(2);
    let server = IceServer {
        urls: vec![format!("stun:{}", stun_server())],
        ..Default::default()
    };
    let config = Config {
        ice_servers: vec![server],
        ..config()
    };
    let mut peers: Vec<_> = (0..2)
        .map(|_| {
            let mut peer = Peer::open_on(&runtime, lease(&runtime), config.clone());
            peer.add_track(Kind::Audio, 1);
            peer
        })
        .collect();
    let port = stats(&runtime).port;
    // The server answers when both have asked.
    let offers: Vec<_> = peers
        .iter_mut()
        .map(|peer| peer.submit(Command::SetLocalDescription(None)))
        .collect();
    for (peer, offer) in peers.iter_mut().zip(offers) {
        peer.reply(offer).unwrap();
    }
    let mut seen = Vec::new();
    for peer in &mut peers {
        peer.wait_until_gathered();
        let description = peer.local_description();
        assert_eq!(description.sdp_type, SdpType::Offer);
        let reflexive = description.sdp.lines().find(|it| it.contains("typ srflx"));
        let reflexive = reflexive.unwrap().to_owned();
        assert!(
            reflexive.contains(&format!(" {port} typ srflx raddr 127.0.0.1 rport {port}")),
            "{reflexive}"
        );
        seen.push(reflexive);
    }
    assert_ne!(seen[0], seen[1]);
}

#[test]
fn a_flood_with_a_known_user_name_keeps_no_media_out() {
    let runtime = runtime(1);
    let mut pair = Pair::connected(&runtime);
    let before = stats(&runtime);
    let user = attribute(&pair.inside.local_description(), "ice-ufrag");
    let forged = check(&format!("{user}:xxxx"), "not the password");
    let unknown = check("nobody:else", "not the password");
    let stranger = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    // No more at a time than the system's buffers hold: what they lose is not ours to keep.
    for round in 0..100u16 {
        for number in 0..10u16 {
            for _ in 0..10 {
                stranger.send_to(&forged, (LOOPBACK, before.port)).unwrap();
                stranger.send_to(&unknown, (LOOPBACK, before.port)).unwrap();
            }
            let number = 10 * round + number;
            let payload = number.to_be_bytes();
            pair.outside
                .send_packet(pair.from_outside, 96, number, &payload);
        }
        for number in 10 * round..10 * (round + 1) {
            assert_eq!(pair.inside.next_packet(), number.to_be_bytes());
        }
    }
    assert!(stats(&runtime).unknown >= before.unknown + 10_000);
    pair.exchange("afterwards", 1000);
}
