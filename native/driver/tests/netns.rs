//! Connections between network namespaces: a NAT, a firewall, loss, a dead link, new addresses.
//!
//! Needs root, `ip` and `tc` (iproute2) and `nft` (nftables), and fails without. To leave these tests
//! out: `cargo test -- --skip needs_root`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod coturn;
mod network;
mod support;

use coturn::{PASSWORD, USER};
use network::{Network, PeerProcess};
use std::time::Duration;

/// What the other process of a test runs: see [`PeerProcess`].
#[test]
fn peer_process() {
    network::serve();
}

fn connect(offerer: &mut PeerProcess, answerer: &mut PeerProcess) {
    let offer = offerer.ask("offer");
    let answer = answerer.ask(&format!("answer {offer}"));
    offerer.ask(&format!("accept {answer}"));
    for peer in [offerer, answerer] {
        assert_eq!(peer.ask("wait connected 10000"), "ok");
    }
}

fn restart(offerer: &mut PeerProcess, answerer: &mut PeerProcess) {
    let offer = offerer.ask("restart");
    let answer = answerer.ask(&format!("answer {offer}"));
    offerer.ask(&format!("accept {answer}"));
    for peer in [offerer, answerer] {
        assert_eq!(peer.ask("wait connected 10000"), "ok");
    }
}

/// Packets of a thousand that arrive, sent one a millisecond.
fn packets_through(from: &mut PeerProcess, to: &mut PeerProcess) -> usize {
    let before: usize = to.ask("received").parse().unwrap();
    assert_eq!(from.ask("send 1000"), "ok");
    // Repairs of the last ones.
    std::thread::sleep(Duration::from_millis(500));
    let after: usize = to.ask("received").parse().unwrap();
    after - before
}

/// By this name they are left out.
mod needs_root {
    use super::*;

    #[test]
    fn behind_a_nat_a_stun_server_tells_the_outer_address_and_peers_connect() {
        let network = Network::with_nat("nat");
        let _coturn = network.coturn();
        let stun = format!("stun:{}:3478", network.outside());
        let mut inside = network.peer_inside(&[("ICE_SERVER", &stun)]);
        let mut outside = network.peer_outside(&[]);
        let offer = inside.ask("offer");
        let reflexive: Vec<&str> = offer
            .split("\\n")
            .filter(|line| line.contains("typ srflx"))
            .collect();
        assert_eq!(reflexive.len(), 1, "{offer}");
        // There is more than loopback, which is then no candidate.
        assert!(!offer.contains(" 127.0.0.1 "), "{offer}");
        let seen = format!(" {} ", network.router());
        let host = format!("raddr {} ", network.inside());
        assert!(
            reflexive[0].contains(&seen) && reflexive[0].contains(&host),
            "{reflexive:?}"
        );

        let answer = outside.ask(&format!("answer {offer}"));
        inside.ask(&format!("accept {answer}"));
        assert_eq!(inside.ask("wait connected 10000"), "ok");
        assert_eq!(outside.ask("wait connected 10000"), "ok");
        assert_eq!(packets_through(&mut inside, &mut outside), 1000);
        assert_eq!(packets_through(&mut outside, &mut inside), 1000);
    }

    #[test]
    fn where_udp_is_blocked_peers_connect_to_the_outer_address_that_a_server_tells_over_tcp_or_tls()
    {
        let network = Network::with_nat("tcp");
        network.block_udp();
        network.map_port(4000, 5000);
        let coturn = network.coturn();
        let plain = format!("stun:{}:3478?transport=tcp", network.outside());
        let tls = format!("stuns:{}:{}", network.outside(), coturn.tls_port);
        for stun in [plain, tls] {
            let mut inside = network.peer_inside(&[
                ("ICE_SERVER", &stun),
                ("ICE_CA", &coturn.ca_pem),
                ("ICE_TCP", "passive"),
                ("ICE_PORT", "4000"),
            ]);
            let mut outside = network.peer_outside(&[("ICE_TCP", "active")]);
            let offer = inside.ask("offer");
            let seen = format!(
                " {} 5000 typ srflx raddr {} rport 4000 tcptype passive",
                network.router(),
                network.inside()
            );
            assert!(offer.contains(&seen), "{offer}");

            let answer = outside.ask(&format!("answer {offer}"));
            inside.ask(&format!("accept {answer}"));
            assert_eq!(inside.ask("wait connected 10000"), "ok");
            assert_eq!(outside.ask("wait connected 10000"), "ok");
            assert_eq!(packets_through(&mut inside, &mut outside), 1000);
            assert_eq!(packets_through(&mut outside, &mut inside), 1000);
        }
    }

    #[test]
    fn where_udp_is_blocked_a_relay_reached_over_tcp_connects() {
        let network = Network::with_nat("fw");
        network.block_udp();
        let _coturn = network.coturn();
        let turn = format!("turn:{}:3478?transport=tcp", network.outside());
        let servers = [
            ("ICE_SERVER", turn.as_str()),
            ("ICE_USER", USER),
            ("ICE_PASSWORD", PASSWORD),
        ];
        let mut inside = network.peer_inside(&servers);
        let mut outside = network.peer_outside(&[]);
        connect(&mut inside, &mut outside);
        assert_eq!(packets_through(&mut inside, &mut outside), 1000);
        assert_eq!(packets_through(&mut outside, &mut inside), 1000);
    }

    #[test]
    fn lost_late_and_doubled_packets_are_repaired_and_delivered_once() {
        let network = Network::with_nat("loss");
        let mut inside = network.peer_inside(&[]);
        let mut outside = network.peer_outside(&[]);
        network.lose(10);
        network.impair();
        connect(&mut inside, &mut outside);
        // A repair may be lost as well, and asked for again: without any it would be some 1800.
        let received: usize = (0..2)
            .map(|_| packets_through(&mut inside, &mut outside))
            .sum();
        assert!((1970..=2000).contains(&received), "{received} of 2000");
    }

    #[test]
    fn a_dead_link_is_disconnected_then_failed_in_the_documented_times_and_a_restart_revives_it() {
        let network = Network::with_nat("dead");
        let mut inside = network.peer_inside(&[]);
        let mut outside = network.peer_outside(&[]);
        connect(&mut inside, &mut outside);
        network.lose(100);
        let start = std::time::Instant::now();
        assert_eq!(outside.ask("wait disconnected 12000"), "ok");
        let disconnected = start.elapsed();
        assert!(
            (2.0..8.5).contains(&disconnected.as_secs_f64()),
            "{disconnected:?}"
        );
        assert_eq!(outside.ask("wait failed 40000"), "ok");
        let failed = start.elapsed();
        assert!((26.0..34.0).contains(&failed.as_secs_f64()), "{failed:?}");
        assert_eq!(inside.ask("wait failed 10000"), "ok");
        network.lose(0);
        restart(&mut inside, &mut outside);
        assert_eq!(packets_through(&mut inside, &mut outside), 1000);
    }

    #[test]
    fn after_a_change_of_address_an_ice_restart_brings_the_connection_back() {
        let network = Network::with_nat("move");
        let mut inside = network.peer_inside(&[]);
        let mut outside = network.peer_outside(&[]);
        connect(&mut inside, &mut outside);
        network.move_inside();
        assert_eq!(outside.ask("wait disconnected 12000"), "ok");
        // As an application does that heard of it.
        restart(&mut inside, &mut outside);
        assert_eq!(packets_through(&mut inside, &mut outside), 1000);
        assert_eq!(packets_through(&mut outside, &mut inside), 1000);
    }

    #[test]
    fn behind_a_symmetric_nat_peers_connect_by_what_their_checks_show() {
        let network = Network::with_nat("sym");
        network.make_symmetric();
        let _coturn = network.coturn();
        let stun = format!("stun:{}:3478", network.outside());
        let mut inside = network.peer_inside(&[("ICE_SERVER", &stun)]);
        let mut outside = network.peer_outside(&[]);
        // The port that the STUN server tells is one that only the STUN server reaches.
        connect(&mut inside, &mut outside);
        assert_eq!(packets_through(&mut inside, &mut outside), 1000);
        assert_eq!(packets_through(&mut outside, &mut inside), 1000);
    }
}
