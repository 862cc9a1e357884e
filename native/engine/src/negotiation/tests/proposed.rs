//! Offers to receive simulcast, as SFUs make them to a publisher (W3C webrtc-pc section 4.4.1.5).

use super::support::*;
use crate::error::Error;
use crate::ids::{Rid, SenderId};
use crate::negotiation::Negotiation;
use crate::w3c::{Direction, Kind, SdpType, SessionDescription};

/// The m-line of an offer to receive, with these attributes.
fn offer(attributes: &str) -> SessionDescription {
    let mut sfu = peer();
    sfu.add_transceiver(Kind::Video, None, Direction::Recvonly, vec![])
        .unwrap();
    let mut offer = sfu.create_offer(false).unwrap();
    offer.sdp.push_str(attributes);
    offer
}

fn three_layers() -> SessionDescription {
    offer("a=rid:l recv\r\na=rid:m recv\r\na=rid:h recv\r\na=simulcast:recv l;m;h\r\n")
}

fn rollback() -> SessionDescription {
    description(SdpType::Rollback, "")
}

fn the_sender(peer: &Negotiation) -> SenderId {
    peer.transceivers()[0].sender.id
}

/// Rid and scale of each encoding of the only sender.
fn encodings(peer: &mut Negotiation) -> Vec<(Option<String>, Option<f64>)> {
    let sender = the_sender(peer);
    let encodings = peer.sender_parameters(sender).unwrap().encodings;
    assert!(encodings.iter().all(|encoding| encoding.settings.active));
    encodings
        .into_iter()
        .map(|encoding| {
            let rid = encoding.rid.map(|rid| rid.as_str().to_owned());
            (rid, encoding.settings.scale_resolution_down_by)
        })
        .collect()
}

fn named(rids: &[(&str, f64)]) -> Vec<(Option<String>, Option<f64>)> {
    let one = |(rid, scale): &(&str, f64)| (Some((*rid).to_owned()), Some(*scale));
    rids.iter().map(one).collect()
}

fn planned(peer: &Negotiation) -> Vec<(Option<Rid>, u32)> {
    let plan = peer.media_plan();
    let send = plan.sections[0].send.as_ref().unwrap();
    let encodings = send.encodings.iter();
    encodings.map(|e| (e.rid.clone(), e.ssrc)).collect()
}

fn answer_of(peer: &mut Negotiation) -> String {
    peer.set_local(None).unwrap();
    peer.current_local_description().unwrap().sdp
}

#[test]
fn the_layers_asked_for_are_sent_wherever_the_track_was_added() {
    for before in [true, false] {
        let mut b = peer();
        if before {
            b.add_track(track(5, Kind::Video)).unwrap();
        }
        b.set_remote(three_layers()).unwrap();
        if !before {
            b.add_track(track(5, Kind::Video)).unwrap();
        }
        assert_eq!(b.transceivers().len(), 1, "before: {before}");
        let expected = named(&[("l", 4.0), ("m", 2.0), ("h", 1.0)]);
        assert_eq!(encodings(&mut b), expected, "before: {before}");
        let answer = answer_of(&mut b);
        assert_eq!(
            lines(&answer, "a=rid:"),
            ["a=rid:l send", "a=rid:m send", "a=rid:h send"]
        );
        assert_eq!(lines(&answer, "a=simulcast:"), ["a=simulcast:send l;m;h"]);
        assert!(lines(&answer, "a=ssrc").is_empty());
        assert_eq!(encodings(&mut b), expected, "before: {before}");
        let planned = planned(&b);
        let rids: Vec<_> = planned.iter().filter_map(|(rid, _)| rid.clone()).collect();
        assert_eq!(rids, ["l", "m", "h"].map(Rid::from));
        let mut ssrcs: Vec<u32> = planned.iter().map(|(_, ssrc)| *ssrc).collect();
        ssrcs.sort_unstable();
        ssrcs.dedup();
        assert_eq!(ssrcs.len(), 3, "an SSRC a layer");
        // What is set reaches its layer.
        let sender = the_sender(&b);
        let mut wanted = b.sender_parameters(sender).unwrap();
        wanted.encodings[1].settings.active = false;
        b.set_sender_parameters(sender, &wanted).unwrap();
        let plan = b.media_plan();
        let send = plan.sections[0].send.as_ref().unwrap();
        let active: Vec<bool> = send.encodings.iter().map(|e| e.active).collect();
        assert_eq!(active, [true, false, true]);
    }
}

#[test]
fn layers_that_the_application_chose_stay_and_an_offer_takes_some_of_them() {
    let (mut a, mut sfu) = (peer(), peer());
    a.add_transceiver(
        Kind::Video,
        Some(track(1, Kind::Video)),
        Direction::Sendonly,
        layers(&["h", "m", "l"]),
    )
    .unwrap();
    exchange(&mut a, &mut sfu);
    let before = planned(&a);
    let mut narrower = sfu.create_offer(false).unwrap();
    assert!(narrower.sdp.contains("a=simulcast:recv h;m;l\r\n"));
    narrower.sdp = narrower.sdp.replace(
        "a=simulcast:recv h;m;l\r\n",
        "a=rid:q recv\r\na=simulcast:recv l;q;h\r\n",
    );
    a.set_remote(narrower).unwrap();
    let answer = answer_of(&mut a);
    assert_eq!(lines(&answer, "a=simulcast:"), ["a=simulcast:send h;l"]);
    assert_eq!(encodings(&mut a), named(&[("h", 4.0), ("l", 1.0)]));
    assert_eq!(planned(&a), [before[0].clone(), before[2].clone()]);
}

#[test]
fn a_sender_that_sent_one_stream_sends_layers_from_the_offer_on() {
    let (mut a, mut sfu) = (peer(), peer());
    a.add_track(track(1, Kind::Video)).unwrap();
    exchange(&mut a, &mut sfu);
    let [(None, ssrc)] = planned(&a)[..] else {
        panic!("one stream without a name")
    };
    let stale = a.sender_parameters(the_sender(&a)).unwrap();
    let mut later = sfu.create_offer(false).unwrap();
    later
        .sdp
        .push_str("a=rid:l recv\r\na=rid:h recv\r\na=simulcast:recv l;h\r\n");
    a.set_remote(later.clone()).unwrap();
    let refused = a.set_sender_parameters(the_sender(&a), &stale);
    assert_eq!(
        refused,
        Err(Error::InvalidState),
        "[[LastReturnedParameters]] is null"
    );
    assert_eq!(encodings(&mut a), named(&[("l", 2.0), ("h", 1.0)]));

    // A rollback, also the one by another offer, gives the stream back.
    a.set_remote(rollback()).unwrap();
    assert_eq!(encodings(&mut a), [(None, Some(1.0))]);
    assert_eq!(planned(&a), [(None, ssrc)]);
    a.set_remote(later.clone()).unwrap();
    let plain = sfu.create_offer(false).unwrap();
    a.set_remote(plain).unwrap();
    assert_eq!(encodings(&mut a), [(None, Some(1.0))]);

    a.set_remote(later).unwrap();
    let answer = answer_of(&mut a);
    assert_eq!(lines(&answer, "a=simulcast:"), ["a=simulcast:send l;h"]);
    let planned = planned(&a);
    assert_eq!(planned.len(), 2);
    assert_eq!(
        planned[0],
        (Some(Rid::from("l")), ssrc),
        "the stream goes on"
    );
    // What was answered is not given back any more.
    a.create_offer(false).unwrap();
    a.set_local(None).unwrap();
    a.set_local(Some(rollback())).unwrap();
    assert_eq!(encodings(&mut a), named(&[("l", 2.0), ("h", 1.0)]));
}

#[test]
fn a_transceiver_that_an_offer_made_is_gone_with_it_or_keeps_its_layers() {
    let mut b = peer();
    b.set_remote(three_layers()).unwrap();
    b.set_remote(rollback()).unwrap();
    assert!(b.transceivers().is_empty());
    b.set_remote(three_layers()).unwrap();
    b.add_track(track(5, Kind::Video)).unwrap();
    b.set_remote(rollback()).unwrap();
    let expected = named(&[("l", 4.0), ("m", 2.0), ("h", 1.0)]);
    assert_eq!(encodings(&mut b), expected);
    let own = b.create_offer(false).unwrap().sdp;
    assert_eq!(lines(&own, "a=simulcast:"), ["a=simulcast:send l;m;h"]);
}

#[test]
fn without_a_track_nothing_is_promised_until_there_is_one() {
    let (mut b, mut sfu) = (peer(), peer());
    b.set_remote(three_layers()).unwrap();
    let answer = answer_of(&mut b);
    assert!(answer.contains("a=inactive\r\n"), "{answer}");
    assert!(lines(&answer, "a=simulcast:").is_empty() && lines(&answer, "a=rid:").is_empty());
    b.add_track(track(5, Kind::Video)).unwrap();
    assert_eq!(b.transceivers().len(), 1);
    let own = b.create_offer(false).unwrap();
    assert_eq!(lines(&own.sdp, "a=simulcast:"), ["a=simulcast:send l;m;h"]);
    sfu.set_remote(own).unwrap();
}

#[test]
fn of_alternatives_the_first_counts_and_of_repetitions_too() {
    for (attributes, expected) in [
        (
            "a=rid:l recv\r\na=rid:m recv\r\na=rid:h recv\r\na=simulcast:recv m,l;~h;m\r\n",
            vec!["m", "h"],
        ),
        // Not described, or described as what the offerer sends.
        (
            "a=rid:l recv\r\na=rid:h send\r\na=simulcast:recv l;h;x\r\n",
            vec!["l"],
        ),
        ("a=rid:l recv\r\na=rid:h recv\r\n", vec![]),
        ("a=simulcast:recv l;h\r\n", vec![]),
        ("a=rid:l recv\r\na=simulcast:recv ;,;~\r\n", vec![]),
    ] {
        let mut b = peer();
        b.add_track(track(5, Kind::Video)).unwrap();
        b.set_remote(offer(attributes)).unwrap();
        let rids: Vec<String> = encodings(&mut b)
            .into_iter()
            .filter_map(|(rid, _)| rid)
            .collect();
        assert_eq!(rids, expected, "{attributes}");
        let answer = answer_of(&mut b);
        let expected = match expected.as_slice() {
            [] => vec![],
            rids => vec![format!("a=simulcast:send {}", rids.join(";"))],
        };
        assert_eq!(lines(&answer, "a=simulcast:"), expected, "{attributes}");
        assert_eq!(planned(&b).len(), encodings(&mut b).len());
    }
}

#[test]
fn layers_are_no_more_than_a_sender_may_have() {
    let rids: Vec<String> = (0..40).map(|n| format!("r{n}")).collect();
    let mut attributes: String = rids
        .iter()
        .map(|rid| format!("a=rid:{rid} recv\r\n"))
        .collect();
    attributes.push_str(&format!("a=simulcast:recv {}\r\n", rids.join(";")));
    let mut b = peer();
    b.add_track(track(5, Kind::Video)).unwrap();
    b.set_remote(offer(&attributes)).unwrap();
    let encodings = encodings(&mut b);
    assert_eq!(encodings.len(), 16);
    assert_eq!(encodings[15], (Some("r15".to_owned()), Some(1.0)));
    assert_eq!(encodings[0].1, Some(f64::from(1 << 15)));
    answer_of(&mut b);
    assert_eq!(planned(&b).len(), 16);
}

#[test]
fn no_layers_are_made_where_they_could_not_be_told_apart() {
    let sdp = three_layers().sdp;
    let without: String = sdp
        .lines()
        .filter(|line| !line.contains(RID_URI))
        .map(|line| format!("{line}\r\n"))
        .collect();
    assert_ne!(without, sdp);
    let mut b = peer();
    b.add_track(track(5, Kind::Video)).unwrap();
    b.set_remote(description(SdpType::Offer, &without)).unwrap();
    assert_eq!(encodings(&mut b), [(None, Some(1.0))]);

    let mut sfu = peer();
    sfu.add_transceiver(Kind::Audio, None, Direction::Recvonly, vec![])
        .unwrap();
    let mut audio = sfu.create_offer(false).unwrap();
    audio
        .sdp
        .push_str("a=rid:l recv\r\na=rid:h recv\r\na=simulcast:recv l;h\r\n");
    let mut b = peer();
    b.add_track(track(5, Kind::Audio)).unwrap();
    b.set_remote(audio).unwrap();
    assert_eq!(encodings(&mut b), [(None, None)]);
}
