#![allow(clippy::unwrap_used)]
use super::*;
use rtc_ice::agent::agent_config::AgentConfig;
use std::sync::Arc;
use std::time::Instant;

fn agent() -> Agent {
    let provider = rtc_crypto::default_provider().unwrap();
    Agent::new(Instant::now(), Arc::new(AgentConfig::default()), provider).unwrap()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_udp_address_is_its_own_name() {
    let mut aliases = Aliases::default();
    let remote = TransportAddress::udp(address("192.0.2.1:5000"));
    assert_eq!(aliases.get(remote, &agent()), Some(remote.address));
    assert_eq!(aliases.real(remote.address), remote.address);
}

#[test]
fn a_tcp_address_keeps_a_name_of_its_own_that_leads_back() {
    let agent = agent();
    let mut aliases = Aliases::default();
    let mut seen = Vec::new();
    for text in ["192.0.2.1:5000", "192.0.2.1:5001", "[2001:db8::1]:5000"] {
        let remote = TransportAddress::tcp(address(text));
        let alias = aliases.get(remote, &agent).unwrap();
        assert_ne!(alias, remote.address);
        assert_eq!(alias.is_ipv4(), remote.address.is_ipv4());
        assert_eq!(aliases.get(remote, &agent), Some(alias));
        assert_eq!(aliases.find(remote), Some(alias));
        assert_eq!(aliases.real(alias), remote.address);
        assert!(!seen.contains(&alias));
        seen.push(alias);
    }
}

#[test]
fn names_that_the_agent_has_forgotten_are_given_again() {
    let agent = agent();
    let mut aliases = Aliases::default();
    for number in 0..100_000_u32 {
        let ip = Ipv4Addr::from(0x0A00_0000 + number);
        let remote = TransportAddress::tcp(SocketAddr::new(ip.into(), 5000));
        assert!(aliases.get(remote, &agent).is_some());
        assert!(aliases.known.len() <= MAX_ALIASES);
    }
}
