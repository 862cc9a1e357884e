//! A look at handshake records in the clear (RFC 6347 sections 4.1 and 4.2.2), for what the
//! endpoint does not see to: which SRTP profiles a client has, repetitions, a client that begins
//! anew.

use bytes::BytesMut;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const CERTIFICATE_REQUEST: u8 = 13;
const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;
const RANDOM: usize = 32;

/// Fragments remembered. A handshake has some ten messages; a peer that makes more gets its
/// repetitions through.
const MAX_FRAGMENTS: usize = 128;

/// What of a handshake has arrived.
///
/// The endpoint stops its retransmission timer at every handshake record, also at one that brings
/// nothing new. When both sides' flights are lost once and both have seen a repetition, neither
/// would ever send again. So repetitions are kept from it: the timer, which they were to replace,
/// does their work.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// Message sequence number and fragment offset.
    fragments: Vec<(u16, u32)>,
    first: bool,
    random: Option<[u8; RANDOM]>,
}

impl Arrived {
    /// Takes note of a datagram. True when it only has what came before.
    pub(super) fn is_repetition(&mut self, datagram: &[u8]) -> bool {
        self.first |= sequences(datagram).any(|sequence| sequence == 0);
        let Some(fragments) = fragments(datagram) else {
            return false;
        };
        // The answer to a first ClientHello has no timer: its repetition asks for it again
        // (RFC 6347 section 4.2.1).
        let later = self.fragments.iter().any(|(sequence, _)| *sequence > 0);
        let mut repeated = true;
        for (kind, sequence, offset) in fragments {
            if !self.fragments.contains(&(sequence, offset)) {
                repeated = false;
                if self.fragments.len() < MAX_FRAGMENTS {
                    self.fragments.push((sequence, offset));
                }
            } else if kind == CLIENT_HELLO && sequence == 0 && !later {
                repeated = false;
            }
        }
        repeated
    }

    /// Whether the first message of the other side has arrived.
    pub(super) fn has_first(&self) -> bool {
        self.first
    }

    /// Whether a client has given up the handshake that we know of and begins another.
    pub(super) fn is_new_beginning(&mut self, datagram: &[u8]) -> bool {
        let Some(random) = first_hello_random(datagram) else {
            return false;
        };
        let before = self.random.replace(random);
        before.is_some_and(|before| before != random)
    }
}

/// Whether every record could be one of a peer. The endpoint answers records it can't read with a
/// fatal alert, so one spoofed datagram would end a handshake, or the association at a peer that
/// heeds alerts; RFC 6347 section 4.1.2.7 wants them dropped.
pub(super) fn is_plausible(datagram: &[u8]) -> bool {
    const CHANGE_CIPHER_SPEC: u8 = 20;
    const APPLICATION_DATA: u8 = 23;
    let mut rest = datagram;
    while !rest.is_empty() {
        let Some((&[kind, 254, 253 | 255, e0, e1, _, _, _, _, _, _, l0, l1], behind)) =
            rest.split_first_chunk::<RECORD_HEADER>()
        else {
            return false;
        };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let Some((body, next)) = behind.split_at_checked(length) else {
            return false;
        };
        let clear = [e0, e1] == [0, 0];
        let sound = match (kind, body) {
            // Ciphers are changed once: in the clear, which the endpoint does not insist on.
            (ALERT..=APPLICATION_DATA, _) if !clear => true,
            (CHANGE_CIPHER_SPEC, [1]) | (ALERT, [1 | 2, _]) if clear => true,
            (
                HANDSHAKE,
                &[
                    0..=4 | 11..=16 | 20..=24,
                    n0,
                    n1,
                    n2,
                    _,
                    _,
                    o0,
                    o1,
                    o2,
                    f0,
                    f1,
                    f2,
                    ..,
                ],
            ) => {
                let whole = u32::from_be_bytes([0, n0, n1, n2]);
                let offset = u32::from_be_bytes([0, o0, o1, o2]);
                let fragment = u32::from_be_bytes([0, f0, f1, f2]);
                // Certificates are the largest messages; chains of 64 KiB don't occur.
                whole <= 1 << 16
                    && offset + fragment <= whole
                    && MESSAGE_HEADER + fragment as usize <= body.len()
            }
            _ => false,
        };
        if !sound {
            return false;
        }
        rest = next;
    }
    true
}

/// Whether a record is of an epoch that only a finished handshake opens.
pub(super) fn is_ahead(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while let Some((&[_, _, _, e0, e1, _, _, _, _, _, _, l0, l1], behind)) =
        rest.split_first_chunk::<RECORD_HEADER>()
    {
        if [e0, e1] != [0, 0] {
            return true;
        }
        rest = behind
            .get(usize::from(u16::from_be_bytes([l0, l1]))..)
            .unwrap_or_default();
    }
    false
}

/// How many handshake messages, or fragments of some, the endpoint may find in a datagram: counted
/// as it takes records apart, and as many as there is room for where they are encrypted.
pub(super) fn messages(datagram: &[u8]) -> usize {
    let mut count = 0;
    let mut rest = datagram;
    while let Some((&[kind, _, _, e0, e1, _, _, _, _, _, _, l0, l1], behind)) =
        rest.split_first_chunk::<RECORD_HEADER>()
    {
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let (body, next) = behind.split_at_checked(length).unwrap_or((behind, &[]));
        rest = next;
        if kind != HANDSHAKE {
            continue;
        }
        if [e0, e1] != [0, 0] {
            count += 1 + body.len() / MESSAGE_HEADER;
            continue;
        }
        let mut message = body;
        while let Some((&[_, n0, n1, n2, ..], behind)) =
            message.split_first_chunk::<MESSAGE_HEADER>()
        {
            count += 1;
            let whole = u32::from_be_bytes([0, n0, n1, n2]) as usize;
            message = behind.get(whole..).unwrap_or_default();
        }
    }
    count
}

/// Whether a datagram brings a CertificateRequest in the clear, or a fragment of one.
pub(super) fn asks_for_certificate(datagram: &[u8]) -> bool {
    records(datagram).any(|record| {
        let [HANDSHAKE, _, _, 0, 0, _, _, _, _, _, _, _, _, body @ ..] = record else {
            return false;
        };
        let mut rest = body;
        while let Some((&[kind, .., f0, f1, f2], behind)) =
            rest.split_first_chunk::<MESSAGE_HEADER>()
        {
            if kind == CERTIFICATE_REQUEST {
                return true;
            }
            let fragment = u32::from_be_bytes([0, f0, f1, f2]) as usize;
            rest = behind.get(fragment..).unwrap_or_default();
        }
        false
    })
}

/// Whether a datagram brings handshake messages in the clear, and not the first one of a side.
pub(super) fn is_later(datagram: &[u8]) -> bool {
    let mut sequences = sequences(datagram).peekable();
    sequences.peek().is_some() && sequences.all(|sequence| sequence != 0)
}

/// The number of the first message in each handshake record in the clear.
fn sequences(datagram: &[u8]) -> impl Iterator<Item = u16> {
    records(datagram).filter_map(|record| match record {
        &[
            HANDSHAKE,
            _,
            _,
            0,
            0,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            s0,
            s1,
            ..,
        ] => Some(u16::from_be_bytes([s0, s1])),
        _ => None,
    })
}

/// Whether a record is an alert in the clear that ends nothing.
pub(super) fn has_warning(datagram: &[u8]) -> bool {
    records(datagram).any(is_warning)
}

/// The records of a datagram that are none. The endpoint tells of a warning as of an error, while
/// all other errors of a handshake are fatal, and the warning may be anybody's.
pub(super) fn without_warnings(datagram: &[u8]) -> BytesMut {
    let kept = records(datagram).filter(|record| !is_warning(record));
    kept.flatten().copied().collect()
}

fn is_warning(record: &[u8]) -> bool {
    const WARNING: u8 = 1;
    const CLOSE_NOTIFY: u8 = 0;
    matches!(
        record,
        [ALERT, _, _, 0, 0, .., WARNING, description] if *description != CLOSE_NOTIFY
    )
}

/// Records with their headers. What is behind the last whole one is one more.
fn records(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let whole = match rest.first_chunk::<RECORD_HEADER>() {
            Some(&[.., l0, l1]) => RECORD_HEADER + usize::from(u16::from_be_bytes([l0, l1])),
            None => rest.len(),
        };
        let (record, next) = rest.split_at_checked(whole).unwrap_or((rest, &[]));
        rest = next;
        Some(record)
    })
}

/// Type, message sequence number and fragment offset of every record; `None` unless all of them
/// are handshake fragments in the clear.
fn fragments(datagram: &[u8]) -> Option<Vec<(u8, u16, u32)>> {
    let mut found = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let (header, behind) = rest.split_at_checked(RECORD_HEADER)?;
        let &[kind, _, _, 0, 0, _, _, _, _, _, _, l0, l1] = header else {
            return None;
        };
        let (body, next) = behind.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
        let &[
            message,
            _,
            _,
            _,
            s0,
            s1,
            o0,
            o1,
            o2,
            f0,
            f1,
            f2,
            ref fragment @ ..,
        ] = body
        else {
            return None;
        };
        // Several messages in one record are rare and not looked into.
        let length = u32::from_be_bytes([0, f0, f1, f2]);
        if kind != HANDSHAKE || usize::try_from(length).ok()? != fragment.len() {
            return None;
        }
        found.push((
            message,
            u16::from_be_bytes([s0, s1]),
            u32::from_be_bytes([0, o0, o1, o2]),
        ));
        rest = next;
    }
    (!found.is_empty()).then_some(found)
}

/// The start of a ClientHello that answers nothing: type, sequence number 0, offset 0.
fn first_hello_random(datagram: &[u8]) -> Option<[u8; RANDOM]> {
    let (header, body) = datagram.split_at_checked(RECORD_HEADER + MESSAGE_HEADER)?;
    let &[HANDSHAKE, .., CLIENT_HELLO, _, _, _, 0, 0, 0, 0, 0, _, _, _] = header else {
        return None;
    };
    body.get(2..2 + RANDOM)?.try_into().ok()
}

/// Whether a datagram brings a ClientHello that answers nothing, or a fragment of one.
pub(super) fn is_first_hello(datagram: &[u8]) -> bool {
    fragments(datagram).is_some_and(|all| {
        all.iter()
            .all(|(kind, sequence, _)| *kind == CLIENT_HELLO && *sequence == 0)
    })
}

/// The body of a first ClientHello, put together from the datagrams that have its fragments: key
/// shares of post-quantum algorithms make it larger than a datagram. `None` while some are missing.
pub(super) fn first_hello<'a>(datagrams: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut parts: Vec<(usize, &[u8])> = Vec::new();
    let mut whole = None;
    for datagram in datagrams {
        let mut rest = datagram;
        while let Some((header, behind)) = rest.split_first_chunk::<RECORD_HEADER>() {
            let &[.., l0, l1] = header;
            let (body, next) =
                behind.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
            if let &[
                CLIENT_HELLO,
                n0,
                n1,
                n2,
                0,
                0,
                o0,
                o1,
                o2,
                _,
                _,
                _,
                ref fragment @ ..,
            ] = body
            {
                whole = usize::try_from(u32::from_be_bytes([0, n0, n1, n2])).ok();
                parts.push((
                    usize::try_from(u32::from_be_bytes([0, o0, o1, o2])).ok()?,
                    fragment,
                ));
            }
            rest = next;
        }
    }
    parts.sort_by_key(|(offset, _)| *offset);
    let mut hello = Vec::new();
    for (offset, fragment) in parts {
        // What overlaps was there already.
        let known = hello.len().checked_sub(offset)?;
        hello.extend_from_slice(fragment.get(known..).unwrap_or_default());
    }
    (Some(hello.len()) == whole).then_some(hello)
}

/// Whether the body of a ClientHello offers AES-GCM for SRTP.
pub(super) fn offers_gcm(hello: &[u8]) -> bool {
    srtp_profiles(hello).is_some_and(|profiles| {
        const AEAD_AES_128_GCM: [u8; 2] = [0x00, 0x07];
        profiles.chunks_exact(2).any(|id| id == AEAD_AES_128_GCM)
    })
}

/// The `SRTPProtectionProfiles` of a ClientHello's `use_srtp` (RFC 5764 section 4.1.1).
fn srtp_profiles(hello: &[u8]) -> Option<&[u8]> {
    const USE_SRTP: u16 = 14;
    let mut rest = hello.get(2 + RANDOM..)?;
    // Session id, cookie, cipher suites, compression methods.
    for width in [1_usize, 1, 2, 1] {
        let (length, behind) = rest.split_at_checked(width)?;
        let length = length
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        rest = behind.get(length..)?;
    }
    rest = rest.get(2..)?;
    while let &[k0, k1, l0, l1, ref behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let (extension, next) = behind.split_at_checked(length)?;
        if u16::from_be_bytes([k0, k1]) == USE_SRTP {
            let &[p0, p1, ref profiles @ ..] = extension else {
                return None;
            };
            return profiles.get(..usize::from(u16::from_be_bytes([p0, p1])));
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests;
