//! Statistics of the transport (webrtc-stats sections 8.12 to 8.15, contract section 6).

use super::candidate::{self, CandidateKind, Host};
use super::ice::{Announced, Path};
use super::{LocalCandidateKind, Transport, certificate};
use crate::address::TransportAddress;
use crate::stats::{StatsEntry, StatsReport};
use crate::w3c::{DtlsRole, DtlsState, IceProtocol, TcpType};
use rtc_ice::candidate::candidate_pair::CandidatePairState;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
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
    packets_discarded: u64,
    bytes_discarded: u64,
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

    /// Datagrams counted by [`Self::sent`] that the system did not take after all.
    pub(super) fn discarded_on_send(&mut self, path: Path, packets: u64, bytes: u64) {
        let of_path = self.paths.iter_mut().find(|(known, _)| *known == path);
        let of_path = of_path.map(|(_, count)| count);
        for count in [Some(&mut self.total), of_path].into_iter().flatten() {
            count.packets_sent = count.packets_sent.saturating_sub(packets);
            count.bytes_sent = count.bytes_sent.saturating_sub(bytes);
            count.packets_discarded += packets;
            count.bytes_discarded += bytes;
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

    fn of(&self, path: Path) -> Option<Count> {
        self.paths
            .iter()
            .find_map(|(known, count)| (*known == path).then_some(*count))
    }
}

/// Adds the transport's entries.
pub(super) fn write(transport: &Transport, now: Instant, report: &mut StatsReport) {
    let remotes = transport.ice.remotes();
    write_transport(transport, report);
    write_certificates(transport, report);
    for announced in transport.ice.announced() {
        let candidate = &announced.candidate;
        let host = Host::Address(candidate.address.ip());
        let mut fields = host_and_port(&host, candidate.address.port());
        insert_protocol(&mut fields, candidate.protocol(), candidate.tcp_type);
        if let LocalCandidateKind::Relay(protocol) = candidate.kind {
            fields.insert("relay_protocol".into(), json!(protocol.as_str()));
        }
        let kind = CandidateKind::from(candidate.kind);
        fields.insert("candidate_type".into(), json!(kind.as_str()));
        fields.insert("priority".into(), json!(announced.priority));
        fields.insert("foundation".into(), json!(announced.foundation));
        let related = (kind != CandidateKind::Host).then(|| candidate::related(candidate));
        let related_address = related.map(|related| related.ip().to_string());
        fields.insert("related_address".into(), json!(related_address));
        let related_port = related.map(|related| related.port());
        fields.insert("related_port".into(), json!(related_port));
        let credentials = transport.ice.local_credentials();
        let ufrag = credentials.map(|credentials| credentials.ufrag.as_str());
        fields.insert("username_fragment".into(), json!(ufrag));
        if let Some(url) = &candidate.url {
            fields.insert("url".into(), json!(url));
        }
        add(
            report,
            local_id(announced.address()),
            "local_candidate",
            fields,
        );
    }
    for candidate in &remotes {
        let mut fields = host_and_port(&candidate.host, candidate.port);
        let protocol = candidate.transport.protocol().unwrap_or(IceProtocol::Udp);
        insert_protocol(&mut fields, protocol, candidate.transport.tcp_type());
        fields.insert("candidate_type".into(), json!(candidate.kind.as_str()));
        fields.insert("priority".into(), json!(candidate.priority));
        fields.insert("foundation".into(), json!(candidate.foundation));
        let related = candidate.related.as_ref();
        fields.insert(
            "related_address".into(),
            json!(related.map(|(host, _)| host)),
        );
        fields.insert("related_port".into(), json!(related.map(|(_, port)| port)));
        if let Some(ufrag) = &candidate.ufrag {
            fields.insert("username_fragment".into(), json!(ufrag));
        }
        let id = match &candidate.host {
            Host::Address(ip) => remote_id(TransportAddress {
                protocol,
                address: SocketAddr::new(*ip, candidate.port),
            }),
            Host::Name(name) => {
                let tcp = if protocol == IceProtocol::Tcp {
                    "tcp:"
                } else {
                    ""
                };
                format!("remote_candidate_{tcp}{name}:{}", candidate.port)
            }
        };
        add(report, id, "remote_candidate", fields);
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
    let ice_role = match transport.ice.is_controlling() {
        Some(true) => "controlling",
        Some(false) => "controlled",
        None => "unknown",
    };
    fields.insert("ice_role".into(), json!(ice_role));
    let credentials = transport.ice.local_credentials();
    let ufrag = credentials.map(|credentials| credentials.ufrag.as_str());
    fields.insert("ice_local_ufrag".into(), json!(ufrag));
    let dtls_role = transport.dtls.role().map_or("unknown", DtlsRole::as_str);
    fields.insert("dtls_role".into(), json!(dtls_role));
    fields.insert("local_certificate_id".into(), json!("local_certificate"));
    if transport.dtls.agreed.is_some() {
        fields.insert("remote_certificate_id".into(), json!("remote_certificate"));
    }
    if transport.dtls.state() == DtlsState::Connected
        && let Some(agreed) = &transport.dtls.agreed
    {
        fields.insert("dtls_cipher".into(), json!(agreed.cipher));
        // The two bytes of the version in hexadecimal, as webrtc-stats wants them: DTLS 1.2, the
        // only version that the endpoint agrees to.
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
    // The announced candidate with this base; before it was told of, the base itself.
    let mut announced = HashMap::new();
    for candidate in transport.ice.announced() {
        announced
            .entry(candidate.base())
            .or_insert(candidate.address());
    }
    for candidate in transport.ice.announced() {
        announced.insert(candidate.address(), candidate.address());
    }
    for pair in transport.ice.pairs(now) {
        let path = Path {
            local: pair.local,
            remote: pair.remote,
        };
        let carried = transport.traffic.of(path);
        let count = carried.unwrap_or_default();
        let stats = &pair.stats;
        let succeeded = stats.state == CandidatePairState::Succeeded;
        let local = announced.get(&pair.local).copied().unwrap_or(pair.local);
        let mut fields = object(json!({
            "transport_id": "transport",
            "local_candidate_id": local_id(local),
            "remote_candidate_id": remote_id(path.remote()),
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
            "non_symmetric_responses_received": pair.non_symmetric_responses,
        }));
        if carried.is_some() {
            fields.insert(
                "packets_discarded_on_send".into(),
                json!(count.packets_discarded),
            );
            fields.insert(
                "bytes_discarded_on_send".into(),
                json!(count.bytes_discarded),
            );
        }
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
        // The engine has no wall clock: the border turns the age into a timestamp.
        let age = pair.last_seen.map(|seen| {
            let age = now.saturating_duration_since(seen);
            age.as_secs_f64() * 1_000.0
        });
        fields.insert("last_seen_age_ms".into(), json!(age));
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

impl Announced {
    fn address(&self) -> TransportAddress {
        TransportAddress {
            protocol: self.candidate.protocol(),
            address: self.candidate.address,
        }
    }

    fn base(&self) -> TransportAddress {
        TransportAddress {
            protocol: self.candidate.protocol(),
            address: self.candidate.base,
        }
    }
}

fn insert_protocol(
    fields: &mut Map<String, Value>,
    protocol: IceProtocol,
    tcp_type: Option<TcpType>,
) {
    fields.insert("protocol".into(), json!(protocol.as_str()));
    if let Some(tcp_type) = tcp_type {
        fields.insert("tcp_type".into(), json!(tcp_type.as_str()));
    }
}

fn host_and_port(host: &Host, port: u16) -> Map<String, Value> {
    let host = match host {
        Host::Address(ip) => ip.to_string(),
        Host::Name(name) => name.clone(),
    };
    object(json!({
        "transport_id": "transport",
        "address": host,
        "port": port,
    }))
}

fn local_id(address: TransportAddress) -> String {
    format!("local_candidate_{address}")
}

fn remote_id(address: TransportAddress) -> String {
    format!("remote_candidate_{address}")
}

fn pair_id(path: Path) -> String {
    format!("candidate_pair_{}_{}", path.local, path.remote)
}
