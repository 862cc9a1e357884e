//! `sendEncodings`: what `addTransceiver` and `setParameters` check of them, and what they fill in
//! (W3C webrtc-pc sections 5.1 and 5.2.8).

use super::parse::is_rid;
use crate::command::{EncodingSettings, RtpEncoding};
use crate::error::Error;
use crate::w3c::Kind;

/// Layers of one sender: more than any encoder makes, few enough for SSRCs and SDP.
pub(super) const MAX_ENCODINGS: usize = 16;

/// The longest rid that the W3C lets an application choose.
const MAX_RID: usize = 16;

/// The encodings of a new sender, from those given to `addTransceiver`.
pub(super) fn initial(kind: Kind, given: Vec<RtpEncoding>) -> Result<Vec<RtpEncoding>, Error> {
    check_rids(kind, &given)?;
    let mut encodings = given;
    if encodings.is_empty() {
        return Ok(single(kind));
    }
    // One stream needs no name.
    if let [only] = encodings.as_mut_slice() {
        only.rid = None;
    }
    let scaled = |encoding: &RtpEncoding| encoding.settings.scale_resolution_down_by.is_some();
    if kind == Kind::Video && !encodings.iter().any(scaled) {
        // Each layer has half the width and height of the next: 4, 2, 1.
        let mut scale = 1.0;
        for encoding in encodings.iter_mut().rev() {
            encoding.settings.scale_resolution_down_by = Some(scale);
            scale *= 2.0;
        }
    }
    for encoding in &mut encodings {
        settle(kind, &mut encoding.settings)?;
    }
    Ok(encodings)
}

/// The one encoding of a sender that was told of none.
pub(super) fn single(kind: Kind) -> Vec<RtpEncoding> {
    let mut encoding = RtpEncoding::default();
    encoding.settings.scale_resolution_down_by = (kind == Kind::Video).then_some(1.0);
    vec![encoding]
}

/// Checks ranges, and fills in and leaves out what the kind has and has not.
pub(super) fn settle(kind: Kind, settings: &mut EncodingSettings) -> Result<(), Error> {
    let scale = settings.scale_resolution_down_by.unwrap_or(1.0);
    let framerate = settings.max_framerate.unwrap_or(0.0);
    let in_range = scale >= 1.0 && scale.is_finite() && framerate >= 0.0 && framerate.is_finite();
    match kind {
        Kind::Audio => {
            settings.scale_resolution_down_by = None;
            settings.max_framerate = None;
        }
        Kind::Video if !in_range => return Err(Error::InvalidModification),
        Kind::Video => settings.scale_resolution_down_by = Some(scale),
    }
    Ok(())
}

fn check_rids(kind: Kind, encodings: &[RtpEncoding]) -> Result<(), Error> {
    let rids: Vec<_> = encodings.iter().filter_map(|e| e.rid.as_ref()).collect();
    let unique = (1..rids.len()).all(|at| !rids.iter().take(at).any(|r| rids.get(at) == Some(r)));
    let valid = rids
        .iter()
        .all(|rid| is_rid(rid.as_str()) && rid.as_str().len() <= MAX_RID);
    let named = rids.len() == encodings.len() || encodings.len() == 1;
    let few = encodings.len()
        <= if kind == Kind::Video {
            MAX_ENCODINGS
        } else {
            1
        };
    if unique && valid && named && few {
        Ok(())
    } else {
        Err(Error::InvalidOption)
    }
}
