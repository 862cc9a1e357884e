//! What servers have told, as the engine hears of it: candidates and errors.

use super::mappings::MappingEvent;
use super::stun::Outcome;
use super::turn::RelayEvent;
use super::{Gathering, Round};
use engine::event::IceCandidateError;
use engine::transport::{LocalCandidate, LocalCandidateKind};
use engine::w3c::TcpType;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Instant;

/// `RTCPeerConnectionIceErrorEvent.errorCode` where no answer came.
pub const NO_ANSWER: u16 = 701;

/// RFC 8489 section 14.8; another one is no answer that says anything.
const STUN_CODES: Range<u16> = 300..700;

/// `RTCPeerConnectionIceErrorEvent`; no `code` where no server has answered.
pub fn failed(
    generation: u32,
    url: String,
    local: Option<SocketAddr>,
    code: Option<u16>,
    reason: String,
    round: &mut Round<'_>,
) {
    let error = IceCandidateError {
        address: local.map(|local| local.ip().to_string()),
        port: local.map(|local| local.port()),
        url,
        error_code: code
            .filter(|code| STUN_CODES.contains(code))
            .unwrap_or(NO_ANSWER),
        error_text: reason,
    };
    round.engine.candidate_error(generation, error, round.sink);
}

fn reflexive(
    address: SocketAddr,
    base: SocketAddr,
    tcp_type: Option<TcpType>,
    url: Option<String>,
) -> LocalCandidate {
    LocalCandidate {
        kind: LocalCandidateKind::ServerReflexive,
        tcp_type,
        address,
        base,
        url,
    }
}

/// Reports what a STUN server over UDP has answered.
pub fn answered(now: Instant, gathering: &Gathering, outcome: Outcome, round: &mut Round<'_>) {
    let generation = gathering.generation;
    let url = |server: usize| {
        let server = gathering.servers.get(server);
        server.map(|server| server.url.clone())
    };
    match outcome {
        // Without a NAT in between it is the host candidate again (RFC 8445 section 5.1.3).
        Outcome::Mapped { local, address, .. } if address == local => {}
        Outcome::Mapped {
            server,
            local,
            address,
        } => {
            let candidate = reflexive(address, local, None, url(server));
            round
                .engine
                .local_candidate(now, generation, candidate, round.sink);
        }
        Outcome::Failed {
            server,
            local,
            code,
            reason,
        } => {
            let url = url(server).unwrap_or_default();
            failed(generation, url, Some(local), code, reason, round);
        }
    }
}

/// Reports what a STUN server over TCP or TLS has answered.
pub fn mapping(now: Instant, generation: u32, event: MappingEvent, round: &mut Round<'_>) {
    match event {
        MappingEvent::Mapped { url, base, address } => {
            let candidate = reflexive(address, base, Some(TcpType::Passive), Some(url));
            round
                .engine
                .local_candidate(now, generation, candidate, round.sink);
        }
        MappingEvent::Failed {
            url,
            base,
            code,
            reason,
        } => failed(generation, url, Some(base), code, reason, round),
    }
}

/// Reports what became of an allocation.
pub fn relay(now: Instant, gathering: &Gathering, event: RelayEvent, round: &mut Round<'_>) {
    let generation = gathering.generation;
    match event {
        RelayEvent::Allocated {
            url,
            protocol,
            relayed,
            reflexive: seen,
        } => {
            // The socket of a relay may be another than that of the host candidates.
            let seen =
                seen.filter(|(mapped, base)| mapped != base && gathering.hosts.udp.contains(base));
            let found =
                seen.map(|(address, base)| reflexive(address, base, None, Some(url.clone())));
            let relay = LocalCandidate {
                kind: LocalCandidateKind::Relay(protocol),
                tcp_type: None,
                address: relayed,
                base: relayed,
                url: Some(url),
            };
            for candidate in found.into_iter().chain([relay]) {
                round
                    .engine
                    .local_candidate(now, generation, candidate, round.sink);
            }
        }
        RelayEvent::Failed {
            url,
            local,
            code,
            reason,
        } => failed(generation, url, local, code, reason, round),
    }
}
