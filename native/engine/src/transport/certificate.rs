//! The DTLS certificate, and fingerprints of certificates (RFC 8122 section 5).

use crate::error::Error;
use crate::plan::Fingerprint;
use ring::digest;
use rtc_crypto::RTCCrypto;
use rtc_dtls::crypto::Certificate;

/// Subject of a made certificate. It says nothing about the machine: peers authenticate the
/// fingerprint, nobody reads the name (RFC 8827 section 6.5 wants no identifying information).
const SUBJECT: &str = "WebRTC";

/// A fresh ECDSA P-256 certificate, or the configured one.
///
/// # Errors
///
/// [`Error::InvalidOption`] for PEM text without a usable key and certificate.
pub(super) fn load(pem: Option<&str>, crypto: &dyn RTCCrypto) -> Result<Certificate, Error> {
    match pem {
        None => Certificate::generate_self_signed(vec![SUBJECT.to_owned()], crypto)
            .map_err(|_| Error::Internal),
        Some(text) => {
            let ordered = key_first(text).ok_or(Error::InvalidOption)?;
            let certificate =
                Certificate::from_pem(&ordered, crypto).map_err(|_| Error::InvalidOption)?;
            if certificate.certificate.is_empty() {
                return Err(Error::InvalidOption);
            }
            Ok(certificate)
        }
    }
}

/// The PKCS#8 key before the certificates, under the tag that the DTLS crate reads (it wants an
/// underscore where RFC 7468 section 10 has a space). Blocks of other kinds are left out.
fn key_first(text: &str) -> Option<String> {
    let mut key = None;
    let mut certificates = String::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----")?;
        let (body, after) = after.split_once("-----END ")?;
        let (end, after) = after.split_once("-----")?;
        if end != label {
            return None;
        }
        match label {
            "PRIVATE KEY" | "PRIVATE_KEY" => {
                key = Some(format!(
                    "-----BEGIN PRIVATE_KEY-----{body}-----END PRIVATE_KEY-----\n"
                ));
            }
            "CERTIFICATE" => {
                certificates.push_str("-----BEGIN CERTIFICATE-----");
                certificates.push_str(body);
                certificates.push_str("-----END CERTIFICATE-----\n");
            }
            _ => {}
        }
        rest = after;
    }
    if certificates.is_empty() {
        return None;
    }
    key.map(|key| key + &certificates)
}

/// The SHA-256 fingerprint of a certificate in DER.
pub(super) fn sha256(der: &[u8]) -> Fingerprint {
    Fingerprint {
        algorithm: "sha-256".to_owned(),
        value: hex_pairs(digest::digest(&digest::SHA256, der).as_ref()),
    }
}

/// Whether the certificate is one of those that signalling announced. An empty list matches
/// nothing; a hash function we do not have matches nothing either.
pub(super) fn matches_any(der: &[u8], announced: &[Fingerprint]) -> bool {
    announced.iter().any(|fingerprint| {
        algorithm(&fingerprint.algorithm).is_some_and(|algorithm| {
            hex_pairs(digest::digest(algorithm, der).as_ref())
                .eq_ignore_ascii_case(&fingerprint.value)
        })
    })
}

fn algorithm(name: &str) -> Option<&'static digest::Algorithm> {
    // RFC 8122 section 5 also lists sha-224, md5 and md2; the last two must not be used, and
    // nobody uses the first.
    [
        ("sha-256", &digest::SHA256),
        ("sha-384", &digest::SHA384),
        ("sha-512", &digest::SHA512),
        ("sha-1", &digest::SHA1_FOR_LEGACY_USE_ONLY),
    ]
    .into_iter()
    .find_map(|(known, algorithm)| known.eq_ignore_ascii_case(name).then_some(algorithm))
}

fn hex_pairs(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        if !text.is_empty() {
            text.push(':');
        }
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(if nibble < 10 {
                b'0' + nibble
            } else {
                b'A' + nibble - 10
            }));
        }
    }
    text
}

/// Base64 with padding (RFC 4648 section 4), for `base64_certificate` in statistics.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0_u8; 3];
        for (slot, byte) in group.iter_mut().zip(chunk) {
            *slot = *byte;
        }
        let word = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for position in 0..4_usize {
            if position <= chunk.len() {
                let index = (word >> (18 - 6 * position)) & 63;
                text.push(
                    ALPHABET
                        .get(index as usize)
                        .copied()
                        .map_or('=', char::from),
                );
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_fingerprint_is_upper_case_hex_with_colons() {
        // SHA-256 of the empty string, FIPS 180-4 example.
        assert_eq!(
            sha256(b"").value,
            "E3:B0:C4:42:98:FC:1C:14:9A:FB:F4:C8:99:6F:B9:24:27:AE:41:E4:64:9B:93:4C:A4:95:99:1B:78:52:B8:55"
        );
    }

    #[test]
    fn any_announced_fingerprint_may_match_and_an_empty_list_never_does() {
        let der = b"certificate";
        let right = sha256(der);
        let wrong = sha256(b"other");
        assert!(!matches_any(der, &[]));
        assert!(!matches_any(der, std::slice::from_ref(&wrong)));
        assert!(matches_any(der, &[wrong.clone(), right.clone()]));
        let lower = Fingerprint {
            algorithm: "SHA-256".into(),
            value: right.value.to_lowercase(),
        };
        assert!(matches_any(der, &[lower]));
        let mislabelled = Fingerprint {
            algorithm: "sha-512".into(),
            value: right.value.clone(),
        };
        assert!(!matches_any(der, &[mislabelled]));
        for (name, algorithm) in [
            ("sha-1", &digest::SHA1_FOR_LEGACY_USE_ONLY),
            ("sha-384", &digest::SHA384),
            ("sha-512", &digest::SHA512),
        ] {
            let announced = Fingerprint {
                algorithm: name.into(),
                value: hex_pairs(digest::digest(algorithm, der).as_ref()),
            };
            assert!(matches_any(der, &[announced]), "{name}");
        }
        let unknown = Fingerprint {
            algorithm: "md5".into(),
            value: right.value,
        };
        assert!(!matches_any(der, &[unknown]));
    }

    #[test]
    fn base64_pads_as_rfc_4648_does() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), text);
        }
    }

    #[test]
    fn a_certificate_survives_pem_in_either_order_with_the_standard_tag() {
        let provider = rtc_crypto::default_provider().unwrap();
        let made = load(None, provider.crypto()).unwrap();
        let pem = made.serialize_pem().unwrap();
        let standard = pem.replace("PRIVATE_KEY", "PRIVATE KEY");
        let certificate_at = standard.find("-----BEGIN CERTIFICATE").unwrap();
        let (key, certificate) = standard.split_at(certificate_at);
        for text in [pem.clone(), standard.clone(), format!("{certificate}{key}")] {
            let read = load(Some(&text), provider.crypto()).unwrap();
            assert_eq!(read.certificate, made.certificate);
        }
        for text in ["", "nonsense", key, certificate] {
            assert_eq!(
                load(Some(text), provider.crypto()).err(),
                Some(Error::InvalidOption)
            );
        }
    }
}
