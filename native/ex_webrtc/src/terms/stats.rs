//! Statistics: a map keyed by id of maps with atom keys (section 6 of the contract).

use crate::atoms;
use crate::terms::address_term;
use engine::stats::{StatsEntry, StatsReport};
use rustler::{Encoder, Env, Term};
use serde_json::Value;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// Entries that exist once in a connection, which have an atom for an id.
const ATOM_IDS: [&str; 4] = [
    "peer_connection",
    "transport",
    "local_certificate",
    "remote_certificate",
];

/// Fields that hold an address, as `:inet.ip_address()`, or as a string where it is a name (mDNS).
const ADDRESS_FIELDS: [&str; 2] = ["address", "related_address"];

/// Fields that name an entry whose id is an atom.
const REFERENCE_FIELDS: [&str; 3] = [
    "transport_id",
    "local_certificate_id",
    "remote_certificate_id",
];

/// An instant as the engine tells it, how long ago in milliseconds, and as the report has it.
const AGE_FIELD: &str = "last_seen_age_ms";
const INSTANT_FIELD: &str = "last_seen";

/// Fields whose values are W3C enumerations, each with what it may be. Only these become atoms:
/// everything else may come from a peer.
const ENUMERATIONS: &[(&str, &[&str])] = &[
    (
        "signaling_state",
        &[
            "stable",
            "have_local_offer",
            "have_remote_offer",
            "have_local_pranswer",
            "have_remote_pranswer",
            "closed",
        ],
    ),
    (
        "connection_state",
        &[
            "new",
            "connecting",
            "connected",
            "disconnected",
            "failed",
            "closed",
        ],
    ),
    (
        "ice_state",
        &[
            "new",
            "checking",
            "connected",
            "completed",
            "disconnected",
            "failed",
            "closed",
        ],
    ),
    ("ice_gathering_state", &["new", "gathering", "complete"]),
    ("ice_role", &["controlling", "controlled", "unknown"]),
    (
        "dtls_state",
        &["new", "connecting", "connected", "closed", "failed"],
    ),
    ("dtls_role", &["client", "server", "unknown"]),
    ("candidate_type", &["host", "srflx", "prflx", "relay"]),
    ("protocol", &["udp", "tcp", "tls"]),
    ("tcp_type", &["active", "passive", "so"]),
    ("relay_protocol", &["udp", "tcp", "tls"]),
    (
        "state",
        &[
            // Of a candidate pair (RFC 8445 section 6.1.2.6, W3C `RTCStatsIceCandidatePairState`).
            "frozen",
            "waiting",
            "in_progress",
            "failed",
            "succeeded",
            // Of a data channel.
            "connecting",
            "open",
            "closing",
            "closed",
        ],
    ),
    ("kind", &["audio", "video"]),
    ("role", &["source", "sink"]),
];

/// The whole report, stamped with the time at which it is encoded: the engine has no wall clock.
pub fn report_term<'a>(env: Env<'a>, report: &StatsReport) -> Term<'a> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let timestamp = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    report
        .entries
        .iter()
        .fold(Term::map_new(env), |map, entry| {
            let id = id_term(env, &entry.id);
            let fields = entry_term(env, id, timestamp, entry);
            map.map_put(id, fields).unwrap_or(map)
        })
}

fn id_term<'a>(env: Env<'a>, id: &str) -> Term<'a> {
    if ATOM_IDS.contains(&id) {
        atoms::of_our_own(env, id)
    } else {
        id.encode(env)
    }
}

fn entry_term<'a>(env: Env<'a>, id: Term<'a>, timestamp: u64, entry: &StatsEntry) -> Term<'a> {
    let mut keys = vec![
        atoms::id().to_term(env),
        atoms::type_().to_term(env),
        atoms::timestamp().to_term(env),
    ];
    let mut values = vec![id, type_term(env, entry), timestamp.encode(env)];
    for (name, value) in &entry.fields {
        if matches!(name.as_str(), "id" | "type" | "timestamp") {
            continue;
        }
        if name == AGE_FIELD {
            keys.push(atoms::named(env, INSTANT_FIELD));
            // Ages are positive and far below 2^53 ms.
            let instant = value
                .as_f64()
                .map(|age| timestamp.saturating_sub(age as u64));
            values.push(instant.encode(env));
            continue;
        }
        keys.push(atoms::of_our_own(env, name));
        values.push(field_term(env, entry.kind, name, value));
    }
    Term::map_from_term_arrays(env, &keys, &values).unwrap_or_else(|_| Term::map_new(env))
}

/// Both certificates are of type `:certificate`, and so on: what the entry says.
fn type_term<'a>(env: Env<'a>, entry: &StatsEntry) -> Term<'a> {
    atoms::named(env, entry.kind)
}

fn field_term<'a>(env: Env<'a>, kind: &str, name: &str, value: &Value) -> Term<'a> {
    let Value::String(text) = value else {
        return value_term(env, value);
    };
    if ADDRESS_FIELDS.contains(&name) {
        return match text.parse::<IpAddr>() {
            Ok(address) => address_term(env, address),
            Err(_) => text.encode(env),
        };
    }
    if REFERENCE_FIELDS.contains(&name) {
        return id_term(env, text);
    }
    // A data channel's protocol is the application's string.
    if !(kind == "data_channel" && name == "protocol") && is_member(name, text) {
        return atoms::of_our_own(env, text);
    }
    text.encode(env)
}

fn is_member(name: &str, value: &str) -> bool {
    ENUMERATIONS
        .iter()
        .any(|(field, members)| *field == name && members.contains(&value))
}

fn value_term<'a>(env: Env<'a>, value: &Value) -> Term<'a> {
    match value {
        Value::Null => atoms::nil().to_term(env),
        Value::Bool(boolean) => boolean.encode(env),
        Value::Number(number) => number
            .as_u64()
            .map(|number| number.encode(env))
            .or_else(|| number.as_i64().map(|number| number.encode(env)))
            .or_else(|| number.as_f64().map(|number| number.encode(env)))
            .unwrap_or_else(|| atoms::nil().to_term(env)),
        Value::String(text) => text.encode(env),
        Value::Array(values) => values
            .iter()
            .map(|value| value_term(env, value))
            .collect::<Vec<_>>()
            .encode(env),
        // The names of fields are written in the engine, also one level down.
        Value::Object(fields) => fields
            .iter()
            .fold(Term::map_new(env), |map, (name, value)| {
                map.map_put(atoms::of_our_own(env, name), value_term(env, value))
                    .unwrap_or(map)
            }),
    }
}
