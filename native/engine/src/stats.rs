//! Statistics (section 6 of the contract). Each room fills in what it counts.

use serde::Serialize;

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
