//! The checks of a remote description (section 4 of the contract).
//!
//! `:strict` asks every m-line for everything; `:w3c` takes what JSEP calls legal, where only the
//! tagged m-line of the BUNDLE group speaks for the transport (RFC 9143 section 7.1).

use super::answer::is_data_section;
use super::sdp::{Media, Sdp, Section, Setup};
use super::state::Line;
use crate::error::Error;
use crate::plan::Fingerprint;
use crate::w3c::{SdpType, SdpValidation};
use std::collections::HashSet;

/// The hash functions a certificate can be checked with. SHA-1 and MD5 are broken (RFC 8122
/// section 5 keeps them out of new endpoints).
const HASH_FUNCTIONS: [&str; 3] = ["sha-256", "sha-384", "sha-512"];

/// How many bytes the hash functions of RFC 8122 section 5 make.
const HASH_LENGTHS: [(&str, usize); 7] = [
    ("md2", 16),
    ("md5", 16),
    ("sha-1", 20),
    ("sha-224", 28),
    ("sha-256", 32),
    ("sha-384", 48),
    ("sha-512", 64),
];

/// The shortest and the longest user name fragment and password (RFC 8839 section 5.4).
const UFRAG_LENGTH: std::ops::RangeInclusive<usize> = 4..=256;
const PWD_LENGTH: std::ops::RangeInclusive<usize> = 22..=256;

/// The longest mid we take: it must fit a header extension (RFC 8285 section 4.3).
const MAX_MID: usize = 255;

/// Checks a remote description and fills in what `:w3c` may: mids that are missing (for which it
/// returns `true`, by m-line). Fingerprints we could not check are left out.
pub(super) fn check(
    sdp: &mut Sdp,
    sdp_type: SdpType,
    validation: SdpValidation,
    known: &[Line],
) -> Result<Vec<bool>, Error> {
    let strict = validation == SdpValidation::Strict;
    if strict && sdp.sections.is_empty() {
        return Err(Error::EmptySdp);
    }
    let made = check_mids(sdp, strict, known)?;
    if !strict {
        forget_empty_groups(sdp, sdp_type, &made);
    }
    check_bundle(sdp, sdp_type, strict)?;
    check_data(sdp)?;
    let subjects = subjects(sdp, strict);
    check_rtcp_mux(sdp, &subjects)?;
    check_ice(sdp, &subjects)?;
    check_fingerprints(sdp, &subjects)?;
    check_setup(sdp, &subjects, sdp_type)?;
    for section in &mut sdp.sections {
        section
            .fingerprints
            .retain(|fingerprint| is_usable(fingerprint) && is_fingerprint(fingerprint));
    }
    Ok(made)
}

/// The m-lines whose transport attributes must be right.
fn subjects(sdp: &Sdp, strict: bool) -> Vec<usize> {
    if strict {
        let accepted = |(_, section): &(usize, &Section)| !section.is_rejected();
        sdp.sections
            .iter()
            .enumerate()
            .filter(accepted)
            .map(|(index, _)| index)
            .collect()
    } else {
        sdp.tagged().into_iter().collect()
    }
}

fn of<'a>(sdp: &'a Sdp, subjects: &'a [usize]) -> impl Iterator<Item = &'a Section> {
    subjects.iter().filter_map(|index| sdp.sections.get(*index))
}

fn check_mids(sdp: &mut Sdp, strict: bool, known: &[Line]) -> Result<Vec<bool>, Error> {
    let mut seen: HashSet<String> = HashSet::new();
    for section in &sdp.sections {
        match &section.mid {
            Some(mid) if mid.len() > MAX_MID || !mid.bytes().all(|b| b.is_ascii_graphic()) => {
                return Err(Error::InvalidSdpSyntax);
            }
            Some(mid) if !seen.insert(mid.clone()) => return Err(Error::DuplicatedMid),
            None if strict => return Err(Error::MissingMid),
            _ => {}
        }
    }
    let mut next = 0_u64;
    let mut made = Vec::with_capacity(sdp.sections.len());
    for (index, section) in sdp.sections.iter_mut().enumerate() {
        made.push(section.mid.is_none());
        if section.mid.is_none() {
            let mid = match known.get(index).map(|line| line.mid.as_str().to_owned()) {
                Some(mid) if seen.insert(mid.clone()) => mid,
                _ => super::identity::mid(&mut seen, &mut next),
            };
            section.mid = Some(mid);
        }
    }
    Ok(made)
}

/// A group that has no member is none. Nor is one in an offer that names what no `a=mid` does,
/// where m-lines lack theirs: an answer may show neither names that the offer lacks (RFC 9143
/// section 7.3) nor m-lines accepted outside of the group.
fn forget_empty_groups(sdp: &mut Sdp, sdp_type: SdpType, made: &[bool]) {
    let lacking = sdp_type == SdpType::Offer && made.contains(&true);
    let named = sdp.sections.iter().zip(made).filter(|(_, made)| !**made);
    let named: HashSet<&str> = named.map(|(section, _)| section.mid()).collect();
    let is_sound = |group: &Vec<String>| {
        !group.is_empty() && (!lacking || group.iter().all(|mid| named.contains(mid.as_str())))
    };
    let groups = std::mem::take(&mut sdp.bundle_groups);
    sdp.bundle_groups = groups.into_iter().filter(is_sound).collect();
}

fn check_bundle(sdp: &Sdp, sdp_type: SdpType, strict: bool) -> Result<(), Error> {
    let accepted: Vec<&str> = sdp
        .sections
        .iter()
        .filter(|s| !s.is_rejected())
        .map(Section::mid)
        .collect();
    let group = match sdp.bundle_groups.as_slice() {
        [] if strict => return Err(Error::MissingBundleGroup),
        // One transport is all we have, so an answer cannot ask for two (max-bundle).
        [] if sdp_type != SdpType::Offer && accepted.len() > 1 => {
            return Err(Error::MissingBundleGroup);
        }
        [] => return Ok(()),
        [group] => group,
        _ => return Err(Error::MultipleBundleGroups),
    };
    let mids: HashSet<&str> = sdp.sections.iter().map(Section::mid).collect();
    let mut members = HashSet::new();
    for mid in group {
        if !mids.contains(mid.as_str()) || !members.insert(mid.as_str()) {
            return Err(Error::InvalidBundleGroup);
        }
    }
    let exhaustive = accepted.iter().all(|mid| members.contains(mid));
    if !exhaustive && (strict || sdp_type != SdpType::Offer) {
        return Err(Error::NonExhaustiveBundleGroup);
    }
    Ok(())
}

fn check_data(sdp: &Sdp) -> Result<(), Error> {
    let is_data = |s: &&Section| s.media == Media::Application && !s.is_rejected();
    let mut sections = sdp.sections.iter().filter(is_data);
    let Some(section) = sections.next() else {
        return Ok(());
    };
    if sections.next().is_some() {
        return Err(Error::MultipleDataMlines);
    }
    // Another protocol's m=application is refused in the answer, not an error.
    if section.protocol.ends_with("/SCTP") {
        if section.protocol != "DTLS/SCTP" && !is_data_section(section) {
            return Err(Error::InvalidDatachannelFormat);
        }
        if section.sctp_port.is_none() {
            return Err(Error::NoSctpPort);
        }
    }
    Ok(())
}

fn check_rtcp_mux(sdp: &Sdp, subjects: &[usize]) -> Result<(), Error> {
    if of(sdp, subjects).any(|s| s.kind().is_some() && !s.rtcp_mux) {
        return Err(Error::MissingRtcpMux);
    }
    Ok(())
}

/// Whether the m-lines that speak for one transport say the same of it.
fn all_same<T: PartialEq>(mut values: impl Iterator<Item = T>) -> bool {
    let first = values.next();
    values.all(|value| first.as_ref() == Some(&value))
}

/// Like the checks below: first what is missing, then what disagrees, then how it is written, so
/// that each m-line's first mistake of a kind is told before another's of the next.
fn check_ice(sdp: &Sdp, subjects: &[usize]) -> Result<(), Error> {
    for section in of(sdp, subjects) {
        match (&section.ufrag, &section.pwd) {
            (Some(_), Some(_)) => {}
            (None, None) => return Err(Error::MissingIceCredentials),
            (None, Some(_)) => return Err(Error::MissingIceUfrag),
            (Some(_), None) => return Err(Error::MissingIcePwd),
        }
    }
    if !all_same(of(sdp, subjects).map(|section| (&section.ufrag, &section.pwd))) {
        return Err(Error::ConflictingIceCredentials);
    }
    let is =
        |text: &Option<String>, length| text.as_deref().is_some_and(|t| is_ice_text(t, length));
    let sound = |s: &Section| is(&s.ufrag, UFRAG_LENGTH) && is(&s.pwd, PWD_LENGTH);
    if !of(sdp, subjects).all(sound) {
        return Err(Error::InvalidSdpSyntax);
    }
    Ok(())
}

/// `ice-char`s, and the `-`, `_` and `=` that some servers write.
fn is_ice_text(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+/-_=".contains(&b))
}

fn is_usable(fingerprint: &Fingerprint) -> bool {
    HASH_FUNCTIONS.contains(&fingerprint.algorithm.as_str())
}

/// RFC 8122 section 5: a token, and as many bytes in hexadecimal as that hash function makes.
fn is_fingerprint(fingerprint: &Fingerprint) -> bool {
    let Fingerprint { algorithm, value } = fingerprint;
    let bytes = || value.split(':');
    let is_byte = |pair: &str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    let length = HASH_LENGTHS.iter().find(|(name, _)| name == algorithm);
    !algorithm.is_empty()
        && bytes().all(is_byte)
        && length.is_none_or(|(_, length)| bytes().count() == *length)
}

/// Of several fingerprints (RFC 8122 section 5 allows as many as there are hash functions) those
/// that we can check with count, the others need only be fingerprints.
fn check_fingerprints(sdp: &Sdp, subjects: &[usize]) -> Result<(), Error> {
    let fingerprints = || of(sdp, subjects).map(|section| section.fingerprints.as_slice());
    if fingerprints().any(<[Fingerprint]>::is_empty) {
        return Err(Error::MissingCertFingerprint);
    }
    if !all_same(fingerprints()) {
        return Err(Error::ConflictingCertFingerprints);
    }
    if !fingerprints().all(|all| all.iter().any(is_usable)) {
        return Err(Error::UnsupportedCertFingerprintHashFunction);
    }
    if !fingerprints().flatten().all(is_fingerprint) {
        return Err(Error::InvalidSdpSyntax);
    }
    Ok(())
}

fn check_setup(sdp: &Sdp, subjects: &[usize], sdp_type: SdpType) -> Result<(), Error> {
    // An answer must choose (RFC 8842 section 5.3); one that does not has no role in it.
    let has_role = |section: &Section| match section.setup {
        None => false,
        Some(setup) => sdp_type == SdpType::Offer || setup != Setup::Actpass,
    };
    if !of(sdp, subjects).all(has_role) {
        return Err(Error::MissingDtlsRole);
    }
    if !all_same(of(sdp, subjects).map(|section| section.setup)) {
        return Err(Error::ConflictingDtlsRoles);
    }
    Ok(())
}

/// Whether an offer continues the m-lines of the last exchange (RFC 9429 section 5.2.2): none
/// goes away, and only one that was refused may become another.
pub(super) fn check_offer_continues(offer: &Sdp, lines: &[Line]) -> Result<(), Error> {
    if offer.sections.len() < lines.len() {
        return Err(Error::InvalidSdpSyntax);
    }
    for (section, line) in offer.sections.iter().zip(lines) {
        let same = section.media == line.media && section.mid() == line.mid.as_str();
        if !same && !line.rejected {
            return Err(Error::InvalidSdpSyntax);
        }
    }
    Ok(())
}

/// Whether an answer has the offer's m-lines (RFC 3264 section 6).
pub(super) fn check_answer_fits(answer: &Sdp, offer: &Sdp) -> Result<(), Error> {
    let fits = |(answered, offered): (&Section, &Section)| {
        answered.media == offered.media
            && answered.mid() == offered.mid()
            && (answered.is_rejected() || !offered.is_rejected())
    };
    if answer.sections.len() == offer.sections.len()
        && answer.sections.iter().zip(&offer.sections).all(fits)
    {
        Ok(())
    } else {
        Err(Error::InvalidSdpSyntax)
    }
}
