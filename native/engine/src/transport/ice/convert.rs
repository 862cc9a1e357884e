//! Candidates in the form that the agent takes.

use super::session::Base;
use crate::transport::candidate::{CandidateKind, Host, RemoteCandidate};
use rtc_ice::agent::Agent;
use rtc_ice::candidate::candidate_host::CandidateHostConfig;
use rtc_ice::candidate::candidate_peer_reflexive::CandidatePeerReflexiveConfig;
use rtc_ice::candidate::candidate_relay::CandidateRelayConfig;
use rtc_ice::candidate::candidate_server_reflexive::CandidateServerReflexiveConfig;
use rtc_ice::candidate::{Candidate, CandidateConfig};
use std::net::{IpAddr, SocketAddr};

fn common(address: SocketAddr, priority: u32, foundation: &str) -> CandidateConfig {
    CandidateConfig {
        network: "udp".to_owned(),
        address: address.ip().to_string(),
        port: address.port(),
        component: 1,
        priority,
        foundation: foundation.to_owned(),
        ..CandidateConfig::default()
    }
}

pub(super) fn add_local(agent: &mut Agent, base: Base) {
    let base_config = common(base.address, base.priority, "");
    let candidate = if base.relay {
        CandidateRelayConfig {
            base_config,
            rel_addr: base.address.ip().to_string(),
            rel_port: base.address.port(),
            ..CandidateRelayConfig::default()
        }
        .new_candidate_relay()
    } else {
        CandidateHostConfig {
            base_config,
            ..CandidateHostConfig::default()
        }
        .new_candidate_host()
    };
    if let Err(error) = candidate.and_then(|candidate| agent.add_local_candidate(candidate)) {
        log::debug!("local candidate not taken: {error}");
    }
}

pub(super) fn add_remote(agent: &mut Agent, candidate: &RemoteCandidate) {
    let Some(address) = address_of(candidate) else {
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

fn address_of(candidate: &RemoteCandidate) -> Option<SocketAddr> {
    match &candidate.host {
        Host::Address(ip) => Some(SocketAddr::new(*ip, candidate.port)),
        Host::Name(_) => None,
    }
}

fn remote_for_agent(
    candidate: &RemoteCandidate,
    address: SocketAddr,
) -> rtc_shared::error::Result<Candidate> {
    let base_config = common(address, candidate.priority, &candidate.foundation);
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
