//! Statistics (section 6 of the contract). Each room fills in what it counts.

use crate::ids::{ReceiverId, SenderId, TrackId};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// Whose statistics `get_stats/2` asks for (W3C webrtc-pc section 8.2, "selector").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsSelector {
    /// A track, sent or received.
    Track(TrackId),
    /// A sender.
    Sender(SenderId),
    /// A receiver.
    Receiver(ReceiverId),
}

/// `get_stats/1`: entries by id. A counter that nobody counts is absent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StatsReport {
    /// Every entry.
    pub entries: Vec<StatsEntry>,
}

/// One entry: `id`, `type` and its fields as JSON values.
#[derive(Clone, Debug, Serialize)]
pub struct StatsEntry {
    /// Unique in the report.
    pub id: String,
    /// `peer_connection`, `transport`, `inbound_rtp`, …
    pub kind: &'static str,
    /// The fields, in snake_case.
    pub fields: serde_json::Map<String, serde_json::Value>,
}

impl StatsReport {
    /// The entries that `wanted` takes, and all that they refer to, directly or not: the stats
    /// selection algorithm (webrtc-pc section 8.5).
    #[must_use]
    pub fn select(self, wanted: impl Fn(&StatsEntry) -> bool) -> Self {
        let by_id: HashMap<&str, &StatsEntry> = self
            .entries
            .iter()
            .map(|entry| (entry.id.as_str(), entry))
            .collect();
        let mut open: Vec<&StatsEntry> = self.entries.iter().filter(|e| wanted(e)).collect();
        let mut taken: HashSet<String> = HashSet::new();
        while let Some(entry) = open.pop() {
            if !taken.insert(entry.id.clone()) {
                continue;
            }
            let references = entry
                .fields
                .iter()
                .filter(|(name, _)| name.ends_with("_id"));
            open.extend(references.filter_map(|(_, id)| by_id.get(id.as_str()?).copied()));
        }
        drop(by_id);
        let entries = self.entries.into_iter();
        Self {
            entries: entries.filter(|entry| taken.contains(&entry.id)).collect(),
        }
    }
}

impl StatsEntry {
    /// An entry with these fields.
    pub fn new<const N: usize>(
        id: impl Into<String>,
        kind: &'static str,
        fields: [(&'static str, serde_json::Value); N],
    ) -> Self {
        let fields = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Self {
            id: id.into(),
            kind,
            fields,
        }
    }

    /// Adds a field that may be unknown: absent then, never a constant.
    pub fn insert_some(&mut self, name: &'static str, value: Option<impl Into<serde_json::Value>>) {
        if let Some(value) = value {
            self.fields.insert(name.to_owned(), value.into());
        }
    }
}
