//! ICE over TCP (RFC 6544).

use super::super::link::*;
use crate::address::TransportAddress;
use crate::config::{Config, IceTcp};
use crate::w3c::IceConnectionState::{Checking, Connected, Disconnected};
use crate::w3c::{DtlsRole, DtlsState, IceConnectionState, TcpType};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;

const BOTH: IceTcp = IceTcp {
    active: true,
    passive: true,
};

fn over_tcp() -> Config {
    Config {
        ice_tcp: BOTH,
        ..config()
    }
}

/// What each side tells the other: over UDP, and of TCP.
#[derive(Clone, Copy, Default)]
struct Tells {
    udp: bool,
    active: bool,
    passive: Option<u16>,
}

const UDP: Tells = Tells {
    udp: true,
    active: false,
    passive: None,
};
const ACTIVE: Tells = Tells {
    udp: false,
    active: true,
    passive: None,
};

fn passive(port: u16) -> Tells {
    Tells {
        passive: Some(port),
        ..Tells::default()
    }
}

fn gather(peer: &mut Peer, now: std::time::Instant, tells: Tells) -> Vec<String> {
    let mut told = Vec::new();
    if tells.udp {
        told.push(peer.gather(now));
    }
    if let Some(port) = tells.passive {
        told.extend(peer.gather_tcp(now, TcpType::Passive, port));
    }
    if tells.active {
        told.extend(peer.gather_tcp(now, TcpType::Active, 0));
    }
    told
}

/// Negotiates with these candidates.
fn introduce(pair: &mut Pair, of_a: Tells, of_b: Tells) {
    let (print_a, print_b) = (
        pair.a.transport.fingerprint(),
        pair.b.transport.fingerprint(),
    );
    pair.learn_a(DtlsRole::Server, vec![print_b]);
    pair.learn_b(DtlsRole::Client, vec![print_a]);
    pair.a.apply(pair.now);
    pair.b.apply(pair.now);
    let of_a = gather(&mut pair.a, pair.now, of_a);
    let of_b = gather(&mut pair.b, pair.now, of_b);
    for candidate in of_a {
        pair.b.add_remote(pair.now, &candidate);
    }
    for candidate in of_b {
        pair.a.add_remote(pair.now, &candidate);
    }
}

fn connect(of_a: Tells, of_b: Tells) -> Pair {
    let mut pair = Pair::with(&over_tcp(), &over_tcp());
    introduce(&mut pair, of_a, of_b);
    assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
    pair
}

/// The protocol of the selected pair's local candidate.
fn protocol(peer: &Peer, now: std::time::Instant) -> Option<String> {
    let selected = peer.stat(now, "transport", "selected_candidate_pair_id")?;
    let local = peer.stat(now, selected.as_str()?, "local_candidate_id")?;
    let protocol = peer.stat(now, local.as_str()?, "protocol")?;
    protocol.as_str().map(str::to_owned)
}

#[test]
fn one_listens_the_other_connects_and_media_flows_both_ways() {
    for (of_a, of_b) in [(passive(1_000), ACTIVE), (ACTIVE, passive(2_000))] {
        let mut pair = connect(of_a, of_b);
        assert_eq!(pair.a.ice(), [Checking, Connected]);
        assert_eq!(pair.b.ice(), [Checking, Connected]);
        assert_eq!(pair.connection_count(), 1);
        assert!(pair.exchange(1));
        assert_eq!(protocol(&pair.a, pair.now).as_deref(), Some("tcp"));
        assert_eq!(protocol(&pair.b, pair.now).as_deref(), Some("tcp"));
    }
}

#[test]
fn without_the_option_tcp_candidates_are_left_alone() {
    let mut pair = Pair::with(&over_tcp(), &config());
    introduce(&mut pair, passive(1_000), UDP);
    assert!(!pair.run_until(Duration::from_secs(5), Pair::is_connected));
    assert_eq!(pair.connection_count(), 0);
    let dropped = "remote_candidates_discarded";
    assert_eq!(pair.b.stat(pair.now, "transport", dropped), Some(json!(1)));
}

#[test]
fn who_only_listens_does_not_connect() {
    let only_passive = Config {
        ice_tcp: IceTcp {
            active: false,
            passive: true,
        },
        ..config()
    };
    let mut pair = Pair::with(&only_passive, &only_passive);
    introduce(&mut pair, passive(1_000), passive(2_000));
    assert!(!pair.run_until(Duration::from_secs(5), Pair::is_connected));
    assert_eq!(pair.connection_count(), 0);
}

#[test]
fn udp_is_preferred_where_both_work() {
    let all = |port| Tells {
        udp: true,
        active: true,
        passive: Some(port),
    };
    let mut pair = connect(all(1_000), all(2_000));
    assert_eq!(protocol(&pair.a, pair.now).as_deref(), Some("udp"));
    assert_eq!(protocol(&pair.b, pair.now).as_deref(), Some("udp"));
    assert!(pair.exchange(1));
}

#[test]
fn one_address_for_udp_and_tcp_is_two_candidates() {
    let twice = Tells {
        udp: true,
        active: false,
        passive: Some(1_000),
    };
    let all = Tells {
        udp: true,
        active: true,
        passive: None,
    };
    // Whichever protocol gets through, it is found, and the other one stays in progress.
    for udp_works in [true, false] {
        let mut pair = Pair::with(&over_tcp(), &over_tcp());
        if udp_works {
            pair.a.listening = None;
        } else {
            pair.dead = Some(pair.a.address);
        }
        introduce(&mut pair, twice, all);
        if udp_works {
            pair.a.listening = None;
        }
        assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
        assert!(pair.exchange(1));
        let expected = if udp_works { "udp" } else { "tcp" };
        for peer in [&pair.a, &pair.b] {
            assert_eq!(protocol(peer, pair.now).as_deref(), Some(expected));
        }
        let report = pair.b.stats(pair.now);
        let ids: Vec<_> = report.entries.iter().map(|entry| &entry.id).collect();
        for id in [
            "remote_candidate_10.0.0.1:1000",
            "remote_candidate_tcp:10.0.0.1:1000",
        ] {
            assert!(ids.contains(&&id.to_owned()), "{ids:?}");
        }
        for entry in report
            .entries
            .iter()
            .filter(|it| it.kind == "candidate_pair")
        {
            let succeeded = entry.fields["valid"] == json!(true);
            let of_tcp = entry.id.contains("tcp:");
            assert_eq!(succeeded, of_tcp != udp_works, "{}", entry.id);
        }
    }
}

#[test]
fn an_answer_names_the_address_that_the_check_came_from() {
    let pair = connect(passive(1_000), ACTIVE);
    let connected_from = pair
        .a
        .stats(pair.now)
        .entries
        .into_iter()
        .find(|entry| entry.kind == "remote_candidate" && entry.fields["candidate_type"] == "prflx")
        .unwrap();
    assert_eq!(connected_from.fields["address"], json!("10.0.0.2"));
    assert_eq!(connected_from.fields["tcp_type"], json!("active"));
    let port = connected_from.fields["port"].as_u64().unwrap();

    let mut answers = 0;
    for (_, bytes) in pair.log.iter().filter(|(to_b, _)| *to_b) {
        if bytes.starts_with(&[1, 1]) {
            // XOR-MAPPED-ADDRESS comes first: type, length, family, port, address.
            assert_eq!(bytes[20..26], [0, 0x20, 0, 8, 0, 1]);
            let mapped = u16::from_be_bytes([bytes[26], bytes[27]]) ^ 0x2112;
            assert_eq!(u64::from(mapped), port);
            let ip = [
                bytes[28] ^ 0x21,
                bytes[29] ^ 0x12,
                bytes[30] ^ 0xA4,
                bytes[31] ^ 0x42,
            ];
            assert_eq!(ip, [10, 0, 0, 2]);
            answers += 1;
        }
    }
    assert!(answers > 0);
}

#[test]
fn a_connection_that_dies_is_replaced_by_the_next_one() {
    for (of_a, of_b) in [(passive(1_000), ACTIVE), (ACTIVE, passive(2_000))] {
        let mut pair = connect(of_a, of_b);
        pair.a.events.clear();
        let broken = pair.now;
        pair.break_connections();
        assert!(!pair.exchange(1), "nothing gets through a dead connection");
        let again = |pair: &Pair| pair.connection_count() == 1 && pair.is_connected();
        // Where only the other side can connect, it does so with its next check.
        assert!(pair.run_until(Duration::from_secs(7), again));
        let mut sequence = 2;
        while !pair.exchange(sequence) {
            sequence += 1;
            assert!(sequence < 200, "no media after {:?}", pair.now - broken);
        }
        assert!(pair.now - broken < Duration::from_secs(8));
        assert_eq!(pair.a.ice(), [Disconnected, Connected]);
    }
}

#[test]
fn udp_takes_over_from_a_connection_that_dies() {
    let all = |port| Tells {
        udp: true,
        active: true,
        passive: Some(port),
    };
    let mut pair = Pair::with(&over_tcp(), &over_tcp());
    pair.dead = Some(pair.a.address);
    introduce(&mut pair, all(1_001), all(2_001));
    assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
    assert_eq!(protocol(&pair.a, pair.now).as_deref(), Some("tcp"));
    pair.dead = None;
    pair.a.listening = None;
    pair.b.listening = None;
    pair.break_connections();
    let over_udp =
        |pair: &Pair| pair.is_connected() && protocol(&pair.b, pair.now).as_deref() == Some("udp");
    assert!(pair.run_until(Duration::from_secs(3), over_udp));
    assert!(pair.exchange(1));
}

#[test]
fn a_lite_agent_listens_and_does_not_connect() {
    let lite = Config {
        ice_lite: true,
        ..over_tcp()
    };
    let mut pair = Pair::with(&over_tcp(), &lite);
    let told = {
        pair.b.apply(pair.now);
        pair.b.gather_tcp(pair.now, TcpType::Active, 0)
    };
    assert_eq!(told, None);
    introduce(&mut pair, ACTIVE, passive(2_000));
    assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
    assert!(pair.exchange(1));
}

#[test]
fn a_restart_goes_over_the_connection_that_is_there_or_another_one() {
    let mut pair = connect(passive(1_000), ACTIVE);
    pair.a.plan.local = credentials("cccc");
    pair.b.plan.local = credentials("dddd");
    pair.a.events.clear();
    introduce(&mut pair, passive(1_000), ACTIVE);
    let restarted = |pair: &Pair| {
        pair.a.transport.ice.local_credentials() == Some(&credentials("cccc"))
            && protocol(&pair.a, pair.now).is_some()
    };
    assert!(pair.run_until(Duration::from_secs(3), restarted));
    assert!(pair.exchange(1));
    assert_eq!(pair.a.ice(), []);
    assert_eq!(pair.connection_count(), 1);
}

#[test]
fn what_was_proved_over_udp_is_not_proved_over_tcp() {
    let mut pair = Pair::with(&over_tcp(), &over_tcp());
    introduce(&mut pair, UDP, UDP);
    assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
    let (local, remote) = (pair.a.address, pair.b.address);
    let is_validated = |local: TransportAddress| pair.a.transport.is_validated(local, remote);
    assert!(is_validated(TransportAddress::udp(local)));
    assert!(!is_validated(TransportAddress::tcp(local)));

    let discarded = |pair: &Pair| {
        let count = pair
            .a
            .stat(pair.now, "transport", "packets_discarded_on_receive");
        count.and_then(|count| count.as_u64()).unwrap()
    };
    let before = discarded(&pair);
    let close_notify = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0];
    pair.a.deliver_at(
        pair.now,
        TransportAddress::tcp(local),
        remote,
        &close_notify,
    );
    assert_eq!(discarded(&pair), before + 1);
    assert_eq!(pair.a.transport.dtls_state(), DtlsState::Connected);
}

#[test]
fn a_peer_that_connects_a_thousand_times_costs_no_more_than_one_that_does_so_ten_times() {
    let mut pair = connect(passive(1_000), ACTIVE);
    for _ in 0..1_000 {
        pair.break_connections();
        let again = |pair: &Pair| {
            pair.is_connected()
                && pair
                    .a
                    .transport
                    .ice
                    .path()
                    .is_some_and(|path| pair.a.transport.is_validated(path.local, path.remote))
        };
        assert!(pair.run_until(Duration::from_secs(7), again));
        pair.log.clear();
        pair.datagrams = 0;
    }
    assert!(pair.exchange(1));
    let report = pair.a.stats(pair.now);
    let remotes = report
        .entries
        .iter()
        .filter(|entry| entry.kind == "remote_candidate");
    assert!(remotes.count() < 20);
}

#[test]
fn a_tcp_candidate_behind_a_name_waits_for_it_only_where_we_connect() {
    let mut pair = Pair::with(&over_tcp(), &over_tcp());
    pair.a.apply(pair.now);
    let named = |rest: &str| format!("candidate:1 1 tcp 1 abc.local {rest}");
    let add = |pair: &mut Pair, text: String| {
        pair.a
            .transport
            .add_remote_candidate(pair.now, &text, None)
            .unwrap()
    };
    let active = add(&mut pair, named("9 typ host tcptype active"));
    assert_eq!(active, None);
    let passive = add(&mut pair, named("443 typ host tcptype passive"));
    assert_eq!(passive.as_deref(), Some("abc.local"));
    let udp = add(
        &mut pair,
        "candidate:1 1 udp 1 abc.local 443 typ host".to_owned(),
    );
    assert_eq!(udp.as_deref(), Some("abc.local"));
    let entries = pair.a.stats(pair.now).entries;
    let ids: Vec<_> = entries
        .iter()
        .filter(|entry| entry.kind == "remote_candidate")
        .map(|entry| entry.id.as_str())
        .collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn ipv6_addresses_work_as_well() {
    let mut pair = Pair::with(&over_tcp(), &over_tcp());
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    pair.a.address = at("[2001:db8::1]:1000");
    pair.b.address = at("[2001:db8::2]:2000");
    introduce(&mut pair, passive(1_000), ACTIVE);
    assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
    assert!(pair.exchange(1));
    assert_eq!(pair.a.transport.ice_state(), IceConnectionState::Connected);
}
