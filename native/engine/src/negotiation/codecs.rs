//! When two descriptions of a codec mean the same codec, and what an answer says of it.

use crate::w3c::Codec;
use std::collections::BTreeMap;

/// Payload types for codecs that have none: the dynamic range, then the one that RFC 8858's
/// demultiplexing leaves free of RTCP (RFC 5761 section 4).
const DYNAMIC_PAYLOAD_TYPES: [std::ops::RangeInclusive<u8>; 2] = [96..=127, 35..=65];

/// `name` of `type/name`, for comparing.
fn name(codec: &Codec) -> String {
    let name = codec
        .mime_type
        .split_once('/')
        .map_or(codec.mime_type.as_str(), |(_, name)| name);
    name.to_ascii_lowercase()
}

/// Whether it is a retransmission format (RFC 4588).
pub(super) fn is_rtx(codec: &Codec) -> bool {
    name(codec) == "rtx"
}

/// Whether it stands for tones, not for sound (RFC 4733).
pub(super) fn is_telephone_event(codec: &Codec) -> bool {
    name(codec) == "telephone-event"
}

/// The payload type that an RTX format repairs.
pub(super) fn apt(codec: &Codec) -> Option<u8> {
    if is_rtx(codec) {
        parameter(codec, "apt")?.parse().ok()
    } else {
        None
    }
}

/// An RTX format for `apt`.
pub(super) fn rtx(payload_type: u8, apt: u8, clock_rate: u32) -> Codec {
    Codec {
        payload_type,
        mime_type: "video/rtx".to_owned(),
        clock_rate,
        channels: None,
        fmtp: Some(format!("apt={apt}")),
        feedback: Vec::new(),
    }
}

/// The value of one `fmtp` parameter.
fn parameter<'a>(codec: &'a Codec, key: &str) -> Option<&'a str> {
    codec.fmtp.as_deref()?.split(';').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case(key)
            .then_some(value.trim())
    })
}

fn number(codec: &Codec, key: &str, default: u32) -> u32 {
    parameter(codec, key)
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Whether the two can talk to each other: same name, clock and channels, and the parameters
/// that the codec's RTP payload format says must agree. A codec we do not know has none.
pub(crate) fn matches(a: &Codec, b: &Codec) -> bool {
    let (name_a, name_b) = (a.mime_type.as_str(), b.mime_type.as_str());
    if !name_a.eq_ignore_ascii_case(name_b)
        || a.clock_rate != b.clock_rate
        || a.channels.unwrap_or(1) != b.channels.unwrap_or(1)
    {
        return false;
    }
    let same = |key, default| number(a, key, default) == number(b, key, default);
    match name(a).as_str() {
        // RFC 6184 section 8.2.2
        "h264" => same("packetization-mode", 0) && h264_profile(a) == h264_profile(b),
        // RFC 7798 section 7.2.2; the level is declarative.
        "h265" => {
            let mode = |c| {
                parameter(c, "tx-mode")
                    .unwrap_or("SRST")
                    .to_ascii_uppercase()
            };
            same("profile-space", 0)
                && same("profile-id", 1)
                && same("tier-flag", 0)
                && mode(a) == mode(b)
        }
        // RFC 9628 section 6
        "vp9" => same("profile-id", 0),
        // AV1 RTP payload specification, section 7.2.1
        "av1" => same("profile", 0),
        "rtx" => apt(a) == apt(b),
        _ => true,
    }
}

/// Whether nothing is said of the format.
fn is_silent(codec: &Codec) -> bool {
    let fmtp = codec.fmtp.as_deref();
    fmtp.is_none_or(|fmtp| fmtp.trim().is_empty())
}

/// Whether `theirs` is what the configured codec `ours` stands for. H.264 that was configured
/// without a word of its format stands for both packetization modes: the application said nothing
/// against either, and an answer repeats the offer's.
pub(super) fn accepts(ours: &Codec, theirs: &Codec) -> bool {
    if !is_silent(ours) || name(ours) != "h264" {
        return matches(ours, theirs);
    }
    let mode = number(theirs, "packetization-mode", 0);
    let said = Codec {
        fmtp: Some(format!("packetization-mode={mode}")),
        ..ours.clone()
    };
    mode <= 1 && matches(&said, theirs)
}

/// The configured codec that `theirs` is: one that says so, else one that stands for it.
pub(super) fn configured<'a>(ours: &'a [Codec], theirs: &Codec) -> Option<&'a Codec> {
    let said = ours.iter().find(|codec| matches(codec, theirs));
    said.or_else(|| ours.iter().find(|codec| accepts(codec, theirs)))
}

/// The codec of `list` that the configured `ours` is: the same, else one that it stands for.
pub(super) fn counterpart<'a>(list: &'a [Codec], ours: &Codec) -> Option<&'a Codec> {
    find(list, ours).or_else(|| list.iter().find(|codec| accepts(ours, codec)))
}

/// The codec of `list` that means `codec`: the one with its payload type, else any.
pub(super) fn find<'a>(list: &'a [Codec], codec: &Codec) -> Option<&'a Codec> {
    let same = || list.iter().filter(|c| matches(c, codec));
    same()
        .find(|c| c.payload_type == codec.payload_type)
        .or_else(|| same().next())
}

/// The H.264 profiles that `profile-level-id` tells apart (RFC 6184 section 8.1, table 5).
#[derive(Debug, PartialEq, Eq)]
enum H264Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
    Other(u8, u8),
}

/// `profile_idc`, `profile-iop` and `level_idc`. RFC 6184 section 8.1 has baseline at level 1 for
/// who says none; libwebrtc, and so every peer that talks to browsers, means constrained baseline
/// at level 3.1.
fn profile_level_id(codec: &Codec) -> Option<[u8; 3]> {
    let Some(text) = parameter(codec, "profile-level-id") else {
        return Some([0x42, 0xe0, 0x1f]);
    };
    let number = u32::from_str_radix(text, 16).ok();
    let sound = text.len() == 6 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let [_, profile, constraints, level] = number.filter(|_| sound)?.to_be_bytes();
    Some([profile, constraints, level])
}

/// `None` for what nobody can read, which is nobody's profile.
fn h264_profile(codec: &Codec) -> Option<H264Profile> {
    let [profile, constraints, _] = profile_level_id(codec)?;
    Some(match profile {
        0x42 if constraints & 0x40 != 0 => H264Profile::ConstrainedBaseline,
        0x42 => H264Profile::Baseline,
        0x4d if constraints & 0x80 != 0 => H264Profile::ConstrainedBaseline,
        0x4d => H264Profile::Main,
        0x58 if constraints & 0xc0 == 0xc0 => H264Profile::ConstrainedBaseline,
        0x58 if constraints & 0x80 != 0 => H264Profile::Baseline,
        0x64 if constraints & 0x0c == 0x0c => H264Profile::ConstrainedHigh,
        0x64 => H264Profile::High,
        _ => H264Profile::Other(profile, constraints),
    })
}

/// What our answer says of `offered`, which matches our `ours`: their payload type and name, our
/// parameters, and the feedback that both have.
pub(super) fn answer(ours: &Codec, offered: &Codec) -> Codec {
    Codec {
        payload_type: offered.payload_type,
        mime_type: offered.mime_type.clone(),
        clock_rate: offered.clock_rate,
        channels: offered.channels,
        fmtp: answer_fmtp(ours, offered),
        feedback: common_feedback(offered, ours),
    }
}

/// The feedback of `first` that `second` has too.
pub(super) fn common_feedback(first: &Codec, second: &Codec) -> Vec<String> {
    let both = |text: &&String| second.feedback.iter().any(|f| f.eq_ignore_ascii_case(text));
    first.feedback.iter().filter(both).cloned().collect()
}

fn answer_fmtp(ours: &Codec, offered: &Codec) -> Option<String> {
    let Some(fmtp) = ours.fmtp.as_deref().filter(|_| !is_silent(ours)) else {
        return offered.fmtp.clone();
    };
    if name(ours) != "h264" {
        return Some(fmtp.to_owned());
    }
    // The profile is the offer's own spelling; without asymmetry on both sides the level is the
    // lower one (RFC 6184 section 8.2.2).
    let [profile, constraints, their_level] = profile_level_id(offered)?;
    let [_, _, our_level] = profile_level_id(ours)?;
    let asymmetric = |c| number(c, "level-asymmetry-allowed", 0) == 1;
    let level = if asymmetric(ours) && asymmetric(offered) {
        our_level
    } else {
        our_level.min(their_level)
    };
    let said = format!("{profile:02x}{constraints:02x}{level:02x}");
    let mut parts: Vec<String> = fmtp
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| match part.split_once('=') {
            Some((key, _)) if key.trim().eq_ignore_ascii_case("profile-level-id") => {
                format!("{}={said}", key.trim())
            }
            _ => part.to_owned(),
        })
        .collect();
    // Ours by default, theirs by name.
    if parameter(ours, "profile-level-id").is_none()
        && parameter(offered, "profile-level-id").is_some()
    {
        parts.push(format!("profile-level-id={said}"));
    }
    Some(parts.join(";"))
}

/// The codecs without RTX, and the RTX payload types of those with the payload type each repairs.
pub(super) fn split(codecs: &[Codec]) -> (Vec<Codec>, BTreeMap<u8, u8>) {
    let media: Vec<Codec> = codecs.iter().filter(|c| !is_rtx(c)).cloned().collect();
    let repairs = codecs
        .iter()
        .filter_map(|c| Some((c.payload_type, apt(c)?)))
        .filter(|(_, apt)| media.iter().any(|c| c.payload_type == *apt))
        .collect();
    (media, repairs)
}

/// Which payload type means which codec. It holds for the whole connection, because all m-lines
/// share one transport (RFC 9143 section 9.1), and is never changed by us afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PayloadTypes {
    known: BTreeMap<u8, Codec>,
}

impl PayloadTypes {
    /// Remembers the payload types of a description. The peer's word counts over ours.
    pub fn learn(&mut self, codecs: &[Codec]) {
        for codec in codecs {
            match self.known.get(&codec.payload_type) {
                Some(known) if matches(known, codec) => {}
                _ => {
                    self.known.insert(codec.payload_type, codec.clone());
                }
            }
        }
    }

    /// The payload type for a codec that an offer of ours introduces; `None` when all are taken.
    pub fn assign(&mut self, codec: &Codec) -> Option<u8> {
        let preferred = codec.payload_type;
        if self
            .known
            .get(&preferred)
            .is_some_and(|known| matches(known, codec))
        {
            return Some(preferred);
        }
        if let Some((payload_type, _)) = self.known.iter().find(|(_, known)| matches(known, codec))
        {
            return Some(*payload_type);
        }
        let free = if self.known.contains_key(&preferred) || preferred > 127 {
            self.free(&[])?
        } else {
            preferred
        };
        self.known.insert(
            free,
            Codec {
                payload_type: free,
                ..codec.clone()
            },
        );
        Some(free)
    }

    /// The payload type of the RTX format that repairs `apt`. `reserved` are the configuration's
    /// payload types, which codecs not offered yet will want.
    pub fn assign_rtx(&mut self, apt_of: u8, clock_rate: u32, reserved: &[u8]) -> Option<u8> {
        if let Some((payload_type, _)) = self
            .known
            .iter()
            .find(|(_, known)| apt(known) == Some(apt_of))
        {
            return Some(*payload_type);
        }
        let free = self.free(reserved).or_else(|| self.free(&[]))?;
        self.known.insert(free, rtx(free, apt_of, clock_rate));
        Some(free)
    }

    fn free(&self, reserved: &[u8]) -> Option<u8> {
        DYNAMIC_PAYLOAD_TYPES
            .iter()
            .cloned()
            .flatten()
            .find(|pt| !self.known.contains_key(pt) && !reserved.contains(pt))
    }
}
