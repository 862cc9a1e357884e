//! TURN's messages (RFC 8656): requests written, channel data and indications read in place.

use rtc_crypto::RTCCrypto;
use rtc_stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_ADDRESS_FAMILY,
    ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS,
};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    CLASS_REQUEST, METHOD_ALLOCATE, METHOD_CHANNEL_BIND, METHOD_REFRESH, Message, MessageType,
    Setter, TransactionId,
};
use rtc_stun::textattrs::TextAttribute;
use rtc_stun::xoraddr::XorMappedAddress;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const STUN_HEADER: usize = 20;
const CHANNEL_HEADER: usize = 4;

/// RFC 8656 section 18.8: UDP.
const UDP: u32 = 17 << 24;

/// RFC 8656 section 18.6: IPv6.
const FAMILY_IPV6: u32 = 2 << 24;

/// Data indication: method 7, class indication.
const DATA_INDICATION: [u8; 2] = [0x00, 0x17];
const ATTRIBUTE_DATA: u16 = 0x0013;
const ATTRIBUTE_XOR_PEER_ADDRESS: u16 = 0x0012;

/// What is asked of the server.
pub enum Request {
    /// A relayed address for UDP.
    Allocate {
        /// One of IPv6; the server's default (IPv4) otherwise.
        ipv6: bool,
    },
    /// More time; `Some(0)` gives the allocation back.
    Refresh(Option<u32>),
    /// This channel for this peer.
    ChannelBind(SocketAddr, u16),
}

/// Long-term credentials (RFC 8489 section 9.2).
pub struct Credentials<'a> {
    /// As configured.
    pub username: &'a str,
    /// As the server said.
    pub realm: &'a str,
    /// As the server said last.
    pub nonce: &'a str,
    /// Of username, realm and password.
    pub key: &'a [u8],
    /// For MESSAGE-INTEGRITY.
    pub crypto: &'a dyn RTCCrypto,
}

/// Writes a request; `None` where a credential is too long for its attribute.
pub fn request(
    id: TransactionId,
    request: &Request,
    credentials: Option<&Credentials<'_>>,
) -> Option<Vec<u8>> {
    let mut message = Message::new();
    message.transaction_id = id;
    let method = match request {
        Request::Allocate { .. } => METHOD_ALLOCATE,
        Request::Refresh(_) => METHOD_REFRESH,
        Request::ChannelBind(..) => METHOD_CHANNEL_BIND,
    };
    message.set_type(MessageType::new(method, CLASS_REQUEST));
    message.write_header();
    match request {
        Request::Allocate { ipv6 } => {
            message.add(ATTR_REQUESTED_TRANSPORT, &UDP.to_be_bytes());
            if *ipv6 {
                message.add(ATTR_REQUESTED_ADDRESS_FAMILY, &FAMILY_IPV6.to_be_bytes());
            }
        }
        Request::Refresh(Some(lifetime)) => message.add(ATTR_LIFETIME, &lifetime.to_be_bytes()),
        Request::Refresh(None) => {}
        Request::ChannelBind(peer, channel) => {
            message.add(
                ATTR_CHANNEL_NUMBER,
                &(u32::from(*channel) << 16).to_be_bytes(),
            );
            let address = XorMappedAddress {
                ip: peer.ip(),
                port: peer.port(),
            };
            address
                .add_to_as(&mut message, ATTR_XOR_PEER_ADDRESS)
                .ok()?;
        }
    }
    if let Some(credentials) = credentials {
        for (attribute, text) in [
            (ATTR_USERNAME, credentials.username),
            (ATTR_REALM, credentials.realm),
            (ATTR_NONCE, credentials.nonce),
        ] {
            TextAttribute::new(attribute, text.to_owned())
                .add_to(&mut message)
                .ok()?;
        }
        MessageIntegrity::new_raw_integrity_with_provider(credentials.key, credentials.crypto)
            .add_to(&mut message)
            .ok()?;
    }
    FINGERPRINT.add_to(&mut message).ok()?;
    Some(message.raw)
}

/// The transaction id of a STUN message.
pub fn transaction_id(message: &[u8]) -> Option<&[u8; 12]> {
    (message.get(4..8)? == MAGIC_COOKIE)
        .then(|| message.get(8..STUN_HEADER)?.try_into().ok())
        .flatten()
}

/// Channel and place of the data in a ChannelData message (RFC 8656 section 12.4).
pub fn channel_data(message: &[u8]) -> Option<(u16, Range<usize>)> {
    let &[c0, c1, l0, l1, ..] = message else {
        return None;
    };
    let end = CHANNEL_HEADER + usize::from(u16::from_be_bytes([l0, l1]));
    let sound = (0x40..=0x4F).contains(&c0) && message.len() >= end;
    sound.then(|| (u16::from_be_bytes([c0, c1]), CHANNEL_HEADER..end))
}

/// Writes a ChannelData message; over a stream it is padded (RFC 8656 section 12.5).
pub fn write_channel_data(channel: u16, payload: &[u8], padded: bool, out: &mut Vec<u8>) {
    let Ok(length) = u16::try_from(payload.len()) else {
        return;
    };
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(payload);
    if padded {
        let padding = payload.len().next_multiple_of(4) - payload.len();
        out.resize(out.len() + padding, 0);
    }
}

/// Peer and place of the data in a Data indication (RFC 8656 section 11.4).
pub fn data_indication(message: &[u8]) -> Option<(SocketAddr, Range<usize>)> {
    if message.get(..2)? != DATA_INDICATION || message.get(4..8)? != MAGIC_COOKIE {
        return None;
    }
    let id = message.get(8..STUN_HEADER)?;
    let (mut peer, mut data) = (None, None);
    let mut at = STUN_HEADER;
    while let Some(&[k0, k1, l0, l1]) = message.get(at..at + 4) {
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let range = at + 4..at + 4 + length;
        let value = message.get(range.clone())?;
        match u16::from_be_bytes([k0, k1]) {
            ATTRIBUTE_XOR_PEER_ADDRESS => peer = xor_address(value, id),
            ATTRIBUTE_DATA => data = Some(range),
            _ => {}
        }
        at += 4 + length.next_multiple_of(4);
    }
    peer.zip(data)
}

/// RFC 8489 section 14.2.
fn xor_address(value: &[u8], id: &[u8]) -> Option<SocketAddr> {
    let ([_, family, p0, p1], ip) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([p0 ^ 0x21, p1 ^ 0x12]);
    let plain = |mask: &mut dyn Iterator<Item = &u8>| -> Vec<u8> {
        ip.iter().zip(mask).map(|(byte, key)| byte ^ key).collect()
    };
    let key = MAGIC_COOKIE.iter().chain(id);
    let ip = match family {
        1 => {
            let plain: [u8; 4] = plain(&mut key.take(4)).try_into().ok()?;
            IpAddr::from(Ipv4Addr::from(plain))
        }
        2 => {
            let plain: [u8; 16] = plain(&mut key.take(16)).try_into().ok()?;
            IpAddr::from(Ipv6Addr::from(plain))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The length of the STUN or ChannelData message at the front of a stream, once its header is
/// there: `Err` for bytes that are neither, after which nothing can be made of the stream.
pub fn framed_length(front: &[u8]) -> Result<Option<usize>, ()> {
    let &[first, _, l0, l1, ..] = front else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    match first {
        0x00..=0x3F => Ok(Some(STUN_HEADER + length)),
        0x40..=0x4F => Ok(Some(CHANNEL_HEADER + length.next_multiple_of(4))),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn channel_data_is_padded_over_streams_only() {
        let (mut datagram, mut stream) = (Vec::new(), Vec::new());
        write_channel_data(0x4001, b"hello", false, &mut datagram);
        write_channel_data(0x4001, b"hello", true, &mut stream);
        assert_eq!(datagram, b"\x40\x01\x00\x05hello");
        assert_eq!(stream, b"\x40\x01\x00\x05hello\0\0\0");
        for message in [&datagram, &stream] {
            assert_eq!(channel_data(message), Some((0x4001, 4..9)));
        }
        assert_eq!(framed_length(&stream), Ok(Some(stream.len())));
        assert_eq!(framed_length(&stream[..3]), Ok(None));
        assert_eq!(framed_length(&[0xFF; 4]), Err(()));
    }

    #[test]
    fn data_that_ends_early_is_no_channel_data() {
        assert_eq!(channel_data(b"\x40\x01\x00\x05hell"), None);
        assert_eq!(channel_data(b"\x50\x01\x00\x00"), None);
    }

    #[test]
    fn a_data_indication_names_its_peer_and_its_data() {
        use rtc_stun::attributes::{ATTR_DATA, ATTR_XOR_PEER_ADDRESS};
        use rtc_stun::message::{CLASS_INDICATION, METHOD_DATA};
        for peer in ["192.0.2.7:4711", "[2001:db8::7]:4711"] {
            let peer: SocketAddr = peer.parse().unwrap();
            let mut message = Message::new();
            message.transaction_id = TransactionId::new();
            message.set_type(MessageType::new(METHOD_DATA, CLASS_INDICATION));
            message.write_header();
            message.add(ATTR_DATA, b"hello");
            XorMappedAddress {
                ip: peer.ip(),
                port: peer.port(),
            }
            .add_to_as(&mut message, ATTR_XOR_PEER_ADDRESS)
            .unwrap();
            let (found, range) = data_indication(&message.raw).unwrap();
            assert_eq!(found, peer);
            assert_eq!(&message.raw[range], b"hello");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 0_u8..3) {
            let mut bytes = bytes;
            if kind == 1 && bytes.len() >= 20 {
                bytes[..2].copy_from_slice(&DATA_INDICATION);
                bytes[4..8].copy_from_slice(&MAGIC_COOKIE);
            }
            if let Some((_, range)) = channel_data(&bytes) {
                prop_assert!(range.end <= bytes.len());
            }
            if let Some((_, range)) = data_indication(&bytes) {
                prop_assert!(range.end <= bytes.len());
            }
            let _ = (framed_length(&bytes), transaction_id(&bytes));
        }
    }
}
