//! SRTP keys from DTLS (RFC 5764): the profile that was agreed on, and what both sides take from
//! the secrets of the handshake.

use crate::config::SrtpProfile;
use crate::transport::srtp;
use rtc_crypto::RTCCrypto;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_dtls::state::State;

const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// Both directions of SRTP.
pub(in crate::transport) struct Keys {
    pub profile: SrtpProfile,
    pub outbound: srtp::Direction,
    pub inbound: srtp::Direction,
}

/// What the endpoint calls a profile.
pub(super) fn protection_profile(profile: SrtpProfile) -> SrtpProtectionProfile {
    match profile {
        SrtpProfile::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        SrtpProfile::Aes128CmHmacSha1_80 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
    }
}

/// The profile of a finished handshake.
pub(super) fn agreed_profile(state: &State) -> Option<SrtpProfile> {
    match state.srtp_protection_profile() {
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Some(SrtpProfile::AeadAes128Gcm),
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => {
            Some(SrtpProfile::Aes128CmHmacSha1_80)
        }
        // A peer with data channels only need not offer any.
        _ => None,
    }
}

impl Keys {
    pub(super) fn export(
        state: &State,
        profile: SrtpProfile,
        crypto: &dyn RTCCrypto,
    ) -> Option<Self> {
        let (key, salt) = profile.key_lengths();
        let material = state
            .export_keying_material(EXPORTER_LABEL, &[], 2 * (key + salt))
            .ok()?;
        Self::split(material.as_ref(), profile, state.is_client(), crypto)
    }

    /// RFC 5764 section 4.2: client key, server key, client salt, server salt.
    fn split(
        material: &[u8],
        profile: SrtpProfile,
        client: bool,
        crypto: &dyn RTCCrypto,
    ) -> Option<Self> {
        let (key, salt) = profile.key_lengths();
        let (client_key, rest) = material.split_at_checked(key)?;
        let (server_key, rest) = rest.split_at_checked(key)?;
        let (client_salt, server_salt) = rest.split_at_checked(salt)?;
        let of_client = srtp::Direction::new(profile, client_key, client_salt, crypto).ok()?;
        let of_server = srtp::Direction::new(profile, server_key, server_salt, crypto).ok()?;
        let (outbound, inbound) = if client {
            (of_client, of_server)
        } else {
            (of_server, of_client)
        };
        Some(Self {
            profile,
            outbound,
            inbound,
        })
    }
}
