//! Which codecs are the same, and which payload types they get.

use super::support::*;
use crate::error::Error;
use crate::negotiation::Negotiation;
use crate::negotiation::codecs::{PayloadTypes, answer, matches};
use crate::w3c::{Codec, Direction, Kind};
use std::collections::BTreeSet;

fn video(name: &str, fmtp: &str) -> Codec {
    with_fmtp(codec(100, &format!("video/{name}"), 90_000, None), fmtp)
}

#[test]
fn parameters_that_must_agree_tell_codecs_apart() {
    let same = [
        (
            codec(96, "video/VP8", 90_000, None),
            codec(120, "video/vp8", 90_000, None),
        ),
        (
            video("VP9", "profile-id=0"),
            codec(1, "video/VP9", 90_000, None),
        ),
        (
            video("H264", "packetization-mode=1;profile-level-id=42e01f"),
            video("h264", "profile-level-id=42c034; packetization-mode=1"),
        ),
        (
            video("H264", "profile-level-id=42e01f"),
            video("H264", "packetization-mode=0;profile-level-id=4d801f"),
        ),
        // Who says no profile means what libwebrtc does.
        (
            video("H264", "profile-level-id=42e01f"),
            codec(96, "video/H264", 90_000, None),
        ),
        (
            video("H264", "packetization-mode=1;profile-level-id=42e01f"),
            video("H264", "packetization-mode=1"),
        ),
        (
            video("AV1", "level-idx=5;profile=0;tier=0"),
            codec(1, "video/AV1", 90_000, None),
        ),
        (
            video("H265", "level-id=93"),
            video("H265", "profile-id=1;tier-flag=0;level-id=120;tx-mode=SRST"),
        ),
        (
            codec(0, "audio/PCMU", 8000, None),
            codec(0, "audio/pcmu", 8000, Some(1)),
        ),
    ];
    for (a, b) in same {
        assert!(matches(&a, &b) && matches(&b, &a), "{a:?} {b:?}");
    }
    let different = [
        (video("VP9", "profile-id=0"), video("VP9", "profile-id=2")),
        (
            video("H264", "profile-level-id=42e01f"),
            video("H264", "profile-level-id=42e01f;packetization-mode=1"),
        ),
        (
            video("H264", "profile-level-id=42e01f"),
            video("H264", "profile-level-id=42001f"),
        ),
        (
            video("H264", "profile-level-id=42e01f"),
            video("H264", "profile-level-id=640c1f"),
        ),
        (
            video("H264", "packetization-mode=1"),
            codec(96, "video/H264", 90_000, None),
        ),
        (
            video("H264", "profile-level-id=42e01f"),
            video("H264", "profile-level-id=+42e01"),
        ),
        (video("H264", ""), video("H264", "profile-level-id=42001f")),
        (video("H265", "profile-id=1"), video("H265", "profile-id=2")),
        (video("AV1", "profile=0"), video("AV1", "profile=1")),
        (
            codec(111, "audio/opus", 48_000, Some(2)),
            codec(111, "audio/opus", 48_000, None),
        ),
        (
            codec(110, "audio/telephone-event", 48_000, None),
            codec(110, "audio/telephone-event", 8000, None),
        ),
    ];
    for (a, b) in different {
        assert!(!matches(&a, &b) && !matches(&b, &a), "{a:?} {b:?}");
    }
}

#[test]
fn an_h264_answer_has_the_lower_level_unless_both_allow_asymmetry() {
    let level = |ours: &str, theirs: &str| {
        answer(&video("H264", ours), &video("H264", theirs))
            .fmtp
            .unwrap()
    };
    assert_eq!(
        level(
            "level-asymmetry-allowed=1;profile-level-id=42e01f",
            "profile-level-id=42e00b;level-asymmetry-allowed=1"
        ),
        "level-asymmetry-allowed=1;profile-level-id=42e01f"
    );
    assert_eq!(
        level(
            "level-asymmetry-allowed=1;profile-level-id=42e01f",
            "profile-level-id=42e00b"
        ),
        "level-asymmetry-allowed=1;profile-level-id=42e00b"
    );
}

#[test]
fn an_h264_answer_names_the_profile_where_one_side_did() {
    let said = |ours: &str, theirs: &str| {
        answer(&video("H264", ours), &video("H264", theirs))
            .fmtp
            .unwrap()
    };
    assert_eq!(
        said(
            "packetization-mode=1",
            "packetization-mode=1;profile-level-id=42e00b"
        ),
        "packetization-mode=1;profile-level-id=42e00b"
    );
    assert_eq!(
        said("profile-level-id=42e01f", ""),
        "profile-level-id=42e01f"
    );
    assert_eq!(
        said("packetization-mode=1", "packetization-mode=1"),
        "packetization-mode=1"
    );
}

/// The codecs of the video m-line that `b` answers to an offer of H264 with these formats.
fn answered(ours: Vec<Codec>, formats: &[&str]) -> Vec<(u8, Option<String>)> {
    let offered = formats.iter().zip(100..).map(|(fmtp, payload_type)| {
        let h264 = codec(payload_type, "video/H264", 90_000, None);
        match *fmtp {
            "" => h264,
            fmtp => with_fmtp(h264, fmtp),
        }
    });
    let (mut a, mut b) = (with_video(offered.collect()), with_video(ours));
    a.add_track(track(1, Kind::Video)).unwrap();
    b.add_track(track(2, Kind::Video)).unwrap();
    a.set_local(None).unwrap();
    b.set_remote(a.pending_local_description().unwrap())
        .unwrap();
    b.set_local(None).unwrap();
    // A refused m-line takes its transceiver with it.
    let transceivers = b.transceivers();
    let codecs = transceivers.iter().flat_map(|t| t.codecs.clone());
    codecs.map(|c| (c.payload_type, c.fmtp)).collect()
}

#[test]
fn h264_configured_without_a_format_takes_both_packetization_modes_as_they_were_offered() {
    let silent = || vec![codec(96, "video/H264", 90_000, None)];
    let both = [
        "packetization-mode=1;profile-level-id=42e01f",
        "packetization-mode=0;profile-level-id=42e01f",
    ];
    let repeated = [
        (100, Some(both[0].to_owned())),
        (101, Some(both[1].to_owned())),
    ];
    assert_eq!(answered(silent(), &both), repeated);
    assert_eq!(answered(silent(), &[""]), [(100, None)]);
    assert_eq!(
        answered(silent(), &["packetization-mode=2;profile-level-id=42e01f"]),
        []
    );
    assert_eq!(answered(silent(), &["profile-level-id=640c1f"]), []);
}

#[test]
fn h264_offered_without_a_profile_is_the_default_configurations() {
    let defaults = || config().video_codecs;
    let fmtp = |mode| {
        Some(format!(
            "level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id=42e01f"
        ))
    };
    assert_eq!(answered(defaults(), &[""]), [(100, fmtp(0))]);
    assert_eq!(
        answered(defaults(), &["packetization-mode=1"]),
        [(100, fmtp(1))]
    );
}

#[test]
fn what_was_agreed_on_for_h264_without_a_format_stays_in_the_next_offer_and_can_be_chosen() {
    let mode_1 = "packetization-mode=1;profile-level-id=42e01f";
    let theirs = with_fmtp(codec(99, "video/H264", 90_000, None), mode_1);
    let silent = codec(96, "video/H264", 90_000, None);
    let (mut a, mut b) = (with_video(vec![theirs]), with_video(vec![silent.clone()]));
    a.add_track(track(1, Kind::Video)).unwrap();
    let sender = b.add_track(track(2, Kind::Video)).unwrap().0;
    exchange(&mut a, &mut b);
    assert_eq!(b.negotiated_configuration().1[0].payload_type, 99);
    b.set_sender_codec(sender.id, silent).unwrap();
    exchange(&mut b, &mut a);
    let send = |side: &Negotiation| {
        let plan = side.media_plan();
        plan.sections[0].send.as_ref().unwrap().codec.clone()
    };
    for side in [&a, &b] {
        assert_eq!(
            (send(side).payload_type, send(side).fmtp.as_deref()),
            (99, Some(mode_1))
        );
    }
}

#[test]
fn a_codec_is_chosen_by_what_it_is_under_whatever_payload_type_the_peer_gave_it() {
    let renumbered =
        |payload_type, name: &str| codec(payload_type, &format!("video/{name}"), 90_000, None);
    // What 96 means here is VP9 to the peer.
    let (mut a, mut b) = (
        with_video(vec![renumbered(96, "VP9"), renumbered(97, "VP8")]),
        with_video(vec![renumbered(96, "VP8"), renumbered(98, "VP9")]),
    );
    a.add_track(track(1, Kind::Video)).unwrap();
    let sender = b.add_track(track(2, Kind::Video)).unwrap().0;
    exchange(&mut a, &mut b);
    let chosen = |b: &Negotiation| b.transceivers()[0].sender.codec.clone().unwrap();
    assert_eq!(chosen(&b).mime_type, "video/VP9");
    b.set_sender_codec(sender.id, renumbered(96, "VP8"))
        .unwrap();
    assert_eq!(
        (chosen(&b).payload_type, chosen(&b).mime_type.as_str()),
        (97, "video/VP8")
    );
    assert_eq!(
        b.set_sender_codec(sender.id, renumbered(96, "AV1")),
        Err(Error::InvalidCodec)
    );
}

#[test]
fn every_payload_type_means_one_thing_and_stays_so() {
    let mut types = PayloadTypes::default();
    types.learn(&[codec(96, "video/VP9", 90_000, None)]);
    let vp8 = codec(96, "video/VP8", 90_000, None);
    let given = types.assign(&vp8).unwrap();
    assert_ne!(given, 96);
    assert_eq!(types.assign(&vp8), Some(given));
    let mut seen = BTreeSet::from([96, given]);
    for number in 0..61 {
        let pt = types
            .assign(&codec(96, &format!("video/X{number}"), 90_000, None))
            .unwrap();
        assert!(seen.insert(pt) && ((96..=127).contains(&pt) || (35..=65).contains(&pt)));
    }
    assert_eq!(
        types.assign(&codec(96, "video/one-too-many", 90_000, None)),
        None
    );
}

fn with_video(codecs: Vec<Codec>) -> Negotiation {
    let mut config = config();
    config.video_codecs = codecs;
    with(config)
}

#[test]
fn payload_types_and_extension_ids_follow_the_remote_offer_and_stay() {
    let (mut a, mut b) = (
        with_video(vec![codec(120, "video/VP8", 90_000, None)]),
        peer(),
    );
    a.add_track(track(1, Kind::Video)).unwrap();
    let mut offer = a.create_offer(false).unwrap();
    a.set_local(None).unwrap();
    offer.sdp = offer.sdp.replace("a=extmap:9 ", "a=extmap:7 ");
    b.set_remote(offer).unwrap();
    b.set_local(None).unwrap();
    let section = &b.media_plan().sections[0];
    assert_eq!(
        section.receive.as_ref().unwrap().codecs[0].payload_type,
        120
    );
    assert_eq!(
        section.extensions.get(&7).map(String::as_str),
        Some(MID_URI)
    );
    a.set_remote(b.current_local_description().unwrap())
        .unwrap();

    b.add_track(track(2, Kind::Video)).unwrap();
    b.add_transceiver(Kind::Video, None, Direction::Sendrecv, vec![])
        .unwrap();
    let sdp = b.create_offer(false).unwrap().sdp;
    assert_eq!(lines(&sdp, "a=rtpmap:120 VP8/90000").len(), 2);
    assert_eq!(lines(&sdp, &format!("a=extmap:7 {MID_URI}")).len(), 2);
    assert!(
        lines(&sdp, "a=rtpmap:96 ")
            .iter()
            .all(|line| line.contains("rtx"))
    );
    let m_line = lines(&sdp, "m=video")[0];
    assert!(
        m_line.starts_with("m=video 9 UDP/TLS/RTP/SAVPF 120 "),
        "{m_line}"
    );
}

#[test]
fn an_answer_may_number_the_codecs_its_own_way() {
    let (mut a, mut b) = (
        with_video(vec![codec(96, "video/VP8", 90_000, None)]),
        peer(),
    );
    a.add_track(track(1, Kind::Video)).unwrap();
    b.add_track(track(2, Kind::Video)).unwrap();
    a.set_local(None).unwrap();
    b.set_remote(a.pending_local_description().unwrap())
        .unwrap();
    let mut answer = b.create_answer().unwrap();
    let rtx = a.media_plan().sections[0]
        .receive
        .as_ref()
        .unwrap()
        .rtx
        .clone();
    let rtx = rtx.keys().next().unwrap();
    answer.sdp = answer
        .sdp
        .replace(&format!("SAVPF 96 {rtx}"), "SAVPF 123 124")
        .replace(":96 ", ":123 ")
        .replace(&format!(":{rtx} rtx"), ":124 rtx")
        .replace(&format!(":{rtx} apt=96"), ":124 apt=123");
    a.set_remote(answer).unwrap();
    let section = &a.media_plan().sections[0];
    let send = section.send.as_ref().unwrap();
    assert_eq!(
        (
            send.codec.payload_type,
            send.rtx_of(send.codec.payload_type)
        ),
        (123, Some(124))
    );
    let receive = section.receive.as_ref().unwrap();
    assert_eq!(
        (receive.codecs[0].payload_type, receive.rtx.get(rtx)),
        (96, Some(&96))
    );
}

#[test]
fn the_answer_keeps_the_offers_order_unless_preferences_say_otherwise() {
    let both = || {
        vec![
            codec(96, "video/VP8", 90_000, None),
            codec(97, "video/VP9", 90_000, None),
        ]
    };
    let mut reversed = both();
    reversed.reverse();
    let (mut a, mut b) = (with_video(both()), with_video(reversed.clone()));
    a.add_track(track(1, Kind::Video)).unwrap();
    exchange(&mut a, &mut b);
    let first = |side: &Negotiation| side.transceivers()[0].codecs[0].mime_type.clone();
    assert_eq!(
        (first(&a).as_str(), first(&b).as_str()),
        ("video/VP8", "video/VP8")
    );
    b.set_codec_preferences(b.transceivers()[0].id, reversed)
        .unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(
        (first(&a).as_str(), first(&b).as_str()),
        ("video/VP9", "video/VP9")
    );
    assert_eq!(
        a.transceivers()[0]
            .receiver
            .codec
            .as_ref()
            .unwrap()
            .mime_type,
        "video/VP9"
    );
}

#[test]
fn features_that_are_off_leave_no_trace() {
    let mut plain = config();
    plain.features.twcc = false;
    plain.features.inbound_rtx = false;
    plain.features.outbound_rtx = false;
    let mut a = with(plain.clone());
    a.add_track(track(1, Kind::Video)).unwrap();
    let sdp = a.create_offer(false).unwrap().sdp;
    for absent in ["rtx", "transport", "repaired", "FID", " nack\r"] {
        assert!(!sdp.contains(absent), "{absent}");
    }
    let mut b = peer();
    exchange(&mut b, &mut a);
    b.add_track(track(2, Kind::Video)).unwrap();
    exchange(&mut b, &mut a);
    let plan = b.media_plan();
    let send = plan.sections[0].send.as_ref().unwrap();
    assert_eq!(
        (
            send.rtx_of(send.codec.payload_type),
            send.encodings[0].rtx_ssrc
        ),
        (None, None)
    );
}

#[test]
fn one_half_of_rtx_is_planned_where_only_one_is_on() {
    let mut inbound = config();
    inbound.features.outbound_rtx = false;
    let (mut a, mut b) = (with(inbound), peer());
    a.add_track(track(1, Kind::Video)).unwrap();
    b.add_track(track(2, Kind::Video)).unwrap();
    exchange(&mut a, &mut b);
    let section = &a.media_plan().sections[0];
    assert_eq!(section.send.as_ref().unwrap().rtx.len(), 0);
    assert!(!section.receive.as_ref().unwrap().rtx.is_empty());
}

#[test]
fn the_negotiated_configuration_shows_ids_in_use() {
    let (mut a, mut b) = (
        with_video(vec![codec(120, "video/VP8", 90_000, None)]),
        peer(),
    );
    a.add_track(track(1, Kind::Video)).unwrap();
    exchange(&mut a, &mut b);
    let (audio, video, extensions) = b.negotiated_configuration();
    assert_eq!((audio[0].payload_type, video[0].payload_type), (111, 120));
    assert!(video.iter().any(|c| c.mime_type == "video/AV1"));
    assert!(extensions.contains(&(9, MID_URI.to_owned())));
}
