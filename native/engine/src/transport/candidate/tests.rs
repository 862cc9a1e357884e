#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use crate::w3c::RelayProtocol;
use proptest::prelude::*;

#[test]
fn a_browser_candidate_is_read_with_its_extensions() {
    let parsed = parse(
        "candidate:842163049 1 udp 1677729535 203.0.113.7 61764 typ srflx raddr 10.0.0.5 rport 61764 generation 0 ufrag dkF3 network-cost 999",
    )
    .unwrap();
    assert_eq!(
        parsed,
        RemoteCandidate {
            foundation: "842163049".into(),
            component: 1,
            transport: Transport::Udp,
            priority: 1_677_729_535,
            host: Host::Address([203, 0, 113, 7].into()),
            port: 61_764,
            kind: CandidateKind::ServerReflexive,
            related: Some(("10.0.0.5".into(), 61_764)),
            ufrag: Some("dkF3".into()),
        }
    );
}

#[test]
fn the_prefix_may_be_missing_or_be_a_whole_sdp_line() {
    let bare = "1 1 UDP 2130706431 2001:db8::1 5000 typ host";
    for text in [
        bare.to_owned(),
        format!("candidate:{bare}"),
        format!("a=candidate:{bare}\r\n"),
    ] {
        let parsed = parse(&text).unwrap();
        assert_eq!(parsed.host, Host::Address("2001:db8::1".parse().unwrap()));
    }
}

#[test]
fn mdns_names_are_read_in_lower_case() {
    let parsed = parse("candidate:1 1 udp 2113937151 4F2A-B.LOCAL 5000 typ host").unwrap();
    assert_eq!(parsed.host, Host::Name("4f2a-b.local".into()));
}

#[test]
fn tcp_candidates_are_understood() {
    let parsed = parse("candidate:1 1 tcp 1518280447 10.0.0.5 9 typ host tcptype active").unwrap();
    assert_eq!(parsed.transport, Transport::Tcp(TcpType::Active));
    let parsed = parse("candidate:1 1 TCP 1 10.0.0.5 443 typ host tcptype passive").unwrap();
    assert_eq!(parsed.transport, Transport::Tcp(TcpType::Passive));
    // RFC 6544 section 4.5 wants the type; what is unknown is left alone.
    for unknown in [
        "tcp 1 10.0.0.5 443 typ host",
        "ssltcp 1 10.0.0.5 443 typ host",
    ] {
        let parsed = parse(&format!("candidate:1 1 {unknown}")).unwrap();
        assert_eq!(parsed.transport, Transport::Other);
    }
}

#[test]
fn text_that_is_no_candidate_is_refused() {
    for text in [
        "",
        "candidate:",
        "candidate:1 1 udp 1 10.0.0.1 5000",
        "candidate:1 1 udp 1 10.0.0.1 5000 typ",
        "candidate:1 1 udp 1 10.0.0.1 5000 typ elsewhere",
        "candidate:1 1 udp 1 10.0.0.1 65536 typ host",
        "candidate:1 0 udp 1 10.0.0.1 5000 typ host",
        "candidate:1 1 udp 0 10.0.0.1 5000 typ host",
        "candidate:1 1 udp 99999999999 10.0.0.1 5000 typ host",
        "candidate:123456789012345678901234567890123 1 udp 1 10.0.0.1 5000 typ host",
        "candidate:1 1 udp 1 10.0.0.1 5000 typ srflx raddr",
        "candidate:1 1 udp 1 10.0.0.1 5000 typ srflx raddr 1.1.1.1 rport x",
    ] {
        assert_eq!(parse(text), Err(Error::InvalidCandidate), "{text}");
    }
}

#[test]
fn addresses_that_are_legal_and_of_no_use_are_understood_and_left_alone() {
    for address in [
        "10.0.0.1 0",
        "example.com 5000",
        ".local 5000",
        "a.b.local 5000",
        "fe80::1%eth0 5000",
    ] {
        let parsed = parse(&format!("candidate:1 1 udp 1 {address} typ host")).unwrap();
        assert_eq!(parsed.transport, Transport::Other, "{address}");
    }
    // Who connects has no port (RFC 6544 section 4.5).
    for port in [0, 9] {
        let text = format!("candidate:1 1 tcp 1 10.0.0.1 {port} typ host tcptype active");
        let parsed = parse(&text).unwrap();
        assert_eq!(parsed.transport, Transport::Tcp(TcpType::Active));
    }
}

#[test]
fn priorities_follow_rfc_8445() {
    // RFC 8445 section 5.1.2: 2130706431 is a lone host candidate's priority.
    assert_eq!(priority(CandidateKind::Host, None, 0), 2_130_706_431);
    assert_eq!(
        priority(CandidateKind::ServerReflexive, None, 0),
        1_694_498_815
    );
    assert_eq!(priority(CandidateKind::Relay, None, 0), 16_777_215);
    assert_eq!(priority(CandidateKind::Host, None, 1), 2_130_706_431 - 256);
    // RFC 6544 section 4.2: 2^13 * 6 + 8191 for active, 2^13 * 4 + 8191 for passive.
    let tcp = |tcp_type| priority(CandidateKind::Host, Some(tcp_type), 0);
    assert_eq!(tcp(TcpType::Active), (90 << 24) + (57_343 << 8) + 255);
    assert_eq!(tcp(TcpType::Passive), (90 << 24) + (40_959 << 8) + 255);
    assert!(tcp(TcpType::Active) < priority(CandidateKind::ServerReflexive, None, 9));
    assert!(tcp(TcpType::Passive) > priority(CandidateKind::Relay, None, 0));
    assert!(
        priority(CandidateKind::Host, None, 9) > priority(CandidateKind::ServerReflexive, None, 0)
    );
}

#[test]
fn foundations_group_by_type_base_and_server() {
    let candidate = |kind, ip: [u8; 4], port, url: Option<&str>| LocalCandidate {
        kind,
        tcp_type: None,
        address: (ip, port).into(),
        base: (ip, port).into(),
        url: url.map(str::to_owned),
    };
    let host = candidate(LocalCandidateKind::Host, [10, 0, 0, 1], 1, None);
    let other_port = candidate(LocalCandidateKind::Host, [10, 0, 0, 1], 2, None);
    let other_ip = candidate(LocalCandidateKind::Host, [10, 0, 0, 2], 1, None);
    let relay = candidate(
        LocalCandidateKind::Relay(RelayProtocol::Udp),
        [10, 0, 0, 1],
        1,
        Some("turn:a"),
    );
    let relay_b = candidate(
        LocalCandidateKind::Relay(RelayProtocol::Udp),
        [10, 0, 0, 1],
        1,
        Some("turn:b"),
    );
    assert_eq!(foundation(&host), foundation(&other_port));
    assert_ne!(foundation(&host), foundation(&other_ip));
    assert_ne!(foundation(&host), foundation(&relay));
    assert_ne!(foundation(&relay), foundation(&relay_b));
    let over_tcp = LocalCandidate {
        tcp_type: Some(TcpType::Passive),
        ..host.clone()
    };
    assert_ne!(foundation(&host), foundation(&over_tcp));
}

#[test]
fn a_relayed_candidate_does_not_tell_where_we_are() {
    let relay = LocalCandidate {
        kind: LocalCandidateKind::Relay(RelayProtocol::Udp),
        tcp_type: None,
        address: ([198, 51, 100, 1], 50_000).into(),
        base: ([192, 168, 1, 5], 4_000).into(),
        url: Some("turn:relay.example".into()),
    };
    let text = format(&relay, "7", 16_777_215);
    assert_eq!(
        text,
        "candidate:7 1 udp 16777215 198.51.100.1 50000 typ relay raddr 0.0.0.0 rport 0"
    );
}

proptest! {
    #[test]
    fn what_we_write_reads_back(
        v6 in any::<bool>(), octets in any::<[u8; 16]>(), port in 1..=u16::MAX,
        kind in prop_oneof![
            Just(LocalCandidateKind::Host),
            Just(LocalCandidateKind::ServerReflexive),
            Just(LocalCandidateKind::Relay(RelayProtocol::Udp)),
        ],
        tcp_type in prop_oneof![
            Just(None),
            Just(Some(TcpType::Active)),
            Just(Some(TcpType::Passive)),
        ],
    ) {
        let ip: IpAddr = if v6 {
            octets.into()
        } else {
            [octets[0], octets[1], octets[2], octets[3]].into()
        };
        let candidate = LocalCandidate {
            kind,
            tcp_type,
            address: SocketAddr::new(ip, port),
            base: SocketAddr::new(ip, port),
            url: None,
        };
        let priority = priority(kind.into(), tcp_type, 3);
        let parsed = parse(&format(&candidate, &foundation(&candidate), priority)).unwrap();
        prop_assert_eq!(parsed.host, Host::Address(ip));
        prop_assert_eq!(parsed.port, port);
        prop_assert_eq!(parsed.priority, priority);
        prop_assert_eq!(parsed.kind, CandidateKind::from(kind));
        prop_assert_eq!(parsed.transport.tcp_type(), tcp_type);
        prop_assert_eq!(parsed.related.is_some(), kind != LocalCandidateKind::Host);
    }

    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn no_words_panic(words in prop::collection::vec("(candidate:|typ|host|udp|raddr|rport|[0-9.:]{0,9}|x.local| )", 0..16)) {
        let _ = parse(&words.join(" "));
    }
}
