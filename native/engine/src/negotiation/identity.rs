//! Names that negotiation makes up: ids, SSRCs, ICE credentials, mids.
//!
//! `rand`'s thread generator is a CSPRNG, which RFC 8445 section 5.3 asks of ICE passwords.

use super::transceiver::Transceiver;
use crate::plan::IceCredentials;
use std::collections::HashSet;

/// `ice-char` (RFC 8839 section 5.4): 64 of them, so six random bits choose one without bias.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Characters of a user name fragment: 48 bits, where RFC 8445 section 5.3 asks for 24.
const UFRAG_LENGTH: usize = 8;

/// Characters of a password: 144 bits, where RFC 8445 section 5.3 asks for 128.
const PWD_LENGTH: usize = 24;

/// Ids stay small integers on the BEAM (60 bits with sign).
const ID_BITS: u32 = 59;

/// Random `ice-char`s.
pub(super) fn ice_text(length: usize) -> String {
    (0..length)
        .map(|_| {
            let index = usize::from(rand::random::<u8>() & 63);
            char::from(ICE_CHARS.get(index).copied().unwrap_or(b'A'))
        })
        .collect()
}

/// Fresh credentials.
pub(super) fn credentials() -> IceCredentials {
    IceCredentials {
        ufrag: ice_text(UFRAG_LENGTH),
        pwd: ice_text(PWD_LENGTH),
    }
}

/// A session id (RFC 9429 section 5.2.1: 64 bits, the highest zero). 62 bits here, so that it
/// fits every parser's signed number.
pub(super) fn session_id() -> u64 {
    rand::random::<u64>() >> 2
}

/// An id that no transceiver, sender, receiver or track of this connection has.
pub(super) fn id(transceivers: &[Transceiver]) -> u64 {
    loop {
        let candidate = rand::random::<u64>() >> (u64::BITS - ID_BITS);
        if candidate != 0 && !transceivers.iter().any(|t| t.names(candidate)) {
            return candidate;
        }
    }
}

/// An SSRC that neither we nor the peer's SDP use in this connection.
pub(super) fn ssrc(transceivers: &[Transceiver], besides: &[u32]) -> u32 {
    loop {
        let candidate = rand::random::<u32>();
        if candidate != 0
            && !besides.contains(&candidate)
            && !transceivers.iter().any(|t| t.uses_ssrc(candidate))
        {
            return candidate;
        }
    }
}

/// The next numeric mid that is not in use.
pub(super) fn mid(used: &mut HashSet<String>, next: &mut u64) -> String {
    loop {
        let mid = next.to_string();
        *next = next.saturating_add(1);
        if used.insert(mid.clone()) {
            return mid;
        }
    }
}
