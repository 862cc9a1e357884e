//! Simulcast, received and sent.

use super::support::*;
use crate::command::RtpEncoding;
use crate::error::Error;
use crate::ids::Rid;
use crate::negotiation::{Change, Negotiation};
use crate::w3c::{Direction, Kind, SdpType};

fn rids(names: &[&str]) -> Vec<Rid> {
    names.iter().map(|name| Rid::from(*name)).collect()
}

fn sending(names: &[&str]) -> Negotiation {
    let mut a = peer();
    a.add_transceiver(
        Kind::Video,
        Some(track(1, Kind::Video)),
        Direction::Sendonly,
        layers(names),
    )
    .unwrap();
    a
}

#[test]
fn layers_are_offered_accepted_and_planned_on_both_sides() {
    let (mut a, mut b) = (sending(&["h", "m", "l"]), peer());
    let offer = a.create_offer(false).unwrap();
    assert!(
        offer.sdp.contains("a=rid:h send\r\n") && offer.sdp.contains("a=simulcast:send h;m;l\r\n")
    );
    assert!(!offer.sdp.contains("a=ssrc"));
    let told = finish(&mut a, &mut b, offer);
    let Change::Track(remote) = &told.answerer[0] else {
        panic!("no track")
    };
    assert_eq!(remote.rids, Some(rids(&["h", "m", "l"])));
    let answer = b.current_local_description().unwrap().sdp;
    assert!(answer.contains("a=rid:m recv\r\n") && answer.contains("a=simulcast:recv h;m;l\r\n"));
    let plan = a.media_plan();
    let encodings = &plan.sections[0].send.as_ref().unwrap().encodings;
    let named: Vec<_> = encodings.iter().filter_map(|e| e.rid.clone()).collect();
    assert_eq!(named, rids(&["h", "m", "l"]));
    assert!(encodings.iter().all(|e| e.rtx_ssrc.is_some()));
    assert_eq!(
        b.media_plan().sections[0].receive.as_ref().unwrap().rids,
        rids(&["h", "m", "l"])
    );
    // Whoever offers next, it stays.
    let before = (a.media_plan(), b.media_plan());
    exchange(&mut b, &mut a);
    assert_eq!((a.media_plan(), b.media_plan()), before);
    exchange(&mut a, &mut b);
    assert_eq!((a.media_plan(), b.media_plan()), before);
}

#[test]
fn an_answer_that_takes_fewer_layers_is_honoured() {
    for (accepted, expected) in [("a=simulcast:recv l;h\r\n", vec!["h", "l"]), ("", vec![])] {
        let (mut a, mut b) = (sending(&["h", "m", "l"]), peer());
        a.set_local(None).unwrap();
        b.set_remote(a.pending_local_description().unwrap())
            .unwrap();
        let mut answer = b.create_answer().unwrap();
        answer.sdp = answer.sdp.replace("a=simulcast:recv h;m;l\r\n", accepted);
        a.set_remote(answer).unwrap();
        let plan = a.media_plan();
        let encodings = &plan.sections[0].send.as_ref().unwrap().encodings;
        let named: Vec<_> = encodings.iter().filter_map(|e| e.rid.clone()).collect();
        assert_eq!(named, rids(&expected));
        assert_eq!(encodings.len(), expected.len().max(1));
    }
}

#[test]
fn paused_layers_alternatives_and_restrictions_are_read() {
    let (mut a, mut b) = (sending(&["h", "m", "l"]), peer());
    let mut offer = a.create_offer(false).unwrap();
    offer.sdp = offer
        .sdp
        .replace("a=simulcast:send h;m;l", "a=simulcast:send h,m;~l;x")
        .replace("a=rid:l send", "a=rid:l send pt=96;max-width=320")
        .replace("a=rid:m send", "a=rid:m send pt=34");
    let changes = b.set_remote(offer).unwrap();
    assert!(matches!(changes[0], Change::Track(_)));
    b.set_local(None).unwrap();
    let answer = b.current_local_description().unwrap().sdp;
    assert!(answer.contains("a=simulcast:recv h;~l\r\n"), "{answer}");
    assert!(answer.contains("a=rid:l recv pt=96;max-width=320\r\n"));
    assert_eq!(
        b.media_plan().sections[0].receive.as_ref().unwrap().rids,
        rids(&["h", "l"])
    );
}

#[test]
fn the_parameters_of_a_sender_have_the_layers_that_the_answer_took() {
    for (accepted, expected) in [
        ("a=simulcast:recv l;h\r\n", vec![Some("h"), Some("l")]),
        ("", vec![Some("h")]),
    ] {
        let (mut a, mut b) = (sending(&["h", "m", "l"]), peer());
        let sender = a.transceivers()[0].sender.id;
        let named = |a: &mut Negotiation| -> Vec<Option<String>> {
            let encodings = a.sender_parameters(sender).unwrap().encodings;
            let rids = encodings.into_iter().map(|e| e.rid);
            rids.map(|rid| rid.map(|rid| rid.as_str().to_owned()))
                .collect()
        };
        assert_eq!(
            named(&mut a),
            ["h", "m", "l"].map(|rid| Some(rid.to_owned()))
        );
        let offer = a.create_offer(false).unwrap();
        a.set_local(Some(offer.clone())).unwrap();
        b.set_remote(offer).unwrap();
        b.set_local(None).unwrap();
        let answer = b.current_local_description().unwrap();
        let sdp = answer.sdp.replace("a=simulcast:recv h;m;l\r\n", accepted);
        assert_ne!(sdp, answer.sdp);
        a.set_remote(description(SdpType::Answer, &sdp)).unwrap();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|rid| rid.map(str::to_owned))
            .collect();
        assert_eq!(named(&mut a), expected);
        // What is set reaches the layers that are left.
        let mut wanted = a.sender_parameters(sender).unwrap();
        wanted.encodings.last_mut().unwrap().settings.active = false;
        a.set_sender_parameters(sender, &wanted).unwrap();
        let planned = &a.media_plan().sections[0]
            .send
            .as_ref()
            .unwrap()
            .encodings
            .clone();
        assert!(!planned.last().unwrap().active);
        assert_eq!(planned.len(), expected.len());
    }
}

#[test]
fn encodings_have_the_settings_that_the_w3c_gives_them() {
    let scales = |kind: Kind, given: Vec<RtpEncoding>| -> Vec<Option<f64>> {
        let mut a = peer();
        let (added, _) = a
            .add_transceiver(kind, None, Direction::Sendonly, given)
            .unwrap();
        let encodings = a.sender_parameters(added.sender.id).unwrap().encodings;
        assert!(encodings.iter().all(|e| e.settings.active));
        encodings
            .iter()
            .map(|e| e.settings.scale_resolution_down_by)
            .collect()
    };
    assert_eq!(scales(Kind::Video, vec![]), [Some(1.0)]);
    assert_eq!(scales(Kind::Audio, vec![]), [None]);
    assert_eq!(
        scales(Kind::Video, layers(&["q", "h", "f"])),
        [Some(4.0), Some(2.0), Some(1.0)]
    );
    let mut one_scaled = layers(&["h", "f"]);
    one_scaled[0].settings.scale_resolution_down_by = Some(3.0);
    assert_eq!(
        scales(Kind::Video, one_scaled.clone()),
        [Some(3.0), Some(1.0)]
    );
    one_scaled.truncate(1);
    assert_eq!(scales(Kind::Audio, one_scaled), [None]);
}

#[test]
fn a_layer_that_is_added_inactive_is_planned_inactive() {
    let (mut a, mut b) = (peer(), peer());
    let mut given = layers(&["h", "l"]);
    given[1].settings.active = false;
    a.add_transceiver(
        Kind::Video,
        Some(track(1, Kind::Video)),
        Direction::Sendonly,
        given,
    )
    .unwrap();
    exchange(&mut a, &mut b);
    let plan = a.media_plan();
    let encodings = &plan.sections[0].send.as_ref().unwrap().encodings;
    assert_eq!(
        encodings.iter().map(|e| e.active).collect::<Vec<_>>(),
        [true, false]
    );
}

#[test]
fn settings_out_of_range_are_refused() {
    for (scale, framerate) in [
        (0.5, 1.0),
        (f64::NAN, 1.0),
        (1.0, -1.0),
        (1.0, f64::INFINITY),
    ] {
        let mut a = peer();
        let mut given = layers(&["h"]);
        given[0].settings.scale_resolution_down_by = Some(scale);
        given[0].settings.max_framerate = Some(framerate);
        let result = a.add_transceiver(Kind::Video, None, Direction::Sendonly, given);
        assert_eq!(result.err(), Some(Error::InvalidModification));
        assert!(a.transceivers().is_empty());
    }
}

#[test]
fn impossible_layers_are_refused() {
    let mut a = peer();
    for names in [
        vec!["h", "h"],
        vec!["a b", "c"],
        vec!["", "c"],
        vec!["seventeen-letters", "c"],
    ] {
        let result = a.add_transceiver(Kind::Video, None, Direction::Sendonly, layers(&names));
        assert_eq!(result.err(), Some(Error::InvalidOption));
    }
    let audio = a.add_transceiver(Kind::Audio, None, Direction::Sendonly, layers(&["h", "l"]));
    assert_eq!(audio.err(), Some(Error::InvalidOption));
}
