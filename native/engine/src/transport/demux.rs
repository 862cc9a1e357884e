//! Which protocol a datagram belongs to, by its first byte (RFC 7983 section 7).

/// The protocols that share the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    /// ZRTP, TURN channel data, QUIC, or nothing we know: dropped.
    Other,
}

/// Looks at the first two bytes only; whoever handles the protocol checks the rest.
pub(super) fn classify(datagram: &[u8]) -> Protocol {
    match datagram {
        [0..=3, ..] => Protocol::Stun,
        [20..=63, ..] => Protocol::Dtls,
        // RFC 5761 section 4: with rtcp-mux, payload types 64 to 95 (192 to 223 with the marker
        // bit, where RTCP packet types live) are not used for RTP.
        [128..=191, 192..=223, ..] => Protocol::Rtcp,
        [128..=191, _, ..] => Protocol::Rtp,
        _ => Protocol::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_of_rfc_7983_goes_where_it_belongs() {
        for byte in 0..=255_u8 {
            let expected = match byte {
                0..=3 => Protocol::Stun,
                20..=63 => Protocol::Dtls,
                128..=191 => Protocol::Rtp,
                _ => Protocol::Other,
            };
            assert_eq!(classify(&[byte, 96]), expected, "first byte {byte}");
        }
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_the_packet_type() {
        assert_eq!(classify(&[0x80, 200]), Protocol::Rtcp);
        assert_eq!(classify(&[0x81, 206]), Protocol::Rtcp);
        // Payload type 96 with the marker bit.
        assert_eq!(classify(&[0x80, 224]), Protocol::Rtp);
        assert_eq!(classify(&[]), Protocol::Other);
        assert_eq!(classify(&[0x80]), Protocol::Other);
    }
}
