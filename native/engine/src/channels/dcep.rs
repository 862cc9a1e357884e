//! The Data Channel Establishment Protocol (RFC 8832 section 5).

use bytes::{BufMut, Bytes, BytesMut};

const OPEN: u8 = 0x03;
const ACK: u8 = 0x02;
/// Priority "normal" (RFC 8831 section 6.4, RFC 8832 section 8.2.1).
const NORMAL_PRIORITY: u16 = 256;
/// Type, channel type, priority, reliability parameter and the two lengths.
const OPEN_HEADER: usize = 12;
const UNORDERED: u8 = 0x80;

/// How hard SCTP tries (RFC 3758).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reliability {
    /// Until it arrives.
    Full,
    /// This many retransmissions.
    Retransmits(u16),
    /// This many milliseconds.
    Lifetime(u16),
}

/// A DCEP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// DATA_CHANNEL_OPEN
    Open(Open),
    /// DATA_CHANNEL_ACK
    Ack,
}

/// What the opener of a channel decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) ordered: bool,
    pub(super) reliability: Reliability,
    pub(super) label: String,
    pub(super) protocol: String,
}

impl Message {
    /// None for anything that RFC 8832 does not define. Text that is not UTF-8 is repaired.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        match *bytes.first()? {
            ACK => Some(Self::Ack),
            OPEN => Open::parse(bytes).map(Self::Open),
            _ => None,
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        match self {
            Self::Ack => Bytes::from_static(&[ACK]),
            Self::Open(open) => open.encode(),
        }
    }
}

impl Open {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, text) = bytes.split_at_checked(OPEN_HEADER)?;
        let &[_, kind, _, _, p0, p1, p2, p3, l0, l1, n0, n1] = header else {
            return None;
        };
        // W3C gives both limits sixteen bits; a larger one from the wire means "no tighter".
        let parameter = u16::try_from(u32::from_be_bytes([p0, p1, p2, p3])).unwrap_or(u16::MAX);
        let reliability = match kind & !UNORDERED {
            0 => Reliability::Full,
            1 => Reliability::Retransmits(parameter),
            2 => Reliability::Lifetime(parameter),
            _ => return None,
        };
        let (label, rest) = text.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
        let protocol = rest.get(..usize::from(u16::from_be_bytes([n0, n1])))?;
        Some(Self {
            ordered: kind & UNORDERED == 0,
            reliability,
            label: String::from_utf8_lossy(label).into_owned(),
            protocol: String::from_utf8_lossy(protocol).into_owned(),
        })
    }

    fn encode(&self) -> Bytes {
        let (kind, parameter) = match self.reliability {
            Reliability::Full => (0, 0),
            Reliability::Retransmits(count) => (1, count),
            Reliability::Lifetime(millis) => (2, millis),
        };
        // The options were checked to hold at most 65,535 bytes each.
        let label = self.label.as_bytes();
        let protocol = self.protocol.as_bytes();
        let mut out = BytesMut::with_capacity(OPEN_HEADER + label.len() + protocol.len());
        out.put_u8(OPEN);
        out.put_u8(if self.ordered { kind } else { kind | UNORDERED });
        out.put_u16(NORMAL_PRIORITY);
        out.put_u32(u32::from(parameter));
        out.put_u16(label.len() as u16);
        out.put_u16(protocol.len() as u16);
        out.put_slice(label);
        out.put_slice(protocol);
        out.freeze()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reliability() -> impl Strategy<Value = Reliability> {
        prop_oneof![
            Just(Reliability::Full),
            any::<u16>().prop_map(Reliability::Retransmits),
            any::<u16>().prop_map(Reliability::Lifetime),
        ]
    }

    proptest! {
        #[test]
        fn an_open_message_survives_the_wire(
            ordered: bool, reliability in reliability(), label in ".{0,40}", protocol in ".{0,40}",
        ) {
            let open = Message::Open(Open { ordered, reliability, label, protocol });
            prop_assert_eq!(Message::parse(&open.encode()), Some(open));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Message::parse(&bytes);
        }

        #[test]
        fn a_cut_open_message_is_refused(cut in 0usize..17) {
            let open = Message::Open(Open {
                ordered: true,
                reliability: Reliability::Full,
                label: "abc".into(),
                protocol: "de".into(),
            });
            prop_assert_eq!(Message::parse(&open.encode()[..cut]), None);
        }
    }

    #[test]
    fn the_open_message_of_the_rfc_is_laid_out_as_drawn() {
        let open = Message::Open(Open {
            ordered: false,
            reliability: Reliability::Retransmits(3),
            label: "a".into(),
            protocol: "bc".into(),
        });
        assert_eq!(
            open.encode().as_ref(),
            b"\x03\x81\x01\x00\0\0\0\x03\0\x01\0\x02abc"
        );
    }
}
