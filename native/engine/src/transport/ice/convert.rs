//! Candidates in the form that the agent takes.

use super::aliases::Aliases;
use super::session::Base;
use crate::address::TransportAddress;
use crate::transport::candidate::{CandidateKind, Host, RemoteCandidate, Transport};
use crate::w3c::{IceProtocol, TcpType};
use rtc_ice::agent::Agent;
use rtc_ice::candidate::candidate_host::CandidateHostConfig;
use rtc_ice::candidate::candidate_peer_reflexive::CandidatePeerReflexiveConfig;
use rtc_ice::candidate::candidate_relay::CandidateRelayConfig;
use rtc_ice::candidate::candidate_server_reflexive::CandidateServerReflexiveConfig;
use rtc_ice::candidate::{Candidate, CandidateConfig};
use rtc_ice::tcp_type;
use std::net::{IpAddr, SocketAddr};

fn common(address: TransportAddress, priority: u32, foundation: &str) -> CandidateConfig {
    let TransportAddress { protocol, address } = address;
    CandidateConfig {
        network: protocol.as_str().to_owned(),
        address: address.ip().to_string(),
        port: address.port(),
        component: 1,
        priority,
        foundation: foundation.to_owned(),
        ..CandidateConfig::default()
    }
}

/// How the agent is told which candidates pair: it pairs equals of these, and the candidates that
/// it makes itself, of peers that connected to us, are [`LISTENING`]. Its own `Active` is found
/// by the IP address alone, and would be taken for the listening candidate on the same one.
const CONNECTING: tcp_type::TcpType = tcp_type::TcpType::SimultaneousOpen;
const LISTENING: tcp_type::TcpType = tcp_type::TcpType::Unspecified;

/// The base of a candidate of ours.
pub(super) fn local_address(candidate: &Candidate) -> TransportAddress {
    TransportAddress {
        protocol: if candidate.network_type().is_tcp() {
            IceProtocol::Tcp
        } else {
            IceProtocol::Udp
        },
        address: candidate.base_addr(),
    }
}

pub(super) fn add_local(agent: &mut Agent, base: Base) {
    let base_config = common(base.address, base.priority, "");
    let candidate = if base.relay {
        CandidateRelayConfig {
            base_config,
            rel_addr: base.address.address.ip().to_string(),
            rel_port: base.address.address.port(),
            ..CandidateRelayConfig::default()
        }
        .new_candidate_relay()
    } else {
        CandidateHostConfig {
            base_config,
            tcp_type: match base.tcp_type {
                Some(TcpType::Active) => CONNECTING,
                _ => LISTENING,
            },
        }
        .new_candidate_host()
    };
    if let Err(error) = candidate.and_then(|candidate| agent.add_local_candidate(candidate)) {
        log::debug!("local candidate not taken: {error}");
    }
}

pub(super) fn add_remote(agent: &mut Agent, aliases: &mut Aliases, candidate: &RemoteCandidate) {
    // One that connects shows its address when it does.
    if candidate.transport == Transport::Tcp(TcpType::Active) {
        return;
    }
    let Some(remote) = address_of(candidate) else {
        return;
    };
    let Some(address) = aliases.get(remote, agent) else {
        return;
    };
    // A check of the peer may have shown its address before signalling did. RFC 8445 section
    // 7.3.1.3 makes that one candidate; the agent would make two, whose checks it mixes up.
    if agent
        .get_remote_candidates()
        .iter()
        .any(|known| known.addr() == address)
    {
        return;
    }
    let made = remote_for_agent(candidate, address);
    if let Err(error) = made.and_then(|made| agent.add_remote_candidate(made)) {
        log::debug!("remote candidate not taken: {error}");
    }
}

pub(super) fn address_of(candidate: &RemoteCandidate) -> Option<TransportAddress> {
    match &candidate.host {
        Host::Address(ip) => Some(TransportAddress {
            protocol: candidate.transport.protocol()?,
            address: SocketAddr::new(*ip, candidate.port),
        }),
        Host::Name(_) => None,
    }
}

fn remote_for_agent(
    candidate: &RemoteCandidate,
    address: SocketAddr,
) -> rtc_shared::error::Result<Candidate> {
    let protocol = candidate.transport.protocol().unwrap_or(IceProtocol::Udp);
    let address = TransportAddress { protocol, address };
    let base_config = common(address, candidate.priority, &candidate.foundation);
    if protocol == IceProtocol::Tcp {
        // The other configurations cannot say who connects. The type only matters for how long a
        // candidate waits for a better one, and the priorities of TCP candidates do that.
        return CandidateHostConfig {
            base_config,
            tcp_type: CONNECTING,
        }
        .new_candidate_host();
    }
    let (rel_addr, rel_port) = candidate
        .related
        .clone()
        .unwrap_or_else(|| (IpAddr::from([0, 0, 0, 0]).to_string(), 0));
    match candidate.kind {
        CandidateKind::Host => CandidateHostConfig {
            base_config,
            ..CandidateHostConfig::default()
        }
        .new_candidate_host(),
        CandidateKind::ServerReflexive => CandidateServerReflexiveConfig {
            base_config,
            rel_addr,
            rel_port,
            url: None,
        }
        .new_candidate_server_reflexive(),
        CandidateKind::PeerReflexive => CandidatePeerReflexiveConfig {
            base_config,
            rel_addr,
            rel_port,
        }
        .new_candidate_peer_reflexive(),
        CandidateKind::Relay => CandidateRelayConfig {
            base_config,
            rel_addr,
            rel_port,
            url: None,
        }
        .new_candidate_relay(),
    }
}
