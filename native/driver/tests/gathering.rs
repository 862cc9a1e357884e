//! Gathering over real sockets: STUN, port ranges, mapped addresses, `.local` names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use engine::command::Command;
use engine::w3c::{ConnectionState, IceServer, IceTransportPolicy, Kind};
use rtc_stun::message::{BINDING_SUCCESS, Message};
use rtc_stun::xoraddr::XorMappedAddress;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;
use support::{Peer, config, free_udp_port, gathering, runtime};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A STUN server that sees everybody at `address`, after ignoring `deaf` requests.
fn stun_server(address: SocketAddr, deaf: usize) -> SocketAddr {
    let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let local = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        for count in 0.. {
            let (length, peer) = socket.recv_from(&mut buffer).unwrap();
            if count < deaf {
                continue;
            }
            let mut request = Message::new();
            request.unmarshal_binary(&buffer[..length]).unwrap();
            let mut answer = Message::new();
            let mapped = XorMappedAddress {
                ip: address.ip(),
                port: address.port(),
            };
            answer
                .build(&[
                    Box::new(request.transaction_id),
                    Box::new(BINDING_SUCCESS),
                    Box::new(mapped),
                ])
                .unwrap();
            socket.send_to(&answer.raw, peer).unwrap();
        }
    });
    local
}

fn server(url: String) -> IceServer {
    IceServer {
        urls: vec![url],
        ..Default::default()
    }
}

#[test]
fn a_stun_server_gives_a_server_reflexive_candidate_with_its_url() {
    let stun = stun_server("198.51.100.7:6000".parse().unwrap(), 0);
    let url = format!("stun:{stun}");
    let config = engine::config::Config {
        ice_servers: vec![server(url.clone())],
        ..config()
    };
    let (_runtime, mut peer) = gathering(config);
    let sdp = peer.offer().sdp;
    assert!(
        sdp.contains("198.51.100.7 6000 typ srflx raddr 127.0.0.1 rport "),
        "{sdp}"
    );
    let candidates = peer.candidates();
    let reflexive = candidates
        .iter()
        .find(|it| it.candidate.contains("srflx"))
        .unwrap();
    assert_eq!(reflexive.url.as_deref(), Some(url.as_str()));
    assert!(
        candidates[0].candidate.contains("typ host"),
        "host candidates come first"
    );
}

#[test]
fn a_lost_request_is_repeated_and_a_server_name_is_looked_up() {
    let stun = stun_server("198.51.100.7:6000".parse().unwrap(), 1);
    let config = engine::config::Config {
        ice_servers: vec![server(format!("stun:localhost:{}", stun.port()))],
        ..config()
    };
    let (_runtime, mut peer) = gathering(config);
    assert!(peer.offer().sdp.contains("typ srflx"));
}

#[test]
fn a_silent_server_ends_gathering_with_an_error() {
    let silent = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let url = format!("stun:{}", silent.local_addr().unwrap());
    let config = engine::config::Config {
        ice_servers: vec![server(url.clone())],
        ..config()
    };
    let (_runtime, mut peer) = gathering(config);
    // How long it takes is tested on the virtual clock of `gather/stun/tests.rs`.
    let sdp = peer.offer().sdp;
    assert!(
        sdp.contains("typ host") && !sdp.contains("typ srflx"),
        "{sdp}"
    );
    let error = peer.candidate_error();
    assert_eq!((error.url, error.error_code), (url, 701));
    assert_eq!(error.address.as_deref(), Some("127.0.0.1"));
}

#[test]
fn a_server_name_that_does_not_exist_is_an_error_and_holds_nothing_up() {
    let url = "stun:no-such-server.invalid:3478".to_owned();
    let config = engine::config::Config {
        ice_servers: vec![server(url.clone())],
        ..config()
    };
    let (_runtime, mut peer) = gathering(config);
    assert!(peer.offer().sdp.contains("typ host"));
    let error = peer.candidate_error();
    assert_eq!((error.url, error.error_code), (url, 701));
}

#[test]
fn the_mapper_gives_server_reflexive_candidates_with_the_hosts_port() {
    let mapped = "203.0.113.5".parse().unwrap();
    let config = engine::config::Config {
        host_addresses: Some(vec![(LOOPBACK, Some(mapped))]),
        ..config()
    };
    let (_runtime, mut peer) = gathering(config);
    peer.offer();
    let candidates = peer.candidates();
    let port_of = |kind: &str, ip: &str| -> String {
        let line = candidates
            .iter()
            .find(|it| it.candidate.contains(kind))
            .unwrap();
        let words: Vec<_> = line.candidate.split(' ').collect();
        assert_eq!(words[4], ip, "{line:?}");
        words[5].to_owned()
    };
    assert_eq!(
        port_of("typ host", "127.0.0.1"),
        port_of("typ srflx", "203.0.113.5")
    );
}

#[test]
fn relay_policy_passes_no_address_of_this_machine_on() {
    let config = engine::config::Config {
        ice_transport_policy: IceTransportPolicy::Relay,
        ..config()
    };
    let (_runtime, mut peer) = gathering(config);
    assert!(!peer.offer().sdp.contains("a=candidate"));
    assert!(peer.candidates().is_empty());
}

#[test]
fn ports_come_from_the_range_and_an_exhausted_range_is_an_error() {
    let port = free_udp_port();
    let with_range = engine::config::Config {
        ice_ports: vec![port],
        ..config()
    };
    let (runtime, mut first) = gathering(with_range.clone());
    let sdp = first.offer().sdp;
    assert!(sdp.contains(&format!("127.0.0.1 {port} typ host")), "{sdp}");

    let mut second = Peer::open(&runtime, with_range.clone());
    second.add_track(Kind::Audio, 1);
    assert!(!second.offer().sdp.contains("a=candidate"));
    let error = second.candidate_error();
    assert!(error.error_text.contains("ice_port_range"), "{error:?}");

    first.request(Command::Close).unwrap();
    let mut third = Peer::open(&runtime, with_range);
    third.add_track(Kind::Audio, 1);
    assert!(
        third
            .offer()
            .sdp
            .contains(&format!("127.0.0.1 {port} typ host"))
    );
}

#[test]
fn a_local_name_of_the_peer_is_resolved_and_used() {
    let address = driver::host_addresses()
        .into_iter()
        .find_map(|ip| match ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        })
        .unwrap();
    let name = format!("{:016x}.local", rand::random::<u64>());
    mdns_responder(name.clone(), address);

    let on_host = engine::config::Config {
        host_addresses: Some(vec![(IpAddr::V4(address), None)]),
        ..config()
    };
    let runtime = runtime(2);
    let mut alice = Peer::open(&runtime, on_host.clone());
    let mut bob = Peer::open(&runtime, on_host);
    alice.add_track(Kind::Audio, 1);
    let mut offer = alice.offer();
    let hidden = offer
        .sdp
        .replace(&format!(" {address} "), &format!(" {name} "));
    assert_ne!(hidden, offer.sdp);
    offer.sdp = hidden;
    let mut answer = bob.answer(offer);
    // Bob alone knows where the other is, so that the name is what connects them.
    answer.sdp = without_candidates(&answer.sdp);
    alice.accept(answer);
    bob.wait_for_state(ConnectionState::Connected);
    alice.wait_for_state(ConnectionState::Connected);
}

fn without_candidates(sdp: &str) -> String {
    let is_candidate =
        |line: &&str| line.starts_with("a=candidate") || line.starts_with("a=end-of-candidates");
    sdp.split_inclusive("\r\n")
        .filter(|line| !is_candidate(line))
        .collect()
}

/// `rtc-mdns` answers for `name` until the process ends.
fn mdns_responder(name: String, address: Ipv4Addr) {
    use bytes::BytesMut;
    use rtc_mdns::{MDNS_DEST_ADDR, Mdns, MdnsConfig, MulticastSocket};
    use rtc_shared::{TransportContext, TransportMessage, TransportProtocol};
    use sansio::Protocol;

    let config = MdnsConfig::default()
        .with_local_names(vec![name])
        .with_local_ip(IpAddr::V4(address));
    let mut mdns = Mdns::new(Instant::now(), config);
    let socket = MulticastSocket::new()
        .with_interface(address)
        .into_std()
        .unwrap();
    socket.set_nonblocking(false).unwrap();
    socket2::SockRef::from(&socket)
        .set_multicast_if_v4(&address)
        .unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 9000];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).unwrap();
            let transport = TransportContext {
                local_addr: MDNS_DEST_ADDR,
                peer_addr: peer,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            };
            let message = BytesMut::from(&buffer[..length]);
            mdns.handle_read(TransportMessage {
                now: Instant::now(),
                transport,
                message,
            })
            .unwrap();
            while let Some(answer) = mdns.poll_write() {
                socket.send_to(&answer.message, MDNS_DEST_ADDR).unwrap();
            }
        }
    });
}
