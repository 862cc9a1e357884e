//! RTP header extensions: which ids they get and which an answer takes.

use super::sdp::{Extension, Section};
use crate::w3c::Direction;
use std::collections::BTreeMap;

/// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143 section 15).
const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (RFC 8852).
pub(super) const RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
/// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id` (RFC 8852).
pub(super) const REPAIRED_RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
/// The sequence number of transport-wide congestion control.
pub(super) const TRANSPORT_CC_URI: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// The ids that fit the one-byte header form (RFC 8285 section 4.2).
const ONE_BYTE_IDS: std::ops::RangeInclusive<u8> = 1..=14;

/// The ids that need the two-byte form. 15 is left out: it means something else in the one-byte
/// form, and parsers stumble over it.
const TWO_BYTE_IDS: std::ops::RangeInclusive<u8> = 16..=255;

/// Which id means which extension in this connection: one table for all m-lines, since they are
/// bundled (RFC 9143 section 9.2), never changed by us afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ExtensionIds {
    known: BTreeMap<u8, String>,
}

impl ExtensionIds {
    /// Remembers the ids of a description. The peer's word counts over ours.
    pub fn learn(&mut self, extensions: &[Extension]) {
        for extension in extensions {
            if let Some(id) = wire_id(extension.id, true) {
                self.known.insert(id, extension.uri.clone());
            }
        }
    }

    /// The id for an extension that we offer; `None` when all are taken.
    pub fn assign(&mut self, uri: &str) -> Option<u8> {
        if let Some((id, _)) = self.known.iter().find(|(_, known)| *known == uri) {
            return Some(*id);
        }
        let id = own_id(uri)
            .into_iter()
            .chain(ONE_BYTE_IDS)
            .chain(TWO_BYTE_IDS)
            .find(|id| !self.known.contains_key(id))?;
        self.known.insert(id, uri.to_owned());
        Some(id)
    }
}

/// The ids that we prefer. Chromium never offers one of these for another extension, and it must
/// not: when glare makes it take an offer back and take ours, its transceivers keep the ids that
/// they had offered, and then it refuses to offer them anew where ours mean something else.
fn own_id(uri: &str) -> Option<u8> {
    match uri {
        MID_URI => Some(9),
        RID_URI => Some(10),
        REPAIRED_RID_URI => Some(11),
        TRANSPORT_CC_URI => Some(12),
        _ => None,
    }
}

/// Whether an offer that uses `id` must allow two-byte headers beside one-byte ones.
pub(super) fn needs_mixed(id: u16) -> bool {
    !(1..=14).contains(&id)
}

/// The id, if it can stand in a packet.
fn wire_id(id: u16, mixed: bool) -> Option<u8> {
    let id = u8::try_from(id).ok()?;
    (ONE_BYTE_IDS.contains(&id) || (mixed && TWO_BYTE_IDS.contains(&id))).then_some(id)
}

/// What an answer says of an offer's extensions: those we support, with the offer's ids and the
/// direction turned round (RFC 8285 section 6). Of several lines for one URI or one id the first
/// counts.
pub(super) fn answer(offer: &Section, supported: &[&str]) -> Vec<Extension> {
    let mut accepted: Vec<Extension> = Vec::new();
    for extension in &offer.extensions {
        let usable = wire_id(extension.id, offer.allow_mixed).is_some()
            && extension.direction != Direction::Inactive
            && supported.contains(&extension.uri.as_str())
            && !accepted
                .iter()
                .any(|a| a.uri == extension.uri || a.id == extension.id);
        if usable {
            accepted.push(Extension {
                id: extension.id,
                direction: extension.direction.reversed(),
                uri: extension.uri.clone(),
            });
        }
    }
    accepted
}

/// The extensions in force once both descriptions are there: the answer's, where the offer says
/// the same.
pub(super) fn negotiated(offer: &Section, answer: &Section) -> BTreeMap<u8, String> {
    let mixed = offer.allow_mixed && answer.allow_mixed;
    answer
        .extensions
        .iter()
        .filter(|a| {
            offer
                .extensions
                .iter()
                .any(|o| o.id == a.id && o.uri == a.uri)
        })
        .filter_map(|a| Some((wire_id(a.id, mixed)?, a.uri.clone())))
        .collect()
}

/// The extensions that may arrive between our offer and its answer.
pub(super) fn offered(offer: &Section) -> BTreeMap<u8, String> {
    offer
        .extensions
        .iter()
        .filter_map(|e| Some((wire_id(e.id, true)?, e.uri.clone())))
        .collect()
}
