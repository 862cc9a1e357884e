//! A look at handshake records in the clear (RFC 6347 sections 4.1 and 4.2.2), for what the
//! endpoint does not see to: which SRTP profiles a client has, repetitions, a client that begins
//! anew.

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
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
    random: Option<[u8; RANDOM]>,
}

impl Arrived {
    /// Takes note of a datagram. True when it only has what came before.
    pub(super) fn is_repetition(&mut self, datagram: &[u8]) -> bool {
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

    /// Whether a client has given up the handshake that we know of and begins another.
    pub(super) fn is_new_beginning(&mut self, datagram: &[u8]) -> bool {
        let Some(random) = first_hello_random(datagram) else {
            return false;
        };
        let before = self.random.replace(random);
        before.is_some_and(|before| before != random)
    }
}

/// Whether every record could be one of a handshake. The endpoint answers records it can't read
/// with a fatal alert, so one spoofed datagram would end a handshake; RFC 6347 section 4.1.2.7
/// wants them dropped.
pub(super) fn is_plausible(datagram: &[u8]) -> bool {
    const CHANGE_CIPHER_SPEC: u8 = 20;
    const ALERT: u8 = 21;
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
            (CHANGE_CIPHER_SPEC..=APPLICATION_DATA, _) if !clear => true,
            (CHANGE_CIPHER_SPEC, [1]) | (ALERT, [1 | 2, _]) => true,
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
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u8, sequence: u16, offset: u8, fragment: &[u8]) -> Vec<u8> {
        let length = fragment.len() as u8;
        let mut bytes = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12 + length];
        bytes.extend([kind, 0, 0, 200]);
        bytes.extend(sequence.to_be_bytes());
        bytes.extend([0, 0, offset, 0, 0, length]);
        bytes.extend(fragment);
        bytes
    }

    #[test]
    fn a_repetition_is_told_from_news() {
        let mut arrived = Arrived::default();
        let first = record(11, 3, 0, &[1; 20]);
        let second = record(11, 3, 20, &[1; 20]);
        assert!(!arrived.is_repetition(&first));
        assert!(arrived.is_repetition(&first));
        assert!(!arrived.is_repetition(&[first.clone(), second.clone()].concat()));
        assert!(arrived.is_repetition(&[second, first].concat()));
    }

    #[test]
    fn encrypted_records_always_pass() {
        let mut arrived = Arrived::default();
        let mut finished = record(20, 5, 0, &[1; 12]);
        finished[4] = 1;
        assert!(!arrived.is_repetition(&finished));
        assert!(!arrived.is_repetition(&finished));
    }

    #[test]
    fn a_first_hello_may_ask_again_until_the_second_came() {
        let mut arrived = Arrived::default();
        let first = record(1, 0, 0, &[1; 60]);
        let second = record(1, 1, 0, &[1; 60]);
        assert!(!arrived.is_repetition(&first));
        assert!(!arrived.is_repetition(&first));
        assert!(!arrived.is_repetition(&second));
        assert!(arrived.is_repetition(&first));
        assert!(arrived.is_repetition(&second));
    }

    /// A ClientHello body with a list of SRTP profiles behind a large extension.
    fn hello(profiles: &[u16]) -> Vec<u8> {
        let mut body = vec![254, 253];
        body.extend([7; 32]);
        body.extend([0, 0, 0, 2, 0xC0, 0x2B, 1, 0]);
        let list: Vec<u8> = profiles.iter().flat_map(|id| id.to_be_bytes()).collect();
        let size = 4 + 100 + 4 + 2 + list.len() + 1;
        body.extend((size as u16).to_be_bytes());
        body.extend([0, 51, 0, 100]);
        body.extend([9; 100]);
        body.extend([0, 14, 0, list.len() as u8 + 3, 0, list.len() as u8]);
        body.extend(list);
        body.push(0);
        body
    }

    fn fragment(body: &[u8], from: usize, to: usize) -> Vec<u8> {
        let mut bytes = record(1, 0, from as u8, &body[from..to]);
        bytes[16] = body.len() as u8;
        bytes
    }

    #[test]
    fn a_fragmented_hello_is_put_together_in_any_order() {
        let body = hello(&[1, 7]);
        let (one, two, three) = (
            fragment(&body, 0, 70),
            fragment(&body, 70, 120),
            fragment(&body, 120, body.len()),
        );
        let put = |parts: &[&Vec<u8>]| first_hello(parts.iter().map(|part| part.as_slice()));
        assert_eq!(put(&[&one, &two, &three]).as_ref(), Some(&body));
        assert_eq!(put(&[&three, &one, &two, &one]).as_ref(), Some(&body));
        assert_eq!(put(&[&one, &three]), None);
        assert_eq!(put(&[&two, &three]), None);
        assert_eq!(put(&[]), None);
        assert!(
            [one.clone(), two.clone(), three]
                .iter()
                .all(|part| is_first_hello(part))
        );
        let mut arrived = Arrived::default();
        assert!(!arrived.is_new_beginning(&one));
        assert!(!arrived.is_new_beginning(&two));
        assert!(!arrived.is_new_beginning(&one));
    }

    #[test]
    fn the_srtp_profiles_of_a_hello_are_read() {
        assert!(offers_gcm(&hello(&[1, 7])));
        assert!(offers_gcm(&hello(&[7])));
        assert!(!offers_gcm(&hello(&[1, 2])));
        assert!(!offers_gcm(&hello(&[])));
    }

    #[test]
    fn what_no_handshake_has_is_implausible() {
        let hello = record(1, 0, 0, &[1; 60]);
        assert!(is_plausible(&hello));
        assert!(is_plausible(&[
            21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40
        ]));
        let changed = |at: usize, byte| {
            let mut bytes = hello.clone();
            bytes[at] = byte;
            bytes
        };
        for bytes in [
            changed(0, 23),
            changed(0, 24),
            changed(1, 3),
            changed(12, 73),
            changed(13, 9),
            changed(16, 10),
            changed(24, 61),
            vec![20, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2],
            vec![22],
        ] {
            assert!(!is_plausible(&bytes), "{bytes:?}");
        }
    }

    #[test]
    fn a_hello_with_another_random_is_a_new_beginning() {
        let mut arrived = Arrived::default();
        assert!(!arrived.is_new_beginning(&record(1, 0, 0, &[1; 60])));
        assert!(!arrived.is_new_beginning(&record(1, 0, 0, &[1; 60])));
        assert!(!arrived.is_new_beginning(&record(1, 1, 0, &[2; 60])));
        assert!(arrived.is_new_beginning(&record(1, 0, 0, &[2; 60])));
    }

    #[test]
    fn messages_are_counted_as_the_endpoint_finds_them() {
        let one = record(11, 3, 0, &[1; 20]);
        assert_eq!(messages(&one), 1);
        assert_eq!(messages(&[one.clone(), one.clone()].concat()), 2);
        // Empty messages, many in a record.
        let mut many = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 120];
        many.extend([0; 120]);
        assert_eq!(messages(&many), 10);
        // The same, but nobody can look inside.
        many[4] = 1;
        assert_eq!(messages(&many), 11);
        many[0] = 23;
        assert_eq!(messages(&many), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if bytes.len() > 13 {
                bytes[0] = 22;
                bytes[13] = 1;
            }
            let mut arrived = Arrived::default();
            let _ = (is_plausible(&bytes), is_ahead(&bytes), messages(&bytes), offers_gcm(&bytes), arrived.is_repetition(&bytes), arrived.is_new_beginning(&bytes),
                     is_first_hello(&bytes), first_hello([bytes.as_slice(); 2].into_iter()));
        }
    }
}
