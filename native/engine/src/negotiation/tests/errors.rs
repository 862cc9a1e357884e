//! Section 4 of the contract: every error, and that it changes nothing.

use super::support::*;
use crate::error::Error;
use crate::negotiation::Negotiation;
use crate::w3c::{Kind, SdpType, SdpValidation};

fn offer() -> String {
    let mut a = peer();
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.add_track(track(2, Kind::Video)).unwrap();
    a.want_data_channels();
    a.create_offer(false).unwrap().sdp
}

fn strict() -> Negotiation {
    let mut strict = config();
    strict.sdp_validation = SdpValidation::Strict;
    with(strict)
}

fn without(sdp: &str, prefix: &str) -> String {
    sdp.lines()
        .filter(|l| !l.starts_with(prefix))
        .map(|l| format!("{l}\r\n"))
        .collect()
}

/// Changes the last line that starts with `prefix`.
fn last(sdp: &str, prefix: &str, to: &str) -> String {
    let at = sdp.rfind(prefix).unwrap();
    let end = at + sdp[at..].find("\r\n").unwrap();
    format!("{}{to}{}", &sdp[..at], &sdp[end..])
}

fn refused(peer: &mut Negotiation, sdp: &str) -> Option<Error> {
    let before = format!("{peer:?}");
    let result = peer.set_remote(description(SdpType::Offer, sdp)).err();
    if result.is_some() {
        assert_eq!(format!("{peer:?}"), before);
    }
    result
}

#[test]
fn strict_validation_returns_every_error() {
    let sdp = offer();
    let no_sections = sdp.split("m=").next().unwrap();
    let cases = [
        ("".to_owned(), Error::EmptySdp),
        (without(no_sections, "a=group"), Error::EmptySdp),
        ("v=0\r\nnonsense".to_owned(), Error::InvalidSdpSyntax),
        (last(&sdp, "a=mid:", "a=x"), Error::MissingMid),
        (last(&sdp, "a=mid:", "a=mid:0"), Error::DuplicatedMid),
        (without(&sdp, "a=group"), Error::MissingBundleGroup),
        (
            last(&sdp, "a=group", "a=group:BUNDLE 0\r\na=group:BUNDLE 1 2"),
            Error::MultipleBundleGroups,
        ),
        (
            last(&sdp, "a=group", "a=group:BUNDLE 0 1"),
            Error::NonExhaustiveBundleGroup,
        ),
        (
            last(&sdp, "a=group", "a=group:BUNDLE 0 1 2 3"),
            Error::InvalidBundleGroup,
        ),
        (
            format!(
                "{}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:3\r\na=sctp-port:5000\r\n",
                sdp.replace("BUNDLE 0 1 2", "BUNDLE 0 1 2 3")
            ),
            Error::MultipleDataMlines,
        ),
        (
            sdp.replace("webrtc-datachannel", "other"),
            Error::InvalidDatachannelFormat,
        ),
        (without(&sdp, "a=sctp-port"), Error::NoSctpPort),
        (last(&sdp, "a=rtcp-mux", "a=x"), Error::MissingRtcpMux),
        (
            without(&without(&sdp, "a=ice-ufrag"), "a=ice-pwd"),
            Error::MissingIceCredentials,
        ),
        (last(&sdp, "a=ice-ufrag", "a=x"), Error::MissingIceUfrag),
        (last(&sdp, "a=ice-pwd", "a=x"), Error::MissingIcePwd),
        (
            last(&sdp, "a=ice-ufrag", "a=ice-ufrag:other"),
            Error::ConflictingIceCredentials,
        ),
        (
            last(&sdp, "a=fingerprint", "a=x"),
            Error::MissingCertFingerprint,
        ),
        (
            last(&sdp, "a=fingerprint", "a=fingerprint:sha-256 AA:BB"),
            Error::ConflictingCertFingerprints,
        ),
        (
            sdp.replace("sha-256", "md5"),
            Error::UnsupportedCertFingerprintHashFunction,
        ),
        (
            sdp.replace("a=fingerprint:sha-256 AB", "a=fingerprint:sha-256 zz"),
            Error::InvalidSdpSyntax,
        ),
        (last(&sdp, "a=setup", "a=x"), Error::MissingDtlsRole),
        (
            last(&sdp, "a=setup", "a=setup:active"),
            Error::ConflictingDtlsRoles,
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(&mut strict(), &text), Some(expected), "{text}");
    }
    assert_eq!(refused(&mut strict(), &sdp), None);
}

/// Both m-lines of an offer that differ in one attribute, or lack it, are told so whatever else is
/// wrong with it.
#[test]
fn what_is_missing_is_told_before_what_disagrees_and_that_before_how_it_is_written() {
    let sdp = offer();
    let cases = [
        (
            last(&sdp, "a=ice-pwd", "a=ice-pwd:other"),
            Error::ConflictingIceCredentials,
        ),
        (
            last(&sdp, "a=ice-ufrag", "a=ice-ufrag:x"),
            Error::ConflictingIceCredentials,
        ),
        (
            last(
                &sdp.replace("a=ice-ufrag:", "a=ice-ufrag:!"),
                "a=ice-pwd",
                "a=x",
            ),
            Error::MissingIcePwd,
        ),
        (
            sdp.replace("a=ice-ufrag:", "a=ice-ufrag:!"),
            Error::InvalidSdpSyntax,
        ),
        (
            last(&sdp.replace("sha-256", "md5"), "a=fingerprint", "a=x"),
            Error::MissingCertFingerprint,
        ),
        (
            last(&sdp, "a=fingerprint", "a=fingerprint:md5 zz"),
            Error::ConflictingCertFingerprints,
        ),
        (
            last(&sdp, "a=fingerprint", "a=fingerprint:sha-256"),
            Error::ConflictingCertFingerprints,
        ),
        (
            last(
                &sdp.replacen("a=setup:actpass", "a=setup:active", 1),
                "a=setup",
                "a=x",
            ),
            Error::MissingDtlsRole,
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(&mut strict(), &text), Some(expected), "{text}");
    }
}

#[test]
fn a_fingerprint_is_as_many_hexadecimal_bytes_as_its_hash_function_makes() {
    let sdp = offer();
    let said = lines(&sdp, "a=fingerprint")[0];
    let bytes = |count: usize| vec!["AB"; count].join(":");
    for (wrong, expected) in [
        ("sha-256 zz".to_owned(), Error::InvalidSdpSyntax),
        ("sha-256".to_owned(), Error::InvalidSdpSyntax),
        (format!("sha-256 {}", bytes(31)), Error::InvalidSdpSyntax),
        (format!("sha-256 {}", bytes(33)), Error::InvalidSdpSyntax),
        (format!("sha-256 {}:", bytes(32)), Error::InvalidSdpSyntax),
        (
            format!("sha-256 {}", bytes(32).replace(':', "")),
            Error::InvalidSdpSyntax,
        ),
        (format!("sha-512 {}", bytes(32)), Error::InvalidSdpSyntax),
        (
            format!("sha-1 {}", bytes(20)),
            Error::UnsupportedCertFingerprintHashFunction,
        ),
        (
            format!("sha-256 {}\r\na=fingerprint:sha-1 {}", bytes(32), bytes(19)),
            Error::InvalidSdpSyntax,
        ),
    ] {
        let text = sdp.replace(said, &format!("a=fingerprint:{wrong}"));
        for mut peer in [peer(), strict()] {
            assert_eq!(refused(&mut peer, &text), Some(expected), "{wrong}");
        }
    }
    for right in [
        format!("sha-384 {}", bytes(48)),
        format!("SHA-256 {}", bytes(32).to_lowercase()),
    ] {
        let text = sdp.replace(said, &format!("a=fingerprint:{right}"));
        for mut peer in [peer(), strict()] {
            assert_eq!(refused(&mut peer, &text), None, "{right}");
        }
    }
}

#[test]
fn beside_a_fingerprint_that_can_be_checked_there_may_be_others_which_do_not_count() {
    let sdp = offer();
    let said = lines(&sdp, "a=fingerprint")[0];
    let weak = format!("a=fingerprint:sha-1 {}", vec!["CD"; 20].join(":"));
    for both in [format!("{weak}\r\n{said}"), format!("{said}\r\n{weak}")] {
        for mut peer in [peer(), strict()] {
            let text = sdp.replace(said, &both);
            assert_eq!(refused(&mut peer, &text), None);
            peer.set_local(None).unwrap();
            let plan = peer.transport_plan().unwrap();
            let algorithms: Vec<_> = plan
                .remote_fingerprints
                .iter()
                .map(|f| f.algorithm.as_str())
                .collect();
            assert_eq!(algorithms, ["sha-256"]);
        }
    }
}

#[test]
fn by_default_what_jsep_calls_legal_is_taken() {
    let sdp = offer();
    let cases = [
        without(sdp.split("m=").next().unwrap(), "a=group"),
        last(&sdp, "a=ice-ufrag", "a=x"),
        last(&sdp, "a=ice-ufrag", "a=ice-ufrag:other"),
        last(&sdp, "a=fingerprint", "a=x"),
        last(&sdp, "a=fingerprint", "a=fingerprint:sha-256 AA:BB"),
        last(&sdp, "a=setup", "a=setup:active"),
        last(&sdp, "a=rtcp-mux", "a=x"),
    ];
    for text in cases {
        let mut b = peer();
        assert_eq!(refused(&mut b, &text), None, "{text}");
        b.set_local(None).unwrap();
    }
    for (text, expected) in [
        (without(&sdp, "a=ice-ufrag"), Error::MissingIceUfrag),
        (without(&sdp, "a=setup"), Error::MissingDtlsRole),
        (
            without(&sdp, "a=fingerprint"),
            Error::MissingCertFingerprint,
        ),
        (without(&sdp, "a=rtcp-mux"), Error::MissingRtcpMux),
        (
            sdp.replace("sha-256", "sha-1"),
            Error::UnsupportedCertFingerprintHashFunction,
        ),
    ] {
        assert_eq!(refused(&mut peer(), &text), Some(expected));
    }
}

#[test]
fn without_a_group_the_first_m_line_is_negotiated_and_the_others_are_refused() {
    let mut b = peer();
    b.set_remote(description(SdpType::Offer, &without(&offer(), "a=group")))
        .unwrap();
    b.set_local(None).unwrap();
    let answer = b.current_local_description().unwrap().sdp;
    let ports: Vec<_> = lines(&answer, "m=")
        .iter()
        .map(|l| l.split(' ').nth(1).unwrap())
        .collect();
    assert_eq!(ports, ["9", "0", "0"]);
    assert!(!answer.contains("a=group"));
    assert_eq!(b.media_plan().sections.len(), 1);
}

#[test]
fn m_lines_without_mid_get_one_that_the_answer_does_not_show() {
    let text = without(&without(&offer(), "a=group"), "a=mid");
    let mut b = peer();
    b.set_remote(description(SdpType::Offer, &text)).unwrap();
    assert!(b.transceivers()[0].mid.is_some());
    b.set_local(None).unwrap();
    assert!(!b.current_local_description().unwrap().sdp.contains("a=mid"));
    b.set_remote(description(SdpType::Offer, &text)).unwrap();
    b.set_local(None).unwrap();
    assert_eq!(b.transceivers().len(), 1);
}

#[test]
fn a_group_in_an_offer_without_mids_names_nothing() {
    for group in [
        "a=group:BUNDLE 0 1 2",
        "a=group:BUNDLE a b c",
        "a=group:BUNDLE",
    ] {
        let mut a = peer();
        a.add_track(track(1, Kind::Audio)).unwrap();
        a.add_track(track(2, Kind::Video)).unwrap();
        a.want_data_channels();
        a.set_local(None).unwrap();
        let whole = a.pending_local_description().unwrap().sdp;
        let text = last(&without(&whole, "a=mid"), "a=group", group);
        let mut b = peer();
        assert_eq!(refused(&mut b, &text), None, "{group}");
        b.set_local(None).unwrap();
        let answer = b.current_local_description().unwrap().sdp;
        assert!(!answer.contains("a=group") && !answer.contains("a=mid"));
        let m_lines: Vec<_> = lines(&answer, "m=")
            .iter()
            .map(|l| l.split(' ').nth(1).unwrap())
            .collect();
        assert_eq!(m_lines, ["9", "0", "0"]);
        // Who made the offer can use that, and so can who offers again.
        a.set_remote(description(SdpType::Answer, &answer)).unwrap();
        assert_eq!(a.media_plan().sections.len(), 1);
        assert_eq!(refused(&mut b, &text), None);
        let expected = Some(Error::MissingMid);
        assert_eq!(refused(&mut strict(), &text), expected);
    }
}

#[test]
fn a_group_without_members_is_no_group() {
    let text = last(&offer(), "a=group", "a=group:BUNDLE");
    let mut b = peer();
    assert_eq!(refused(&mut b, &text), None);
    b.set_local(None).unwrap();
    assert_eq!(b.media_plan().sections.len(), 1);
    assert!(
        !b.current_local_description()
            .unwrap()
            .sdp
            .contains("a=group")
    );
    assert_eq!(
        refused(&mut strict(), &text),
        Some(Error::NonExhaustiveBundleGroup)
    );
}

#[test]
fn a_group_names_no_m_line_whose_mid_was_made_beside_others_that_have_one() {
    // The data channels' m-line is without a name.
    let text = last(&offer(), "a=mid:2", "a=x");
    for (group, accepted) in [("0 1 2", ["9", "0", "0"]), ("0 1", ["9", "9", "0"])] {
        let mut b = peer();
        let text = text.replace("BUNDLE 0 1 2", &format!("BUNDLE {group}"));
        assert_eq!(refused(&mut b, &text), None);
        b.set_local(None).unwrap();
        let answer = b.current_local_description().unwrap().sdp;
        let ports: Vec<_> = lines(&answer, "m=")
            .iter()
            .map(|l| l.split(' ').nth(1).unwrap())
            .collect();
        assert_eq!(ports, accepted);
        assert_eq!(answer.contains("a=group:BUNDLE 0 1\r\n"), group == "0 1");
    }
    // Where every m-line has a name a group that names another one is a mistake.
    let text = offer().replace("BUNDLE 0 1 2", "BUNDLE 0 1 2 3");
    assert_eq!(refused(&mut peer(), &text), Some(Error::InvalidBundleGroup));
}

#[test]
fn an_answer_that_lost_its_mids_but_not_its_group_is_taken() {
    let (mut a, answer) = offered();
    let text = without(&answer, "a=mid");
    a.set_remote(description(SdpType::Answer, &text)).unwrap();
    assert!(a.data_plan().is_some());
}

fn offered() -> (Negotiation, String) {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.want_data_channels();
    a.set_local(None).unwrap();
    b.set_remote(a.pending_local_description().unwrap())
        .unwrap();
    let answer = b.create_answer().unwrap();
    (a, answer.sdp)
}

#[test]
fn an_answer_that_does_not_fit_the_offer_is_refused() {
    let (mut a, answer) = offered();
    let fewer = answer[..answer.find("m=application").unwrap()].replace("BUNDLE 0 1", "BUNDLE 0");
    let cases = [
        (fewer, Error::InvalidSdpSyntax),
        (
            answer.replace("m=audio", "m=video"),
            Error::InvalidSdpSyntax,
        ),
        (
            answer
                .replace("BUNDLE 0 1", "BUNDLE 0 7")
                .replace("mid:1", "mid:7"),
            Error::InvalidSdpSyntax,
        ),
        (without(&answer, "a=group"), Error::MissingBundleGroup),
        (
            answer.replace("BUNDLE 0 1", "BUNDLE 0"),
            Error::NonExhaustiveBundleGroup,
        ),
        (
            answer.replace("setup:active", "setup:actpass"),
            Error::MissingDtlsRole,
        ),
    ];
    for (text, expected) in cases {
        let before = format!("{a:?}");
        assert_eq!(
            a.set_remote(description(SdpType::Answer, &text)),
            Err(expected),
            "{text}"
        );
        assert_eq!(format!("{a:?}"), before);
    }
    a.set_remote(description(SdpType::Answer, &answer)).unwrap();
}

#[test]
fn an_offer_that_drops_or_renames_an_m_line_is_refused() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.want_data_channels();
    exchange(&mut a, &mut b);
    let next = a.create_offer(false).unwrap().sdp;
    let renamed = next
        .replace("a=mid:0", "a=mid:x")
        .replace("BUNDLE 0", "BUNDLE x");
    let fewer = next[..next.find("m=application").unwrap()].replace("BUNDLE 0 1", "BUNDLE 0");
    assert_eq!(refused(&mut b, &renamed), Some(Error::InvalidSdpSyntax));
    assert_eq!(refused(&mut b, &fewer), Some(Error::InvalidSdpSyntax));
}

#[test]
fn huge_descriptions_are_refused() {
    let sdp = offer();
    let (head, _) = sdp.split_at(sdp.find("m=audio").unwrap());
    let many = format!(
        "{head}{}",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".repeat(10_000)
    );
    let long = format!("{sdp}a=x:{}\r\n", "y".repeat(1 << 20));
    let groups = sdp.replace("BUNDLE 0", &format!("BUNDLE {}", "0 ".repeat(400_000)));
    assert_eq!(refused(&mut peer(), &many), Some(Error::InvalidSdpSyntax));
    assert_eq!(refused(&mut peer(), &long), Some(Error::InvalidSdpSyntax));
    assert_eq!(
        refused(&mut peer(), &groups),
        Some(Error::InvalidBundleGroup)
    );
}

#[test]
fn line_ends_cannot_be_smuggled_in() {
    let sdp = offer().replace("a=mid:0", "a=mid:0\ra=ice-lite");
    assert_eq!(refused(&mut peer(), &sdp), Some(Error::InvalidSdpSyntax));
}
