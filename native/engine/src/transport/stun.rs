//! A borrowed look at a STUN message (RFC 8489 section 5), enough to say whose it is and to
//! authenticate it before any state is touched: the agent behind it acts on some attributes without
//! having checked them. And the one message that the agent does not write itself.

use bytes::BytesMut;
use rtc_crypto::{HmacAlgorithm, RTCCrypto};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{self, BINDING_SUCCESS, Message};
use rtc_stun::xoraddr::XorMappedAddress;
use std::net::SocketAddr;

const HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const USE_CANDIDATE: u16 = 0x0025;
const MAC_LENGTH: usize = 20;

/// What the two class bits of a Binding message say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A check.
    Request,
    /// A keepalive.
    Indication,
    /// A check was taken.
    Success,
    /// A check was refused.
    Error,
}

/// What pairs an answer with its request.
pub type TransactionId = [u8; 12];

/// A Binding message whose attributes were walked once.
#[derive(Clone, Copy, Debug)]
pub struct StunMessage<'a> {
    /// What kind it is.
    pub class: Class,
    /// The value of USERNAME.
    pub username: Option<&'a str>,
    /// USE-CANDIDATE is there, under the integrity's protection.
    pub use_candidate: bool,
    raw: &'a [u8],
    /// Where MESSAGE-INTEGRITY starts, and its value.
    integrity: Option<(usize, &'a [u8])>,
}

impl<'a> StunMessage<'a> {
    /// What pairs an answer with its request.
    pub fn transaction_id(&self) -> Option<TransactionId> {
        self.raw.get(8..HEADER)?.try_into().ok()
    }

    /// Reads a Binding message; `None` for anything else.
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        let &[t0, t1, l0, l1, m0, m1, m2, m3, ..] = raw else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if [m0, m1, m2, m3] != MAGIC_COOKIE || length % 4 != 0 || raw.len() != HEADER + length {
            return None;
        }
        // The class is in bits 4 and 8, the method (Binding is 1) in the others.
        let class = match u16::from_be_bytes([t0, t1]) {
            0x0001 => Class::Request,
            0x0011 => Class::Indication,
            0x0101 => Class::Success,
            0x0111 => Class::Error,
            _ => return None,
        };
        let mut message = Self {
            class,
            username: None,
            use_candidate: false,
            raw,
            integrity: None,
        };
        let mut at = HEADER;
        while at < raw.len() {
            let &[k0, k1, v0, v1] = raw.get(at..at + 4)? else {
                return None;
            };
            let value_length = usize::from(u16::from_be_bytes([v0, v1]));
            let value = raw.get(at + 4..at + 4 + value_length)?;
            // RFC 8489 section 14.5: what follows MESSAGE-INTEGRITY is not protected by it.
            if message.integrity.is_none() {
                match u16::from_be_bytes([k0, k1]) {
                    USERNAME => message.username = std::str::from_utf8(value).ok(),
                    USE_CANDIDATE => message.use_candidate = true,
                    MESSAGE_INTEGRITY => message.integrity = Some((at, value)),
                    _ => {}
                }
            }
            at += 4 + value_length.next_multiple_of(4);
        }
        Some(message)
    }

    /// Whether the sender knows the password.
    pub fn is_authentic(&self, password: &str, crypto: &dyn RTCCrypto) -> bool {
        let Some((at, value)) = self.integrity else {
            return false;
        };
        // The HMAC covers the message up to the attribute, with a length that ends behind it.
        let covered = at + 4 + MAC_LENGTH - HEADER;
        let (Some(kind), Some(identity), Ok(length)) = (
            self.raw.get(..2),
            self.raw.get(4..at),
            u16::try_from(covered),
        ) else {
            return false;
        };
        value.len() == MAC_LENGTH
            && crypto
                .new_hmac(HmacAlgorithm::Sha1, password.as_bytes())
                .and_then(|mut mac| mac.verify(&[kind, &length.to_be_bytes(), identity], value))
                .is_ok()
    }
}

/// The answer to a check that came from `mapped` (RFC 8445 section 7.3.1.2).
pub(super) fn write_success(
    id: TransactionId,
    mapped: SocketAddr,
    password: &str,
    crypto: &dyn RTCCrypto,
) -> Option<BytesMut> {
    let mut answer = Message::new();
    answer
        .build(&[
            Box::new(BINDING_SUCCESS),
            Box::new(message::TransactionId(id)),
            Box::new(XorMappedAddress {
                ip: mapped.ip(),
                port: mapped.port(),
            }),
            Box::new(MessageIntegrity::new_short_term_integrity_with_provider(
                password.to_owned(),
                crypto,
            )),
            Box::new(FINGERPRINT),
        ])
        .ok()?;
    Some(BytesMut::from(answer.raw.as_slice()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    /// RFC 5769 section 2.1, password `VOkJxbRl1RmTxUk/WvJxBt`.
    const REQUEST: [u8; 108] = [
        0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6,
        0x86, 0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74,
        0x65, 0x73, 0x74, 0x20, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e,
        0x00, 0x01, 0xff, 0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36,
        0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20,
        0x20, 0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e,
        0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49, 0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5,
        0x7a, 0x3b, 0xcf,
    ];
    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    #[test]
    fn the_sample_request_of_rfc_5769_is_authentic() {
        let provider = rtc_crypto::default_provider().unwrap();
        let message = StunMessage::parse(&REQUEST).unwrap();
        assert_eq!(message.class, Class::Request);
        assert_eq!(message.username, Some("evtj:h6vY"));
        assert!(message.is_authentic(PASSWORD, provider.crypto()));
        assert!(!message.is_authentic("another", provider.crypto()));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let provider = rtc_crypto::default_provider().unwrap();
        // Everything before FINGERPRINT but the length field, which the walk itself checks.
        for at in (0..100).filter(|at| !(2..4).contains(at)) {
            let mut changed = REQUEST;
            changed[at] ^= 1;
            let authentic = StunMessage::parse(&changed)
                .is_some_and(|message| message.is_authentic(PASSWORD, provider.crypto()));
            assert!(!authentic, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), header in any::<bool>()) {
            if header && bytes.len() >= 20 {
                let length = u16::try_from((bytes.len() - 20) & !3).unwrap();
                bytes.truncate(20 + usize::from(length));
                bytes[..2].copy_from_slice(&[0, 1]);
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
                bytes[4..8].copy_from_slice(&MAGIC_COOKIE);
            }
            let provider = rtc_crypto::default_provider().unwrap();
            if let Some(message) = StunMessage::parse(&bytes) {
                prop_assert!(!message.is_authentic(PASSWORD, provider.crypto()));
            }
        }
    }
}
