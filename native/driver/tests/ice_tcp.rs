//! ICE over TCP (RFC 6544) on real sockets: only TCP candidates are told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use engine::command::{ChannelInfo, Command, Value};
use engine::config::{Config, IceTcp};
use engine::event::Event;
use engine::w3c::{ConnectionState, DataKind, IceConnectionState, Kind, SessionDescription};
use proptest::prelude::*;
use serde_json::Value as Json;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use support::proxy::Proxy;
use support::{Peer, TestMailbox, config, free_tcp_port, runtime};

const ACTIVE: IceTcp = IceTcp {
    active: true,
    passive: false,
};
const PASSIVE: IceTcp = IceTcp {
    active: false,
    passive: true,
};

fn over_tcp(ice_tcp: IceTcp) -> Config {
    Config {
        ice_tcp,
        ..config()
    }
}

/// The description with the TCP candidates only.
fn tcp_only(mut description: SessionDescription) -> SessionDescription {
    let lines = description.sdp.split_inclusive("\r\n");
    let told = lines.filter(|line| !line.starts_with("a=candidate") || line.contains(" tcp "));
    description.sdp = told.collect();
    description
}

/// Where the description says that its peer listens.
fn listening(description: &SessionDescription) -> SocketAddr {
    let line = description
        .sdp
        .lines()
        .find(|line| line.ends_with("typ host tcptype passive"))
        .unwrap_or_else(|| panic!("no passive candidate: {}", description.sdp));
    let words: Vec<_> = line.split(' ').collect();
    format!("{}:{}", words[4], words[5]).parse().unwrap()
}

fn moved(description: SessionDescription, to: SocketAddr) -> SessionDescription {
    let from = listening(&description);
    let address = |at: SocketAddr| format!(" {} {} typ host tcptype passive", at.ip(), at.port());
    SessionDescription {
        sdp: description.sdp.replace(&address(from), &address(to)),
        ..description
    }
}

/// Two that are connected over TCP: the one that listens, the one that connects, and the channel
/// of the latter.
struct Call {
    passive: Peer,
    active: Peer,
    channel: ChannelInfo,
    _runtime: driver::Runtime<TestMailbox>,
}

/// Connects them; where the active side is told that the other one listens is for `route` to say.
fn call(passive_offers: bool, route: impl Fn(SocketAddr) -> SocketAddr) -> Call {
    let runtime = runtime(2);
    let mut passive = Peer::open(&runtime, over_tcp(PASSIVE));
    let mut active = Peer::open(&runtime, over_tcp(ACTIVE));
    let told = |description: SessionDescription| {
        let to = route(listening(&description));
        moved(tcp_only(description), to)
    };
    let channel = active.create_channel("chat");
    if passive_offers {
        passive.create_channel("another");
        let offer = told(passive.offer());
        let answer = tcp_only(active.answer(offer));
        passive.accept(answer);
    } else {
        let offer = tcp_only(active.offer());
        let answer = told(passive.answer(offer));
        active.accept(answer);
    }
    passive.wait_for_state(ConnectionState::Connected);
    active.wait_for_state(ConnectionState::Connected);
    active.wait_until_open(&channel);
    Call {
        passive,
        active,
        channel,
        _runtime: runtime,
    }
}

impl Call {
    fn talk(&mut self, text: &str) {
        self.active
            .send_message(&self.channel, DataKind::String, text.as_bytes());
        let (_, heard) = self.passive.message();
        assert_eq!(heard, text.as_bytes());
    }
}

fn stats(peer: &mut Peer) -> Vec<(&'static str, serde_json::Map<String, Json>)> {
    match peer.request(Command::GetStats) {
        Ok(Value::Stats(report)) => report
            .entries
            .into_iter()
            .map(|entry| (entry.kind, entry.fields))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn selected(peer: &mut Peer) -> serde_json::Map<String, Json> {
    let entries = stats(peer);
    let pair = |(kind, fields): &(&str, serde_json::Map<String, Json>)| {
        *kind == "candidate_pair" && fields["selected"] == true
    };
    let (_, fields) = entries.into_iter().find(pair).expect("a selected pair");
    fields
}

fn wait_for_ice(peer: &mut Peer, state: IceConnectionState) {
    peer.wait_for_event(&format!("{state:?}"), |event| {
        matches!(event, Event::IceConnectionStateChange(told) if *told == state).then_some(())
    });
}

#[test]
fn media_and_data_go_both_ways_whoever_offers() {
    for passive_offers in [true, false] {
        let mut call = call(passive_offers, |at| at);
        call.talk("over tcp");
        call.active
            .send_message(&call.channel, DataKind::Binary, &[7; 200_000]);
        assert_eq!(call.passive.message().1, vec![7; 200_000]);

        let track = call.passive.add_track(Kind::Video, 5);
        let offer = call.passive.reoffer();
        let answer = call.active.reanswer(offer);
        call.passive.accept(answer);
        let at_active = call.active.remote_track().id;
        for number in 0..100_u16 {
            call.passive
                .send_packet(track, 96, number, &number.to_be_bytes());
        }
        for number in 0..100_u16 {
            assert_eq!(call.active.packet_on(at_active), number.to_be_bytes());
        }
    }
}

#[test]
fn statistics_say_how_the_peers_are_connected() {
    let mut call = call(true, |at| at);
    for (peer, ours, theirs) in [
        (&mut call.passive, "passive", "active"),
        (&mut call.active, "active", "passive"),
    ] {
        let pair = selected(peer);
        assert!(
            pair["local_candidate_id"]
                .as_str()
                .unwrap()
                .contains("tcp:127.0.0.1")
        );
        let entries = stats(peer);
        for (kind, tcp_type) in [("local_candidate", ours), ("remote_candidate", theirs)] {
            let found = entries.iter().any(|(of, fields)| {
                *of == kind && fields["protocol"] == "tcp" && fields["tcp_type"] == tcp_type
            });
            assert!(found, "{kind} {tcp_type}: {entries:#?}");
        }
    }
}

#[test]
fn without_the_option_nothing_listens() {
    let runtime = runtime(1);
    let mut peer = Peer::open(&runtime, config());
    peer.create_channel("chat");
    assert!(!peer.offer().sdp.contains("tcptype"));
}

#[test]
fn candidates_follow_the_addresses_the_ports_and_the_mapper() {
    let port = free_tcp_port();
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let public = IpAddr::from([203, 0, 113, 5]);
    let runtime = runtime(1);
    let mapped = Config {
        host_addresses: Some(vec![(loopback, Some(public))]),
        ice_ports: vec![port],
        ice_tcp: IceTcp {
            active: true,
            passive: true,
        },
        ..config()
    };
    let mut peer = Peer::open(&runtime, mapped.clone());
    peer.create_channel("chat");
    let sdp = peer.offer().sdp;
    let host = format!(" tcp 1520435199 127.0.0.1 {port} typ host tcptype passive");
    assert!(sdp.contains(&host), "{sdp}");
    let reflexive =
        format!(" 203.0.113.5 {port} typ srflx raddr 127.0.0.1 rport {port} tcptype passive");
    assert!(sdp.contains(&reflexive), "{sdp}");
    assert!(
        sdp.contains(" 127.0.0.1 9 typ host tcptype active"),
        "{sdp}"
    );

    let mut second = Peer::open(&runtime, mapped);
    second.create_channel("chat");
    let sdp = second.offer().sdp;
    assert!(!sdp.contains("tcptype passive"), "{sdp}");
    let error = second.wait_for_event("two errors", {
        let count = std::cell::Cell::new(0);
        move |event| match event {
            Event::IceCandidateError(error) => {
                count.set(count.get() + 1);
                (count.get() == 2).then(|| error.clone())
            }
            _ => None,
        }
    });
    assert!(error.error_text.contains("ice_port_range"), "{error:?}");
}

#[test]
fn closing_frees_the_port_before_it_returns() {
    let mut call = call(true, |at| at);
    let at = listening(&call.passive.local_description());
    call.talk("still here");
    call.passive.request(Command::Close).unwrap();
    assert_eq!(
        TcpStream::connect(at).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    call.active.wait_for_the_end_of_dtls();
}

#[test]
fn a_connection_that_is_cut_is_made_again() {
    let (mut call, proxy) = call_through_proxy(true);
    call.talk("before");
    proxy.end_connections();
    wait_for_ice(&mut call.active, IceConnectionState::Disconnected);
    call.talk("after");
    let at_both = [&mut call.active, &mut call.passive];
    for peer in at_both {
        assert_eq!(peer.connection_state(), ConnectionState::Connected);
    }
}

/// The active side's connection goes through the proxy.
fn call_through_proxy(passive_offers: bool) -> (Call, Proxy) {
    let proxy = Mutex::new(None);
    let call = call(passive_offers, |at| {
        let made = Proxy::to(at);
        let address = made.address;
        *proxy.lock().unwrap() = Some(made);
        address
    });
    (call, proxy.into_inner().unwrap().unwrap())
}

#[test]
fn a_peer_that_takes_no_connection_any_more_is_not_asked_again_and_again() {
    let (mut call, proxy) = call_through_proxy(false);
    call.talk("before");
    let made = proxy.count.load(Ordering::Relaxed);
    // The proxy takes connections, and closes them since nobody is behind it.
    call.passive.connection.shutdown();
    call.passive.wait_for_closed();
    wait_for_ice(&mut call.active, IceConnectionState::Disconnected);
    let again = || proxy.count.load(Ordering::Relaxed) - made;
    while again() == 0 {
        call.active.request(Command::GetStats).unwrap();
    }
    for _ in 0..1_000 {
        call.active.request(Command::GetStats).unwrap();
    }
    assert!(again() <= 3, "{} connections", again());
}

#[test]
fn a_restart_keeps_the_call() {
    let mut call = call(true, |at| at);
    let offer = tcp_only(call.passive.restart_offer());
    let answer = tcp_only(call.active.answer(offer));
    call.passive.accept(answer);
    call.talk("after the restart");
}

#[test]
fn media_that_a_slow_peer_does_not_take_is_given_up_oldest_first_and_counted() {
    let (mut call, proxy) = call_through_proxy(true);
    let track = call.passive.add_track(Kind::Video, 5);
    let offer = call.passive.reoffer();
    let answer = call.active.reanswer(offer);
    call.passive.accept(answer);
    let at_active = call.active.remote_track().id;
    call.passive.send_packet(track, 96, 0, &[0; 1000]);
    call.active.packet_on(at_active);

    proxy.stall(true);
    let discarded = |peer: &mut Peer| {
        let count = selected(peer).get("packets_discarded_on_send").cloned();
        count.and_then(|count| count.as_u64()).unwrap_or(0)
    };
    // Until what the kernels hold, and then what we hold, is full.
    let mut number = 0_u16;
    while discarded(&mut call.passive) == 0 {
        for _ in 0..200 {
            number = number.wrapping_add(1);
            call.passive
                .send_packet(track, 96, number, &number.to_be_bytes().repeat(600));
        }
        call.passive.request(Command::GetStats).unwrap();
    }
    let last = number.wrapping_add(1);
    proxy.stall(false);
    call.passive
        .send_packet(track, 96, last, &last.to_be_bytes());
    call.active
        .wait_for("the newest packet", |output| match output {
            support::Output::Rtp { payload, .. } if *payload == last.to_be_bytes() => Some(()),
            _ => None,
        });
    call.talk("data goes on");
}

#[test]
fn silent_strangers_keep_nobody_out() {
    let runtime = runtime(2);
    let mut passive = Peer::open(&runtime, over_tcp(PASSIVE));
    let mut active = Peer::open(&runtime, over_tcp(ACTIVE));
    passive.create_channel("chat");
    let offer = tcp_only(passive.offer());
    let at = listening(&offer);
    let strangers: Vec<_> = (0..100).map(|_| TcpStream::connect(at).unwrap()).collect();
    let answer = tcp_only(active.answer(offer));
    passive.accept(answer);
    passive.wait_for_state(ConnectionState::Connected);
    // All but the newest few have been put out.
    let mut ended = 0;
    for mut stranger in strangers {
        stranger.set_nonblocking(true).unwrap();
        match stranger.read(&mut [0; 1]) {
            Ok(0) => ended += 1,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => ended += 1,
            _ => {}
        }
    }
    assert!(ended >= 80, "{ended} of 100");
}

/// What somebody who connects may send: framed or not, STUN or not.
fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let anything = prop::collection::vec(any::<u8>(), 0..4000);
    let framed =
        (any::<u16>(), prop::collection::vec(any::<u8>(), 0..600)).prop_map(|(length, body)| {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend(body);
            bytes
        });
    let stun = prop::collection::vec(any::<u8>(), 0..400).prop_map(|mut attributes| {
        attributes.truncate(attributes.len() & !3);
        let length = u16::try_from(attributes.len()).unwrap();
        let mut bytes = (length + 20).to_be_bytes().to_vec();
        bytes.extend([0, 1]);
        bytes.extend(length.to_be_bytes());
        bytes.extend([0x21, 0x12, 0xA4, 0x42]);
        bytes.extend([7; 12]);
        bytes.extend(attributes);
        bytes
    });
    let parts = prop::collection::vec(prop_oneof![anything, framed, stun.clone(), stun], 1..6);
    parts.prop_map(|parts| parts.concat())
}

#[test]
fn whatever_strangers_send_costs_them_their_connection_at_most() {
    let mut call = call(true, |at| at);
    let at = listening(&call.passive.local_description());
    let count = std::cell::Cell::new(0);
    let cell = std::cell::RefCell::new(&mut call);
    proptest!(ProptestConfig::with_cases(100), |(bytes in hostile_bytes())| {
        let mut stranger = TcpStream::connect(at).unwrap();
        // It may be put out while it still writes.
        let _ = stranger.write_all(&bytes);
        count.set(count.get() + 1);
        if count.get() % 10 == 0 {
            cell.borrow_mut().talk(&format!("message {}", count.get()));
        }
    });
    assert_eq!(call.passive.connection_state(), ConnectionState::Connected);
}

#[test]
fn what_is_no_check_ends_a_strangers_connection() {
    let mut call = call(true, |at| at);
    let at = listening(&call.passive.local_description());
    // DTLS, RTP, HTTP, an empty message, and a check that is longer than any is.
    for bytes in [
        &[0, 30, 22, 254, 253][..],
        &[0, 30, 128, 96],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0, 0],
        &[255, 255, 0, 1],
    ] {
        let mut stranger = TcpStream::connect(at).unwrap();
        stranger.set_read_timeout(Some(support::PATIENCE)).unwrap();
        stranger.write_all(bytes).unwrap();
        let end = stranger.read(&mut [0; 1]);
        let ended = matches!(end, Ok(0))
            || matches!(&end, Err(error) if error.kind() == ErrorKind::ConnectionReset);
        assert!(ended, "{bytes:?}: {end:?}");
    }
}

#[test]
fn a_peer_that_is_nowhere_is_tried_a_few_times_only() {
    let runtime = runtime(1);
    let mut active = Peer::open(&runtime, over_tcp(ACTIVE));
    let mut other = Peer::open(&runtime, over_tcp(PASSIVE));
    other.create_channel("chat");
    let offer = tcp_only(other.offer());
    // It accepts and says nothing.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    active.answer(moved(offer, silent.local_addr().unwrap()));
    let (mut stream, _) = silent.accept().unwrap();
    // One connection carries all checks.
    let mut seen = 0;
    let mut buffer = [0; 4096];
    while seen < 1000 {
        seen += stream.read(&mut buffer).unwrap();
        assert_eq!(buffer[0], 0);
    }
    silent.set_nonblocking(true).unwrap();
    assert_eq!(silent.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}
