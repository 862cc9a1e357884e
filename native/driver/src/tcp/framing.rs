//! RFC 4571: two bytes of length, then so many bytes of what would be a datagram.

/// Before each message.
pub const HEADER: usize = 2;

/// The longest check that is taken from someone who has not proved who it is. One over UDP must
/// fit its packet (RFC 8489 section 6.1), and those of browsers have some 130 bytes.
const MAX_CHECK: usize = 1_500;

/// A STUN header.
const MIN_CHECK: usize = 20;

/// The length of the message at the front, of a peer that ICE has validated.
pub fn message_length(front: &[u8]) -> Result<Option<usize>, ()> {
    match front {
        [high, low, ..] => Ok(Some(
            HEADER + usize::from(u16::from_be_bytes([*high, *low])),
        )),
        _ => Ok(None),
    }
}

/// The same, of anybody: nothing but STUN, which is told by its first byte (RFC 7983 section 7).
pub fn check_length(front: &[u8]) -> Result<Option<usize>, ()> {
    let length = message_length(front)?;
    let sound = length.is_none_or(|it| (HEADER + MIN_CHECK..=HEADER + MAX_CHECK).contains(&it))
        && front.get(HEADER).is_none_or(|first| is_check(*first));
    if sound { Ok(length) } else { Err(()) }
}

/// Whether a message with this first byte is STUN.
pub const fn is_check(first: u8) -> bool {
    first < 4
}

/// What goes before a message; `None` where it is too long to be framed.
pub fn header(length: usize) -> Option<[u8; HEADER]> {
    u16::try_from(length).ok().map(u16::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_message_reads_back(payload in prop::collection::vec(any::<u8>(), 0..3000), rest in any::<[u8; 9]>()) {
            let mut framed = header(payload.len()).unwrap().to_vec();
            framed.extend(&payload);
            framed.extend(rest);
            prop_assert_eq!(message_length(&framed), Ok(Some(HEADER + payload.len())));
        }

        #[test]
        fn nothing_but_short_stun_is_taken_from_strangers(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            match check_length(&bytes) {
                Ok(Some(length)) => {
                    prop_assert!((22..=1502).contains(&length));
                    prop_assert!(bytes.get(2).is_none_or(|first| *first < 4));
                }
                Ok(None) => prop_assert!(bytes.len() < 2),
                Err(()) => {
                    let length = u16::from_be_bytes([bytes[0], bytes[1]]);
                    prop_assert!(!(20..=1500).contains(&length) || bytes[2] > 3);
                }
            }
        }
    }

    #[test]
    fn what_is_longer_than_a_length_can_say_is_not_framed() {
        assert_eq!(header(65_535), Some([255, 255]));
        assert_eq!(header(65_536), None);
    }
}
