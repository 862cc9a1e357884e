//! Host candidates: one over UDP for each address, and over TCP where they are wanted, each with what
//! `host_to_srflx_ip_mapper` made of it.

use super::Round;
use super::interfaces::host_addresses;
use super::outcomes::NO_ANSWER;
use engine::address::ACTIVE_PORT;
use engine::event::IceCandidateError;
use engine::transport::{LocalCandidate, LocalCandidateKind};
use engine::w3c::TcpType;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// The bases of host candidates.
#[derive(Default)]
pub struct Hosts {
    /// Sockets.
    pub udp: Vec<SocketAddr>,
    /// Listening ones.
    pub tcp: Vec<SocketAddr>,
}

/// Opens the sockets and reports the candidates.
pub fn gather(now: Instant, generation: u32, announce: bool, round: &mut Round<'_>) -> Hosts {
    let config = round.engine.config();
    let ports = config.ice_ports.clone();
    let tcp = config.ice_tcp;
    let addresses = match &config.host_addresses {
        Some(addresses) => addresses.clone(),
        None => host_addresses().into_iter().map(|ip| (ip, None)).collect(),
    };
    let current: Vec<IpAddr> = addresses.iter().map(|(ip, _)| *ip).collect();
    round.sockets.forget_old(&current);
    round.sockets.tcp.forget_old(&current);
    let mut hosts = Hosts::default();
    for (ip, mapped) in &addresses {
        match round.sockets.ensure(*ip, &ports) {
            Ok(base) => {
                hosts.udp.push(base);
                if announce {
                    tell(now, generation, base, *mapped, None, round);
                }
            }
            Err(error) => refused(generation, *ip, &error, round),
        }
    }
    if announce && tcp.passive {
        for (ip, mapped) in &addresses {
            match round.sockets.tcp.listen(*ip, &ports) {
                Ok(base) => {
                    hosts.tcp.push(base);
                    let passive = Some(TcpType::Passive);
                    tell(now, generation, base, *mapped, passive, round);
                }
                Err(error) => refused(generation, *ip, &error, round),
            }
        }
    }
    if announce && tcp.active {
        for ip in current {
            // Whoever connects is seen from where the NAT says, not from a port that is told.
            let base = SocketAddr::new(ip, ACTIVE_PORT);
            tell(now, generation, base, None, Some(TcpType::Active), round);
        }
    }
    hosts
}

fn tell(
    now: Instant,
    generation: u32,
    base: SocketAddr,
    mapped: Option<IpAddr>,
    tcp_type: Option<TcpType>,
    round: &mut Round<'_>,
) {
    let host = LocalCandidate {
        kind: LocalCandidateKind::Host,
        tcp_type,
        address: base,
        base,
        url: None,
    };
    let mapped = mapped.filter(|mapped| *mapped != base.ip());
    let reflexive = mapped.map(|mapped| LocalCandidate {
        kind: LocalCandidateKind::ServerReflexive,
        address: SocketAddr::new(mapped, base.port()),
        ..host.clone()
    });
    for candidate in [host].into_iter().chain(reflexive) {
        round
            .engine
            .local_candidate(now, generation, candidate, round.sink);
    }
}

fn refused(generation: u32, ip: IpAddr, error: &io::Error, round: &mut Round<'_>) {
    log::warn!("no host candidate on {ip}: {error}");
    let error = IceCandidateError {
        address: Some(ip.to_string()),
        port: None,
        url: String::new(),
        error_code: NO_ANSWER,
        error_text: error.to_string(),
    };
    round.engine.candidate_error(generation, error, round.sink);
}
