//! Statistics of the transport (webrtc-stats sections 8.12 to 8.15, contract section 6).

use super::candidate::{self, CandidateKind, Host};
use super::ice::Path;
use super::{Transport, certificate};
use crate::stats::{StatsEntry, StatsReport};
use crate::w3c::DtlsState;
use rtc_ice::candidate::candidate_pair::CandidatePairState;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::time::Instant;

/// Pairs whose traffic is told apart. A connection uses one, and one more after each restart or
/// change of network; the oldest make room.
const MAX_COUNTED_PATHS: usize = 16;

#[derive(Clone, Copy, Default)]
struct Count {
    packets_sent: u64,
    bytes_sent: u64,
    packets_received: u64,
    bytes_received: u64,
}

/// What went over the network for DTLS, RTP and RTCP (connectivity checks are counted by ICE).
#[derive(Default)]
pub(super) struct Traffic {
    total: Count,
    paths: Vec<(Path, Count)>,
    /// Datagrams that were dropped: of no known protocol, from no validated address, or without
    /// authentication.
    pub discarded: u64,
}

impl Traffic {
    pub(super) fn sent(&mut self, path: Path, bytes: usize) {
        for count in self.counts(path) {
            count.packets_sent += 1;
            count.bytes_sent += bytes as u64;
        }
    }

    pub(super) fn received(&mut self, path: Path, bytes: usize) {
        for count in self.counts(path) {
            count.packets_received += 1;
            count.bytes_received += bytes as u64;
        }
    }

    fn counts(&mut self, path: Path) -> impl Iterator<Item = &mut Count> {
        if !self.paths.iter().any(|(known, _)| *known == path) {
            if self.paths.len() >= MAX_COUNTED_PATHS {
                self.paths.remove(0);
            }
            self.paths.push((path, Count::default()));
        }
        let of_path = self
            .paths
            .iter_mut()
            .find_map(|(known, count)| (*known == path).then_some(count));
        [Some(&mut self.total), of_path].into_iter().flatten()
    }

    fn of(&self, path: Path) -> Count {
        self.paths
            .iter()
            .find_map(|(known, count)| (*known == path).then_some(*count))
            .unwrap_or_default()
    }
}

/// Adds the transport's entries.
pub(super) fn write(transport: &Transport, now: Instant, report: &mut StatsReport) {
    let remotes = transport.ice.remotes();
    write_transport(transport, report);
    write_certificates(transport, report);
    for announced in transport.ice.announced() {
        let candidate = &announced.candidate;
        let mut fields = address(candidate.address);
        let kind = CandidateKind::from(candidate.kind);
        fields.insert("candidate_type".into(), json!(kind.as_str()));
        fields.insert("priority".into(), json!(announced.priority));
        fields.insert("foundation".into(), json!(announced.foundation));
        if kind != CandidateKind::Host {
            let related = candidate::related(candidate);
            fields.insert("related_address".into(), json!(related.ip().to_string()));
            fields.insert("related_port".into(), json!(related.port()));
        }
        if let Some(url) = &candidate.url {
            fields.insert("url".into(), json!(url));
        }
        add(
            report,
            local_id(candidate.address),
            "local_candidate",
            fields,
        );
    }
    for candidate in &remotes {
        let Host::Address(ip) = candidate.host else {
            continue;
        };
        let at = SocketAddr::new(ip, candidate.port);
        let mut fields = address(at);
        fields.insert("candidate_type".into(), json!(candidate.kind.as_str()));
        fields.insert("priority".into(), json!(candidate.priority));
        fields.insert("foundation".into(), json!(candidate.foundation));
        if let Some((host, port)) = &candidate.related {
            fields.insert("related_address".into(), json!(host));
            fields.insert("related_port".into(), json!(port));
        }
        add(report, remote_id(at), "remote_candidate", fields);
    }
    write_pairs(transport, now, report);
}

fn write_transport(transport: &Transport, report: &mut StatsReport) {
    let total = transport.traffic.total;
    let mut fields = object(json!({
        "ice_state": transport.ice.state().as_str(),
        "dtls_state": transport.dtls.state().as_str(),
        "packets_sent": total.packets_sent,
        "bytes_sent": total.bytes_sent,
        "packets_received": total.packets_received,
        "bytes_received": total.bytes_received,
        "packets_discarded_on_receive": transport.traffic.discarded,
        "selected_candidate_pair_changes": transport.ice.selected_pair_changes,
        "unmatched_requests": transport.ice.unmatched_requests,
        "remote_candidates_discarded": transport.ice.dropped_candidates,
    }));
    if let Some(controlling) = transport.ice.is_controlling() {
        let role = if controlling {
            "controlling"
        } else {
            "controlled"
        };
        fields.insert("ice_role".into(), json!(role));
    }
    if let Some(credentials) = transport.ice.local_credentials() {
        fields.insert("ice_local_ufrag".into(), json!(credentials.ufrag));
    }
    if let Some(role) = transport.dtls.role() {
        fields.insert("dtls_role".into(), json!(role.as_str()));
    }
    if transport.dtls.state() == DtlsState::Connected
        && let Some(agreed) = &transport.dtls.agreed
    {
        fields.insert("dtls_cipher".into(), json!(agreed.cipher));
        // {0xFE, 0xFD}, DTLS 1.2: the only version the endpoint speaks.
        fields.insert("tls_version".into(), json!("FEFD"));
    }
    if let Some(keys) = &transport.dtls.keys {
        fields.insert("srtp_cipher".into(), json!(keys.profile.as_str()));
    }
    if let Some(path) = transport.ice.path() {
        fields.insert("selected_candidate_pair_id".into(), json!(pair_id(path)));
    }
    add(report, "transport".to_owned(), "transport", fields);
}

fn write_certificates(transport: &Transport, report: &mut StatsReport) {
    let remote = transport
        .dtls
        .agreed
        .as_ref()
        .map(|agreed| agreed.remote_certificate.as_slice());
    for (id, der) in [
        (
            "local_certificate",
            Some(transport.dtls.local_certificate()),
        ),
        ("remote_certificate", remote),
    ] {
        let Some(der) = der else { continue };
        let fingerprint = certificate::sha256(der);
        let fields = object(json!({
            "fingerprint": fingerprint.value,
            "fingerprint_algorithm": fingerprint.algorithm,
            "base64_certificate": certificate::base64(der),
        }));
        add(report, id.to_owned(), "certificate", fields);
    }
}

fn write_pairs(transport: &Transport, now: Instant, report: &mut StatsReport) {
    let selected = transport.ice.path();
    for pair in transport.ice.pairs(now) {
        let path = Path {
            local: pair.local,
            remote: pair.remote,
        };
        let count = transport.traffic.of(path);
        let stats = &pair.stats;
        let succeeded = stats.state == CandidatePairState::Succeeded;
        // The announced candidate with this base; before it was told of, the base itself.
        let local = transport
            .ice
            .announced()
            .iter()
            .find(|announced| announced.candidate.address == pair.local)
            .or_else(|| {
                transport
                    .ice
                    .announced()
                    .iter()
                    .find(|announced| announced.candidate.base == pair.local)
            })
            .map_or(pair.local, |announced| announced.candidate.address);
        let mut fields = object(json!({
            "local_candidate_id": local_id(local),
            "remote_candidate_id": remote_id(pair.remote),
            "state": stats.state.to_string().replace('-', "_"),
            "valid": succeeded,
            "nominated": stats.nominated,
            "selected": selected == Some(path),
            "packets_sent": count.packets_sent,
            "bytes_sent": count.bytes_sent,
            "packets_received": count.packets_received,
            "bytes_received": count.bytes_received,
            "requests_sent": stats.requests_sent,
            "requests_received": stats.requests_received,
            "responses_sent": stats.responses_sent,
            "responses_received": stats.responses_received,
            "consent_requests_sent": stats.consent_requests_sent,
        }));
        fields.insert("priority".into(), json!(pair.priority));
        if stats.responses_received > 0 {
            fields.insert(
                "current_round_trip_time".into(),
                json!(stats.current_round_trip_time),
            );
            fields.insert(
                "total_round_trip_time".into(),
                json!(stats.total_round_trip_time),
            );
        }
        if let Some(seen) = pair.last_seen {
            // The engine has no wall clock: the border turns the age into a timestamp.
            let age = now.saturating_duration_since(seen);
            fields.insert(
                "last_seen_age_ms".into(),
                json!(age.as_secs_f64() * 1_000.0),
            );
        }
        add(report, pair_id(path), "candidate_pair", fields);
    }
}

fn add(report: &mut StatsReport, id: String, kind: &'static str, fields: Map<String, Value>) {
    report.entries.push(StatsEntry { id, kind, fields });
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn address(address: SocketAddr) -> Map<String, Value> {
    object(json!({
        "address": address.ip().to_string(),
        "port": address.port(),
        "protocol": "udp",
    }))
}

fn local_id(address: SocketAddr) -> String {
    format!("local_candidate_{address}")
}

fn remote_id(address: SocketAddr) -> String {
    format!("remote_candidate_{address}")
}

fn pair_id(path: Path) -> String {
    format!("candidate_pair_{}_{}", path.local, path.remote)
}
