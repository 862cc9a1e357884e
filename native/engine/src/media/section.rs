//! An m-line of the plan in the form that packets need: ids and payload types looked up once.

use crate::plan::{MediaSection, ReceivePlan};
use crate::w3c::Codec;
use std::collections::BTreeMap;

const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const TWCC_URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const AUDIO_LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const MIXED_LEVELS_URI: &str = "urn:ietf:params:rtp-hdrext:csrc-audio-level";
const ABS_SEND_TIME_URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

/// The wire ids of the extensions that the engine reads and writes itself. 0 stands for "not
/// negotiated": no element ever has that id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ExtensionIds {
    pub(super) mid: u8,
    pub(super) rid: u8,
    pub(super) repaired_rid: u8,
    pub(super) twcc: u8,
    pub(super) abs_send_time: u8,
    /// RFC 6464. Read, never written: levels are the program's to tell.
    pub(super) audio_level: u8,
    /// RFC 6465, likewise.
    pub(super) mixed_levels: u8,
}

impl ExtensionIds {
    fn of(extensions: &BTreeMap<u8, String>) -> Self {
        let mut ids = Self::default();
        for (&id, uri) in extensions {
            match uri.as_str() {
                MID_URI => ids.mid = id,
                RID_URI => ids.rid = id,
                REPAIRED_RID_URI => ids.repaired_rid = id,
                TWCC_URI => ids.twcc = id,
                ABS_SEND_TIME_URI => ids.abs_send_time = id,
                AUDIO_LEVEL_URI => ids.audio_level = id,
                MIXED_LEVELS_URI => ids.mixed_levels = id,
                _ => {}
            }
        }
        ids
    }

    /// Fills what is missing here from another section: bundled m-lines share their ids
    /// (RFC 8843 section 9.2), but not every one negotiates every extension.
    fn or(self, other: Self) -> Self {
        let pick = |a: u8, b: u8| if a == 0 { b } else { a };
        Self {
            mid: pick(self.mid, other.mid),
            rid: pick(self.rid, other.rid),
            repaired_rid: pick(self.repaired_rid, other.repaired_rid),
            twcc: pick(self.twcc, other.twcc),
            abs_send_time: pick(self.abs_send_time, other.abs_send_time),
            audio_level: pick(self.audio_level, other.audio_level),
            mixed_levels: pick(self.mixed_levels, other.mixed_levels),
        }
    }

    /// The ids to read a packet by before its section is known.
    pub(super) fn shared(sections: &[Section]) -> Self {
        sections
            .iter()
            .fold(Self::default(), |ids, section| ids.or(section.ids))
    }

    /// Whether the engine writes this element itself, whatever the program put there.
    pub(super) fn owns(&self, id: u8) -> bool {
        [
            self.mid,
            self.rid,
            self.repaired_rid,
            self.twcc,
            self.abs_send_time,
        ]
        .contains(&id)
    }
}

/// What a payload type means in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PayloadKind {
    /// A codec: its place in [`ReceivePlan::codecs`].
    Codec(usize),
    /// RTX of this payload type.
    Repair(u8),
}

/// A keyframe that was asked for before there was a stream to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WantedKeyframes {
    /// Asked for without a layer.
    pub(super) any: bool,
    /// Asked for by layer: places in [`ReceivePlan::rids`].
    pub(super) layers: Vec<usize>,
}

impl WantedKeyframes {
    pub(super) fn is_empty(&self) -> bool {
        !self.any && self.layers.is_empty()
    }
}

/// One m-line.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) plan: MediaSection,
    pub(super) ids: ExtensionIds,
    /// Feedback for what arrives here is wanted: extension and `transport-cc` are negotiated.
    pub(super) twcc_feedback: bool,
    pub(super) wanted_keyframes: WantedKeyframes,
}

impl Section {
    pub(super) fn new(plan: &MediaSection) -> Self {
        let ids = ExtensionIds::of(&plan.extensions);
        let twcc_feedback = ids.twcc != 0
            && plan
                .receive
                .iter()
                .flat_map(|receive| &receive.codecs)
                .any(|codec| has_feedback(codec, "transport-cc"));
        Self {
            plan: plan.clone(),
            ids,
            twcc_feedback,
            wanted_keyframes: WantedKeyframes::default(),
        }
    }

    pub(super) fn receive(&self) -> Option<&ReceivePlan> {
        self.plan.receive.as_ref()
    }

    /// What a payload type means here, if we receive it.
    pub(super) fn payload_kind(&self, payload_type: u8) -> Option<PayloadKind> {
        let receive = self.receive()?;
        if let Some(at) = receive
            .codecs
            .iter()
            .position(|c| c.payload_type == payload_type)
        {
            return Some(PayloadKind::Codec(at));
        }
        receive
            .rtx
            .get(&payload_type)
            .map(|&apt| PayloadKind::Repair(apt))
    }

    /// The place of a layer in the negotiated list.
    pub(super) fn layer(&self, rid: &[u8]) -> Option<usize> {
        self.receive()?
            .rids
            .iter()
            .position(|known| known.as_str().as_bytes() == rid)
    }
}

/// Whether a codec was negotiated with this `a=rtcp-fb` value.
pub(super) fn has_feedback(codec: &Codec, value: &str) -> bool {
    codec
        .feedback
        .iter()
        .any(|feedback| feedback.trim().eq_ignore_ascii_case(value))
}
