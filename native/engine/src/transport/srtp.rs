//! SRTP and SRTCP in place (RFC 3711, RFC 7714): a packet is encrypted where it will be sent from
//! and decrypted where it was received, without a copy.
//!
//! Nothing is remembered about a synchronisation source before one of its packets was
//! authenticated, so forged packets cost a check and no memory.

use crate::config::SrtpProfile;
use rtc_crypto::{
    AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CryptoError, HmacAlgorithm, Mac, RTCCrypto,
    StreamCipher, StreamCipherAlgorithm, constant_time_eq,
};
use std::collections::HashMap;

/// Packets behind the newest that are still accepted (RFC 3711 section 3.3.2 asks for at least
/// 64). Repairs arrive late: at 1,000 packets/s this is a second.
const REPLAY_WINDOW: u64 = 1_024;

/// Authenticated sources in one direction. A peer that forwards for a large conference sends a few
/// hundred; each costs about 200 bytes here.
const MAX_SOURCES: usize = 4_096;

/// RFC 7714 section 14.2 and RFC 3711 section 5.2.
const GCM_TAG: usize = 16;
const SHA1_TAG: usize = 10;
/// The encryption flag and the 31-bit index behind an SRTCP packet.
const SRTCP_INDEX: usize = 4;
/// RTCP's fixed header with the sender's SSRC, which SRTCP leaves in the clear.
const RTCP_CLEAR: usize = 8;
const ENCRYPTED_FLAG: u32 = 1 << 31;

impl SrtpProfile {
    /// Bytes of master key and of master salt.
    pub(super) const fn key_lengths(self) -> (usize, usize) {
        match self {
            Self::AeadAes128Gcm => (16, 12),
            Self::Aes128CmHmacSha1_80 => (16, 14),
        }
    }

    const fn rtp_tag(self) -> usize {
        match self {
            Self::AeadAes128Gcm => GCM_TAG,
            Self::Aes128CmHmacSha1_80 => SHA1_TAG,
        }
    }
}

enum Cipher {
    Gcm {
        aead: Box<dyn AeadCipher>,
        salt: [u8; 12],
    },
    Cm {
        cipher: Box<dyn StreamCipher>,
        mac: Box<dyn Mac>,
        salt: [u8; 14],
    },
}

/// One source in one direction.
struct Source {
    ssrc: u32,
    /// The highest index: roll-over counter and sequence number.
    highest: u64,
    /// Which of the indices up to `highest` have been seen; only receivers use it.
    window: [u64; (REPLAY_WINDOW / 64) as usize],
}

impl Source {
    const fn slot(index: u64) -> (usize, u64) {
        (((index % REPLAY_WINDOW) / 64) as usize, 1 << (index % 64))
    }

    fn seen(&self, index: u64) -> bool {
        let (word, bit) = Self::slot(index);
        self.window.get(word).is_none_or(|bits| bits & bit != 0)
    }

    fn mark(&mut self, index: u64) {
        if index > self.highest {
            if index - self.highest >= REPLAY_WINDOW {
                self.window = Default::default();
            } else {
                for skipped in self.highest + 1..index {
                    let (word, bit) = Self::slot(skipped);
                    if let Some(bits) = self.window.get_mut(word) {
                        *bits &= !bit;
                    }
                }
            }
            self.highest = index;
        }
        let (word, bit) = Self::slot(index);
        if let Some(bits) = self.window.get_mut(word) {
            *bits |= bit;
        }
    }

    /// Whether a packet with this index may be accepted.
    fn accepts(&self, index: u64) -> bool {
        index > self.highest || (self.highest - index < REPLAY_WINDOW && !self.seen(index))
    }
}

/// Sources by SSRC, with the last one at hand: packets come in runs.
#[derive(Default)]
struct Sources {
    all: Vec<Source>,
    by_ssrc: HashMap<u32, usize>,
    last: usize,
}

impl Sources {
    fn find(&mut self, ssrc: u32) -> Option<&mut Source> {
        if self
            .all
            .get(self.last)
            .is_none_or(|source| source.ssrc != ssrc)
        {
            self.last = *self.by_ssrc.get(&ssrc)?;
        }
        self.all.get_mut(self.last)
    }

    fn add(&mut self, ssrc: u32, index: u64) -> bool {
        if self.all.len() >= MAX_SOURCES {
            return false;
        }
        let mut source = Source {
            ssrc,
            highest: index,
            window: Default::default(),
        };
        source.mark(index);
        self.last = self.all.len();
        self.by_ssrc.insert(ssrc, self.last);
        self.all.push(source);
        true
    }
}

/// One direction of a DTLS-SRTP session: its session keys and its sources.
pub(super) struct Direction {
    profile: SrtpProfile,
    rtp: Cipher,
    rtcp: Cipher,
    rtp_sources: Sources,
    rtcp_sources: Sources,
}

impl Direction {
    /// Derives the session keys (RFC 3711 section 4.3, RFC 7714 section 11).
    pub(super) fn new(
        profile: SrtpProfile,
        master_key: &[u8],
        master_salt: &[u8],
        crypto: &dyn RTCCrypto,
    ) -> Result<Self, CryptoError> {
        Ok(Self {
            profile,
            rtp: cipher(profile, [0, 1, 2], master_key, master_salt, crypto)?,
            rtcp: cipher(profile, [3, 4, 5], master_key, master_salt, crypto)?,
            rtp_sources: Sources::default(),
            rtcp_sources: Sources::default(),
        })
    }

    /// Encrypts a packet whose tag room is already behind it: `header_length` clear bytes, the
    /// payload, then [`Self::rtp_overhead`] bytes. A packet older than the newest one of its
    /// source gets the roll-over counter it had, so a resend of the same bytes is the same packet.
    /// `None` leaves the buffer in no particular state.
    pub(super) fn protect_rtp(&mut self, buffer: &mut [u8], header_length: usize) -> Option<()> {
        let (sequence, ssrc) = rtp_identity(buffer)?;
        let index = match self.rtp_sources.find(ssrc) {
            Some(source) => {
                let index = estimate(source.highest, sequence);
                source.highest = source.highest.max(index);
                index
            }
            None => {
                let index = u64::from(sequence);
                self.rtp_sources.add(ssrc, index).then_some(index)?
            }
        };
        let tag_at = buffer.len().checked_sub(self.profile.rtp_tag())?;
        let (message, tag) = buffer.split_at_mut_checked(tag_at)?;
        match &mut self.rtp {
            Cipher::Gcm { aead, salt } => {
                let (header, payload) = message.split_at_mut_checked(header_length)?;
                aead.seal_in_place(&gcm_rtp_nonce(salt, ssrc, index), header, payload, tag)
                    .ok()
            }
            Cipher::Cm { cipher, mac, salt } => {
                let payload = message.get_mut(header_length..)?;
                cipher
                    .apply_keystream(&cm_iv(salt, ssrc, index), payload)
                    .ok()?;
                let full = sign_rtp(mac.as_mut(), message, index)?;
                tag.copy_from_slice(full.get(..tag.len())?);
                Some(())
            }
        }
    }

    /// What [`Self::protect_rtp`] needs behind the payload.
    pub(super) const fn rtp_overhead(&self) -> usize {
        self.profile.rtp_tag()
    }

    /// Authenticates and decrypts a packet; returns how long header and payload are. `None` for
    /// replays, forgeries and packets that are no RTP, whose bytes are then not to be used.
    pub(super) fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Option<usize> {
        let (sequence, ssrc) = rtp_identity(packet)?;
        let header_length = rtp_header_length(packet)?;
        let (index, known) = match self.rtp_sources.find(ssrc) {
            Some(source) => {
                let index = estimate(source.highest, sequence);
                source.accepts(index).then_some((index, true))?
            }
            None => (u64::from(sequence), false),
        };
        let tag_at = packet.len().checked_sub(self.profile.rtp_tag())?;
        if tag_at < header_length {
            return None;
        }
        let (message, tag) = packet.split_at_mut_checked(tag_at)?;
        match &mut self.rtp {
            Cipher::Gcm { aead, salt } => {
                let (header, payload) = message.split_at_mut_checked(header_length)?;
                aead.open_in_place(&gcm_rtp_nonce(salt, ssrc, index), header, payload, tag)
                    .ok()?;
            }
            Cipher::Cm { cipher, mac, salt } => {
                let full = sign_rtp(mac.as_mut(), message, index)?;
                if !constant_time_eq(full.get(..tag.len())?, tag) {
                    return None;
                }
                let payload = message.get_mut(header_length..)?;
                cipher
                    .apply_keystream(&cm_iv(salt, ssrc, index), payload)
                    .ok()?;
            }
        }
        if known {
            self.rtp_sources.find(ssrc)?.mark(index);
        } else if !self.rtp_sources.add(ssrc, index) {
            return None;
        }
        Some(tag_at)
    }

    /// Appends the protected form of an RTCP packet to `out` (RFC 3711 section 3.4, RFC 7714
    /// section 9). Returns its length.
    pub(super) fn protect_rtcp(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let ssrc = rtcp_ssrc(packet)?;
        let index = match self.rtcp_sources.find(ssrc) {
            // RFC 3711 section 3.2.1: the index counts modulo 2^31.
            Some(source) => {
                source.highest = (source.highest + 1) & u64::from(ENCRYPTED_FLAG - 1);
                source.highest
            }
            None => self.rtcp_sources.add(ssrc, 1).then_some(1)?,
        };
        let trailer = (ENCRYPTED_FLAG | u32::try_from(index).ok()?).to_be_bytes();
        let start = out.len();
        out.extend_from_slice(packet);
        let done = match &mut self.rtcp {
            Cipher::Gcm { aead, salt } => {
                let mut tag = [0; GCM_TAG];
                let mut associated = [0; RTCP_CLEAR + SRTCP_INDEX];
                associated
                    .get_mut(..RTCP_CLEAR)?
                    .copy_from_slice(packet.get(..RTCP_CLEAR)?);
                associated.get_mut(RTCP_CLEAR..)?.copy_from_slice(&trailer);
                let body = out.get_mut(start + RTCP_CLEAR..)?;
                let sealed = aead
                    .seal_in_place(
                        &gcm_rtcp_nonce(salt, ssrc, index),
                        &associated,
                        body,
                        &mut tag,
                    )
                    .is_ok();
                out.extend_from_slice(&tag);
                out.extend_from_slice(&trailer);
                sealed
            }
            Cipher::Cm { cipher, mac, salt } => {
                let body = out.get_mut(start + RTCP_CLEAR..)?;
                let mut full = [0; 20];
                let encrypted = cipher
                    .apply_keystream(&cm_iv(salt, ssrc, index), body)
                    .is_ok();
                out.extend_from_slice(&trailer);
                let signed = mac.sign(&[out.get(start..)?], &mut full).is_ok();
                out.extend_from_slice(full.get(..SHA1_TAG)?);
                encrypted && signed
            }
        };
        if !done {
            out.truncate(start);
            return None;
        }
        Some(out.len() - start)
    }

    /// Authenticates and decrypts RTCP in place; returns the length of the plain packet, which
    /// starts where the protected one did.
    pub(super) fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Option<usize> {
        let ssrc = rtcp_ssrc(packet)?;
        let tail = match self.profile {
            SrtpProfile::AeadAes128Gcm => SRTCP_INDEX,
            SrtpProfile::Aes128CmHmacSha1_80 => SRTCP_INDEX + SHA1_TAG,
        };
        let trailer_at = packet.len().checked_sub(tail)?;
        let (message, rest) = packet.split_at_mut_checked(trailer_at)?;
        let (trailer, tag) = rest.split_at_checked(SRTCP_INDEX)?;
        let word = u32::from_be_bytes(trailer.try_into().ok()?);
        let encrypted = word & ENCRYPTED_FLAG != 0;
        let index = u64::from(word & !ENCRYPTED_FLAG);
        let known = match self.rtcp_sources.find(ssrc) {
            Some(source) => source.accepts(index).then_some(true)?,
            None => false,
        };
        let length = match &mut self.rtcp {
            Cipher::Gcm { aead, salt } => {
                let nonce = gcm_rtcp_nonce(salt, ssrc, index);
                let tag_at = message.len().checked_sub(GCM_TAG)?;
                let (plain, tag) = message.split_at_mut_checked(tag_at)?;
                if encrypted {
                    let mut associated = [0; RTCP_CLEAR + SRTCP_INDEX];
                    associated
                        .get_mut(..RTCP_CLEAR)?
                        .copy_from_slice(plain.get(..RTCP_CLEAR)?);
                    associated.get_mut(RTCP_CLEAR..)?.copy_from_slice(trailer);
                    let body = plain.get_mut(RTCP_CLEAR..)?;
                    aead.open_in_place(&nonce, &associated, body, tag).ok()?;
                } else {
                    // RFC 7714 section 9.3: an unencrypted packet is all associated data.
                    let associated = [&*plain, trailer].concat();
                    aead.open_in_place(&nonce, &associated, &mut [], tag).ok()?;
                }
                tag_at
            }
            Cipher::Cm { cipher, mac, salt } => {
                let mut full = [0; 20];
                mac.sign(&[message, trailer], &mut full).ok()?;
                if !constant_time_eq(full.get(..tag.len())?, tag) {
                    return None;
                }
                if encrypted {
                    let body = message.get_mut(RTCP_CLEAR..)?;
                    cipher
                        .apply_keystream(&cm_iv(salt, ssrc, index), body)
                        .ok()?;
                }
                trailer_at
            }
        };
        if known {
            self.rtcp_sources.find(ssrc)?.mark(index);
        } else if !self.rtcp_sources.add(ssrc, index) {
            return None;
        }
        Some(length)
    }

    #[cfg(test)]
    fn sources(&self) -> usize {
        self.rtp_sources.all.len() + self.rtcp_sources.all.len()
    }
}

/// Session key, authentication key and salt under the three labels of RFC 3711 section 4.3.2.
fn cipher(
    profile: SrtpProfile,
    [key_label, auth_label, salt_label]: [u8; 3],
    master_key: &[u8],
    master_salt: &[u8],
    crypto: &dyn RTCCrypto,
) -> Result<Cipher, CryptoError> {
    let key: [u8; 16] = derive(crypto, key_label, master_key, master_salt)?;
    Ok(match profile {
        SrtpProfile::AeadAes128Gcm => Cipher::Gcm {
            aead: crypto.new_aead(AeadAlgorithm::Aes128Gcm, &key)?,
            salt: derive(crypto, salt_label, master_key, master_salt)?,
        },
        SrtpProfile::Aes128CmHmacSha1_80 => {
            let auth: [u8; 20] = derive(crypto, auth_label, master_key, master_salt)?;
            Cipher::Cm {
                cipher: crypto.new_stream_cipher(StreamCipherAlgorithm::Aes128Ctr, &key)?,
                mac: crypto.new_hmac(HmacAlgorithm::Sha1, &auth)?,
                salt: derive(crypto, salt_label, master_key, master_salt)?,
            }
        }
    })
}

/// AES-CM as pseudo-random function (RFC 3711 section 4.3.3), key derivation rate zero. A shorter
/// salt than 14 bytes is filled with zeros behind (RFC 7714 section 11).
fn derive<const N: usize>(
    crypto: &dyn RTCCrypto,
    label: u8,
    master_key: &[u8],
    master_salt: &[u8],
) -> Result<[u8; N], CryptoError> {
    let mut input = [0_u8; 16];
    for (slot, byte) in input.iter_mut().zip(master_salt.iter().take(14)) {
        *slot = *byte;
    }
    input[7] ^= label;
    let mut output = [0; N];
    for (counter, chunk) in (0_u16..).zip(output.chunks_mut(16)) {
        let mut block = input;
        let [.., high, low] = &mut block;
        [*high, *low] = counter.to_be_bytes();
        crypto.block_encrypt(BlockCipherAlgorithm::Aes128, master_key, &mut block)?;
        for (slot, byte) in chunk.iter_mut().zip(block) {
            *slot = byte;
        }
    }
    Ok(output)
}

/// Sequence number and SSRC.
fn rtp_identity(packet: &[u8]) -> Option<(u16, u32)> {
    let &[first, _, s0, s1, _, _, _, _, a, b, c, d, ..] = packet else {
        return None;
    };
    (first >> 6 == 2).then_some((
        u16::from_be_bytes([s0, s1]),
        u32::from_be_bytes([a, b, c, d]),
    ))
}

/// Fixed header, contributing sources and header extension (RFC 3550 section 5).
pub(super) fn rtp_header_length(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let mut length = 12 + 4 * usize::from(first & 15);
    if first & 0x10 != 0 {
        let words = packet.get(length + 2..length + 4)?;
        length += 4 + 4 * usize::from(u16::from_be_bytes(words.try_into().ok()?));
    }
    (length <= packet.len()).then_some(length)
}

fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let &[first, _, _, _, a, b, c, d, ..] = packet else {
        return None;
    };
    (first >> 6 == 2).then_some(u32::from_be_bytes([a, b, c, d]))
}

/// The index nearest to the highest known one that has this sequence number (RFC 3711 section
/// 3.3.1). Before the first roll-over nothing can lie a roll-over back.
fn estimate(highest: u64, sequence: u16) -> u64 {
    let distance = i64::from(sequence.wrapping_sub(highest as u16) as i16);
    highest
        .checked_add_signed(distance)
        .unwrap_or(u64::from(sequence))
}

fn sign_rtp(mac: &mut dyn Mac, message: &[u8], index: u64) -> Option<[u8; 20]> {
    let mut full = [0; 20];
    let rollover = ((index >> 16) as u32).to_be_bytes();
    mac.sign(&[message, &rollover], &mut full).ok()?;
    Some(full)
}

/// RFC 7714 section 8.1: zero, SSRC, roll-over counter, sequence number.
fn gcm_rtp_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    xor(
        salt,
        [(2, &ssrc.to_be_bytes()), (6, low_48(&index.to_be_bytes()))],
    )
}

/// RFC 7714 section 9.1: zero, SSRC, zero, index.
fn gcm_rtcp_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    xor(
        salt,
        [(2, &ssrc.to_be_bytes()), (6, low_48(&index.to_be_bytes()))],
    )
}

/// RFC 3711 section 4.1.1, the same for RTP and RTCP.
fn cm_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    xor(
        salt,
        [(4, &ssrc.to_be_bytes()), (8, low_48(&index.to_be_bytes()))],
    )
}

fn low_48(index: &[u8; 8]) -> &[u8] {
    index.split_at(2).1
}

fn xor<const N: usize>(salt: &[u8], parts: [(usize, &[u8]); 2]) -> [u8; N] {
    let mut result = [0; N];
    for (slot, byte) in result.iter_mut().zip(salt) {
        *slot = *byte;
    }
    for (offset, bytes) in parts {
        for (slot, byte) in result.iter_mut().skip(offset).zip(bytes) {
            *slot ^= byte;
        }
    }
    result
}

#[cfg(test)]
mod tests;
