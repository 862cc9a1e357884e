//! What statistics say of candidates and pairs.

use super::convert::{address_of, local_address};
use super::{Ice, Path};
use crate::address::TransportAddress;
use crate::transport::candidate::{CandidateKind, Host, RemoteCandidate, Transport};
use crate::w3c::TcpType;
use rtc_ice::agent::agent_stats::CandidatePairStats;
use rtc_ice::candidate::Candidate;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Instant;

/// What statistics say of one pair of the current session.
pub(in crate::transport) struct Pair {
    pub local: TransportAddress,
    pub remote: SocketAddr,
    /// RFC 8445 section 6.1.2.3.
    pub priority: u64,
    pub stats: CandidatePairStats,
    pub last_seen: Option<Instant>,
    /// Answers to its checks that came from, or to, another address than the check's.
    pub non_symmetric_responses: u64,
}

impl Ice {
    pub(in crate::transport) fn remotes(&self) -> Vec<RemoteCandidate> {
        let Some(session) = &self.current else {
            return Vec::new();
        };
        let mut all = session.remotes().to_vec();
        let told: HashSet<TransportAddress> = all.iter().filter_map(address_of).collect();
        // Those that only the agent has learnt of, from checks.
        for known in session.agent().get_remote_candidates() {
            let remote = session.remote_address(known);
            let address = remote.address;
            if !told.contains(&remote) {
                all.push(RemoteCandidate {
                    foundation: known.foundation(),
                    component: 1,
                    // It has connected to us: else we would know its address from signalling.
                    transport: if remote.is_tcp() {
                        Transport::Tcp(TcpType::Active)
                    } else {
                        Transport::Udp
                    },
                    priority: known.priority(),
                    host: Host::Address(address.ip()),
                    port: address.port(),
                    kind: CandidateKind::PeerReflexive,
                    related: None,
                    ufrag: None,
                });
            }
        }
        // Those whose name is not resolved yet.
        let waiting = self.waiting.iter().map(|waiting| &waiting.candidate);
        let unresolved = waiting.filter(|candidate| matches!(candidate.host, Host::Name(_)));
        all.extend(unresolved.cloned());
        all
    }

    pub(in crate::transport) fn pairs(&self, now: Instant) -> Vec<Pair> {
        let Some(session) = &self.current else {
            return Vec::new();
        };
        let agent = session.agent();
        let by_id = |candidates: &'_ [Candidate]| -> HashMap<String, usize> {
            let ids = candidates.iter().map(|candidate| candidate.id().to_owned());
            ids.zip(0..).collect()
        };
        let (locals, remotes) = (agent.get_local_candidates(), agent.get_remote_candidates());
        let (local_ids, remote_ids) = (by_id(locals), by_id(remotes));
        // What the peer said of a candidate, which the agent may know from its checks only.
        let signalled: HashMap<TransportAddress, u32> = session
            .remotes()
            .iter()
            .filter_map(|told| Some((address_of(told)?, told.priority)))
            .collect();
        agent
            .get_candidate_pairs_stats(now)
            .into_iter()
            .filter_map(|stats| {
                let local = locals.get(*local_ids.get(&stats.local_candidate_id)?)?;
                let remote = remotes.get(*remote_ids.get(&stats.remote_candidate_id)?)?;
                let at = session.remote_address(remote);
                let told = signalled.get(&at);
                let path = Path {
                    local: local_address(local),
                    remote: at.address,
                };
                Some(Pair {
                    local: path.local,
                    remote: path.remote,
                    last_seen: remote.last_received(),
                    non_symmetric_responses: session.asked.non_symmetric(path),
                    priority: pair_priority(
                        session.is_controlling(),
                        local.priority(),
                        told.copied().unwrap_or_else(|| remote.priority()),
                    ),
                    stats,
                })
            })
            .collect()
    }
}

/// RFC 8445 section 6.1.2.3.
fn pair_priority(controlling: bool, local: u32, remote: u32) -> u64 {
    let (g, d) = if controlling {
        (local, remote)
    } else {
        (remote, local)
    };
    (u64::from(g.min(d)) << 32) + 2 * u64::from(g.max(d)) + u64::from(g > d)
}
