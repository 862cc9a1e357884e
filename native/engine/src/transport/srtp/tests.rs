#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use proptest::prelude::*;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

const PROFILES: [SrtpProfile; 2] = [SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmHmacSha1_80];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(u8::is_ascii_hexdigit)
        .map(|digit| char::from(digit).to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn direction(profile: SrtpProfile) -> Direction {
    let (key, salt) = profile.key_lengths();
    let provider = rtc_crypto::default_provider().unwrap();
    Direction::new(
        profile,
        &[0x5A; 16][..key],
        &[0xC3; 14][..salt],
        provider.crypto(),
    )
    .unwrap()
}

fn reference(profile: SrtpProfile) -> Context {
    let (key, salt) = profile.key_lengths();
    let provider = rtc_crypto::default_provider().unwrap();
    let name = match profile {
        SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProfile::Aes128CmHmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    Context::new(
        &[0x5A; 16][..key],
        &[0xC3; 14][..salt],
        name,
        None,
        None,
        provider.crypto(),
    )
    .unwrap()
}

fn packet(ssrc: u32, sequence: u16, extension: bool, payload: &[u8]) -> (Vec<u8>, usize) {
    let mut bytes = vec![if extension { 0x90 } else { 0x80 }, 96];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend([0, 0, 0, 9]);
    bytes.extend(ssrc.to_be_bytes());
    if extension {
        bytes.extend([0xBE, 0xDE, 0, 1, 0x10, 7, 0, 0]);
    }
    let header = bytes.len();
    bytes.extend(payload);
    (bytes, header)
}

fn protect(direction: &mut Direction, plain: &[u8], header: usize) -> Vec<u8> {
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + direction.rtp_overhead(), 0);
    direction.protect_rtp(&mut buffer, header).unwrap();
    buffer
}

#[test]
fn keys_are_derived_as_in_rfc_3711_appendix_b_3() {
    let provider = rtc_crypto::default_provider().unwrap();
    let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
    let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
    let derived: [u8; 16] = derive(provider.crypto(), 0, &key, &salt).unwrap();
    assert_eq!(derived.to_vec(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
    let derived: [u8; 14] = derive(provider.crypto(), 2, &key, &salt).unwrap();
    assert_eq!(derived.to_vec(), hex("30CBBC08863D8C85D49DB34A9AE1"));
    let derived: [u8; 20] = derive(provider.crypto(), 1, &key, &salt).unwrap();
    assert_eq!(
        derived.to_vec(),
        hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
    );
}

#[test]
fn the_counter_mode_keystream_is_that_of_rfc_3711_appendix_b_2() {
    let provider = rtc_crypto::default_provider().unwrap();
    let salt: [u8; 14] = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
    let iv = cm_iv(&salt, 0, 0);
    assert_eq!(iv.to_vec(), hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000"));
    let mut cipher = provider
        .crypto()
        .new_stream_cipher(
            StreamCipherAlgorithm::Aes128Ctr,
            &hex("2B7E151628AED2A6ABF7158809CF4F3C"),
        )
        .unwrap();
    let mut stream = [0; 48];
    cipher.apply_keystream(&iv, &mut stream).unwrap();
    assert_eq!(
        stream.to_vec(),
        hex(
            "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0"
        )
    );
}

/// RFC 7714 sections 16 and 17 give session keys, so the derivation is stepped over.
fn rfc_7714(rtp_index: Option<u64>, rtcp_index: Option<u64>) -> Direction {
    let provider = rtc_crypto::default_provider().unwrap();
    let cipher = || Cipher::Gcm {
        aead: provider
            .crypto()
            .new_aead(
                AeadAlgorithm::Aes128Gcm,
                &hex("000102030405060708090a0b0c0d0e0f"),
            )
            .unwrap(),
        salt: hex("517569642070726f2071756f").try_into().unwrap(),
    };
    let mut direction = Direction {
        profile: SrtpProfile::AeadAes128Gcm,
        rtp: cipher(),
        rtcp: cipher(),
        rtp_sources: Sources::default(),
        rtcp_sources: Sources::default(),
    };
    if let Some(index) = rtp_index {
        direction.rtp_sources.add(0x4d61_7273, index);
    }
    if let Some(index) = rtcp_index {
        direction.rtcp_sources.add(0x4d61_7273, index);
    }
    direction
}

#[test]
fn the_gcm_packet_is_that_of_rfc_7714_section_16_1_1() {
    let plain = hex(
        "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573",
    );
    let expected = hex(
        "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
    );
    let mut direction = rfc_7714(None, None);
    let protected = protect(&mut direction, &plain, 12);
    assert_eq!(protected, expected);
    let mut opened = expected;
    let length = rfc_7714(None, None).unprotect_rtp(&mut opened).unwrap();
    assert_eq!(opened[..length], plain);
}

#[test]
fn the_gcm_control_packet_is_that_of_rfc_7714_section_17_1() {
    let plain = hex(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef",
    );
    let expected = hex(
        "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
    );
    let mut out = vec![1, 2, 3];
    let length = rfc_7714(None, Some(0x5d3))
        .protect_rtcp(&plain, &mut out)
        .unwrap();
    assert_eq!(out[3..], expected);
    assert_eq!(length, expected.len());
    let mut opened = expected;
    let length = rfc_7714(None, None).unprotect_rtcp(&mut opened).unwrap();
    assert_eq!(opened[..length], plain);
}

#[test]
fn protection_equals_rtc_srtp_over_roll_overs() {
    for profile in PROFILES {
        let (mut ours, mut theirs) = (direction(profile), reference(profile));
        let mut sequence = 65_000_u16;
        for n in 0..200_000_u32 {
            sequence = sequence.wrapping_add(1);
            // Every packet near a roll-over, a sample of the rest; some late ones.
            if (2_000..63_000).contains(&sequence) && n % 97 != 0 {
                continue;
            }
            let late = if n % 13 == 0 {
                sequence.wrapping_sub(40)
            } else {
                sequence
            };
            let (plain, header) = packet(7, late, n % 2 == 0, &n.to_be_bytes());
            let protected = protect(&mut ours, &plain, header);
            let expected = theirs.encrypt_rtp(&plain).unwrap();
            assert_eq!(
                protected,
                expected[..],
                "{profile:?}, sequence {late}, packet {n}"
            );
        }
    }
}

#[test]
fn control_packets_equal_those_of_rtc_srtp() {
    for profile in PROFILES {
        let (mut ours, mut theirs) = (direction(profile), reference(profile));
        for n in 0..100_u32 {
            let mut plain = vec![0x80, 200, 0, 6];
            plain.extend((n % 3).to_be_bytes());
            plain.extend(vec![n as u8; 20]);
            let mut out = vec![];
            ours.protect_rtcp(&plain, &mut out).unwrap();
            assert_eq!(out, theirs.encrypt_rtcp(&plain).unwrap()[..]);
            let length = direction(profile).unprotect_rtcp(&mut out).unwrap();
            assert_eq!(out[..length], plain);
        }
    }
}

#[test]
fn a_receiver_follows_the_roll_over_through_loss_and_disorder() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = (direction(profile), direction(profile));
        let mut held: Option<(Vec<u8>, Vec<u8>)> = None;
        for n in 0..150_000_u32 {
            if n % 7 == 0 || (n % 60_000 > 3_000 && n % 101 != 0) {
                continue;
            }
            let (plain, header) = packet(7, n as u16, false, &n.to_be_bytes());
            let protected = protect(&mut sender, &plain, header);
            if n % 5 == 0 && held.is_none() {
                held = Some((plain, protected));
                continue;
            }
            let late = held.take_if(|_| n % 3 == 0);
            for (plain, mut bytes) in [Some((plain, protected)), late].into_iter().flatten() {
                let length = receiver.unprotect_rtp(&mut bytes).unwrap();
                assert_eq!(bytes[..length], plain);
            }
        }
    }
}

#[test]
fn a_resend_of_the_same_bytes_across_a_roll_over_is_the_same_packet() {
    for profile in PROFILES {
        let mut sender = direction(profile);
        let (plain, header) = packet(7, 65_530, false, b"once");
        let first = protect(&mut sender, &plain, header);
        for sequence in (65_531..=u16::MAX).chain(0..500) {
            let (plain, header) = packet(7, sequence, false, b"on");
            protect(&mut sender, &plain, header);
        }
        assert_eq!(protect(&mut sender, &plain, header), first);
    }
}

#[test]
fn replays_and_packets_behind_the_window_are_dropped() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = (direction(profile), direction(profile));
        let sent: Vec<_> = (0..3_000_u16)
            .map(|sequence| {
                let (plain, header) = packet(7, sequence, false, b"x");
                protect(&mut sender, &plain, header)
            })
            .collect();
        let mut open = |sequence: usize| {
            receiver
                .unprotect_rtp(&mut sent[sequence].clone())
                .is_some()
        };
        assert!(open(10));
        assert!(!open(10));
        assert!(open(9));
        assert!(open(1_033));
        assert!(!open(9), "1,024 behind");
        assert!(open(11), "1,022 behind");
        assert!(!open(11));
        assert!(!open(1_033));
        // A jump over the whole window forgets it.
        assert!(open(2_999));
        assert!(open(2_998));
        assert!(!open(2_998));
        assert!(!open(1_033));
    }
}

#[test]
fn control_packets_are_taken_once() {
    for profile in PROFILES {
        let mut sender = direction(profile);
        let mut receiver = direction(profile);
        let mut out = vec![];
        sender
            .protect_rtcp(&[0x80, 201, 0, 1, 0, 0, 0, 7], &mut out)
            .unwrap();
        assert!(receiver.unprotect_rtcp(&mut out.clone()).is_some());
        assert!(receiver.unprotect_rtcp(&mut out).is_none());
    }
}

#[test]
fn forgeries_leave_no_state() {
    for profile in PROFILES {
        let mut receiver = direction(profile);
        for ssrc in 0..10_000_u32 {
            let (mut bytes, _) = packet(ssrc, 1, false, &[0; 40]);
            assert!(receiver.unprotect_rtp(&mut bytes).is_none());
            bytes[1] = 200;
            assert!(receiver.unprotect_rtcp(&mut bytes).is_none());
        }
        assert_eq!(receiver.sources(), 0);
    }
}

#[test]
fn sources_are_bounded() {
    let profile = SrtpProfile::AeadAes128Gcm;
    let (mut first, mut second) = (direction(profile), direction(profile));
    let mut receiver = direction(profile);
    for ssrc in 0..2 * MAX_SOURCES as u32 {
        let sender = if (ssrc as usize) < MAX_SOURCES {
            &mut first
        } else {
            &mut second
        };
        let (plain, header) = packet(ssrc, 1, false, b"x");
        let mut bytes = protect(sender, &plain, header);
        let taken = receiver.unprotect_rtp(&mut bytes).is_some();
        assert_eq!(taken, (ssrc as usize) < MAX_SOURCES);
    }
    assert_eq!(receiver.sources(), MAX_SOURCES);
}

proptest! {
    #[test]
    fn what_is_protected_opens_and_what_is_changed_does_not(
        payload in prop::collection::vec(any::<u8>(), 0..300), sequence: u16, ssrc: u32,
        extension: bool, at in any::<prop::sample::Index>(), bit in 0..8_u32, gcm: bool,
    ) {
        let profile = PROFILES[usize::from(!gcm)];
        let (plain, header) = packet(ssrc, sequence, extension, &payload);
        let protected = protect(&mut direction(profile), &plain, header);
        let mut receiver = direction(profile);
        let mut changed = protected.clone();
        changed[at.index(protected.len())] ^= 1 << bit;
        prop_assert_eq!(receiver.unprotect_rtp(&mut changed), None);
        let mut bytes = protected;
        let length = receiver.unprotect_rtp(&mut bytes).unwrap();
        prop_assert_eq!(&bytes[..length], &plain[..]);
    }

    #[test]
    fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..120), first in 0x80..0xC0_u8, header in 0..200_usize) {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        for profile in PROFILES {
            let mut receiver = direction(profile);
            prop_assert_eq!(receiver.unprotect_rtp(&mut bytes.clone()), None);
            prop_assert_eq!(receiver.unprotect_rtcp(&mut bytes.clone()), None);
            let _ = receiver.protect_rtp(&mut bytes.clone(), header);
            let _ = receiver.protect_rtcp(&bytes, &mut vec![]);
        }
    }
}
