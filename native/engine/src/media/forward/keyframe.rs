//! Where a receiver that has nothing yet can begin: the first packet of a keyframe, by payload
//! format. Reads a few bytes of each payload, which a peer chose.

use super::descriptor::{vp8, vp9};
use crate::w3c::{Codec, Kind};

/// H264 NAL unit types (RFC 6184 table 1, ITU-T H.264 table 7-1).
const H264_IDR: u8 = 5;
const H264_SPS: u8 = 7;
const H264_STAP_A: u8 = 24;
const H264_FU_A: u8 = 28;

/// H265 NAL unit types (RFC 7798 section 4.4, ITU-T H.265 table 7-1).
const H265_FIRST_IRAP: u8 = 16;
const H265_LAST_IRAP: u8 = 23;
const H265_VPS: u8 = 32;
const H265_AP: u8 = 48;
const H265_FU: u8 = 49;

/// What is known of a codec's payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PayloadFormat {
    /// Every packet can be begun with: audio, and video of which nothing is known.
    Any,
    Vp8,
    Vp9,
    /// `true` where SDP carries the parameter sets, so that the stream need not.
    H264(bool),
    /// Likewise.
    H265(bool),
    Av1,
}

impl PayloadFormat {
    pub(super) fn of(kind: Kind, codec: &Codec) -> Self {
        if kind == Kind::Audio {
            return Self::Any;
        }
        let (_, name) = codec.mime_type.split_once('/').unwrap_or_default();
        let out_of_band = codec
            .fmtp
            .as_deref()
            .is_some_and(|fmtp| fmtp.contains("sprop-"));
        match name.to_ascii_lowercase().as_str() {
            "vp8" => Self::Vp8,
            "vp9" => Self::Vp9,
            "h264" => Self::H264(out_of_band),
            "h265" => Self::H265(out_of_band),
            "av1" => Self::Av1,
            _ => Self::Any,
        }
    }

    /// Whether a receiver can begin with this payload.
    pub(super) fn begins(self, payload: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Vp8 => vp8::begins_keyframe(payload),
            Self::Vp9 => vp9::begins_keyframe(payload),
            Self::H264(out_of_band) => h264(payload, out_of_band),
            Self::H265(out_of_band) => h265(payload, out_of_band),
            Self::Av1 => av1(payload),
        }
    }
}

/// A keyframe begins with its parameter sets: a decoder that is new needs them. Beginning with the
/// picture itself would leave them behind where they come in a packet of their own.
fn h264(payload: &[u8], out_of_band: bool) -> bool {
    let begins = |kind: u8| kind == H264_SPS || (out_of_band && kind == H264_IDR);
    let Some((&header, rest)) = payload.split_first() else {
        return false;
    };
    match header & 0x1f {
        H264_STAP_A => any_unit(rest, |unit| begins(unit & 0x1f)),
        // RFC 6184 section 5.8: the start bit, then the type.
        H264_FU_A => rest
            .first()
            .is_some_and(|fragment| fragment & 0x80 != 0 && begins(fragment & 0x1f)),
        kind => begins(kind),
    }
}

fn h265(payload: &[u8], out_of_band: bool) -> bool {
    let begins = |kind: u8| {
        kind == H265_VPS || (out_of_band && (H265_FIRST_IRAP..=H265_LAST_IRAP).contains(&kind))
    };
    let Some((header, rest)) = payload.split_first_chunk::<2>() else {
        return false;
    };
    let [first, _] = *header;
    match first >> 1 & 0x3f {
        H265_AP => any_unit(rest, |unit| begins(unit >> 1 & 0x3f)),
        H265_FU => rest
            .first()
            .is_some_and(|fragment| fragment & 0x80 != 0 && begins(fragment & 0x3f)),
        kind => begins(kind),
    }
}

/// Whether one of the units of an aggregation packet is wanted: each has a length of two bytes.
fn any_unit(mut rest: &[u8], wanted: impl Fn(u8) -> bool) -> bool {
    while let Some((length, units)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((unit, behind)) = units.split_at_checked(length) else {
            return false;
        };
        if unit.first().is_some_and(|&first| wanted(first)) {
            return true;
        }
        rest = behind;
    }
    false
}

/// The aggregation header (AV1 RTP payload specification, section 4.4): N is the first packet of a
/// coded video sequence, Z would continue a fragment.
fn av1(payload: &[u8]) -> bool {
    payload
        .first()
        .is_some_and(|header| header & 0x08 != 0 && header & 0x80 == 0)
}

#[cfg(test)]
mod tests;
