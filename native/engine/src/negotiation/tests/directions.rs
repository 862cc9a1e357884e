//! Directions, and what remote tracks are told of them.

use super::support::*;
use crate::negotiation::Change;
use crate::w3c::{Direction, Kind, SignalingState};

#[test]
fn every_pair_of_directions_meets_in_their_intersection() {
    for offered in [
        Direction::Sendrecv,
        Direction::Sendonly,
        Direction::Recvonly,
        Direction::Inactive,
    ] {
        for wanted in [
            Direction::Sendrecv,
            Direction::Sendonly,
            Direction::Recvonly,
            Direction::Inactive,
        ] {
            let (mut a, mut b) = (peer(), peer());
            a.add_transceiver(Kind::Video, None, offered, vec![])
                .unwrap();
            let offer = a.create_offer(false).unwrap();
            a.set_local(Some(offer.clone())).unwrap();
            b.set_remote(offer).unwrap();
            let id = b.transceivers()[0].id;
            b.set_direction(id, wanted).unwrap();
            b.set_local(None).unwrap();
            a.set_remote(b.current_local_description().unwrap())
                .unwrap();
            let agreed = offered.and(wanted.reversed());
            assert_eq!(
                a.transceivers()[0].current_direction,
                Some(agreed),
                "{offered:?} {wanted:?}"
            );
            assert_eq!(
                b.transceivers()[0].current_direction,
                Some(agreed.reversed())
            );
            let (plan_a, plan_b) = (a.media_plan(), b.media_plan());
            assert_eq!(plan_a.sections[0].send.is_some(), agreed.sends());
            assert_eq!(plan_a.sections[0].receive.is_some(), agreed.receives());
            assert_eq!(plan_b.sections[0].send.is_some(), agreed.receives());
            assert_eq!(plan_b.sections[0].receive.is_some(), agreed.sends());
        }
    }
}

#[test]
fn a_track_is_announced_for_each_remote_track_even_without_msid() {
    let (mut a, mut b) = (peer(), peer());
    a.add_transceiver(Kind::Audio, None, Direction::Sendrecv, vec![])
        .unwrap();
    a.add_transceiver(Kind::Video, None, Direction::Recvonly, vec![])
        .unwrap();
    let mut offer = a.create_offer(false).unwrap();
    a.set_local(None).unwrap();
    offer.sdp = offer
        .sdp
        .lines()
        .filter(|l| !l.contains("msid"))
        .map(|l| format!("{l}\r\n"))
        .collect();
    let changes = b.set_remote(offer).unwrap();
    assert_eq!(announced(&changes), [b.transceivers()[0].receiver.track.id]);
}

#[test]
fn hold_mutes_and_resume_announces_again() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    let first = exchange(&mut a, &mut b);
    let remote = announced(&first.answerer)[0];
    let id = a.transceivers()[0].id;

    assert_eq!(
        a.set_direction(id, Direction::Inactive).unwrap(),
        [Change::NegotiationNeeded]
    );
    let held = exchange(&mut a, &mut b);
    assert_eq!(
        held.answerer,
        [
            Change::TrackMuted(remote),
            signaling(SignalingState::HaveRemoteOffer),
            signaling(SignalingState::Stable),
        ]
    );
    assert!(b.media_plan().sections[0].receive.is_none());

    a.set_direction(id, Direction::Sendrecv).unwrap();
    let resumed = exchange(&mut a, &mut b);
    assert_eq!(announced(&resumed.answerer), [remote]);
}

#[test]
fn our_answer_that_stops_receiving_mutes_the_track() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    exchange(&mut a, &mut b);
    b.set_direction(b.transceivers()[0].id, Direction::Inactive)
        .unwrap();
    let told = exchange(&mut a, &mut b);
    let id = b.transceivers()[0].receiver.track.id;
    assert!(told.answerer.contains(&Change::TrackMuted(id)));
}

#[test]
fn stopping_ends_the_track_here_at_once_and_there_with_the_offer() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Video)).unwrap();
    b.add_track(track(2, Kind::Video)).unwrap();
    exchange(&mut a, &mut b);
    let (of_a, of_b) = (a.transceivers()[0].clone(), b.transceivers()[0].clone());
    assert_eq!(
        a.stop_transceiver(of_a.id).unwrap(),
        [
            Change::TrackEnded(of_a.receiver.track.id),
            Change::NegotiationNeeded
        ]
    );
    assert!(a.transceivers()[0].stopping && !a.transceivers()[0].stopped);
    assert!(a.media_plan().sections.is_empty());
    let told = exchange(&mut a, &mut b);
    assert_eq!(
        told.answerer,
        [
            Change::TrackEnded(of_b.receiver.track.id),
            signaling(SignalingState::HaveRemoteOffer),
            signaling(SignalingState::Stable),
        ]
    );
    assert!(a.transceivers().is_empty() && b.transceivers().is_empty());
    assert!(!a.negotiation_needed() && !b.negotiation_needed());
}

#[test]
fn add_track_transceivers_meet_a_remote_offer_and_add_transceiver_ones_do_not() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    b.add_track(track(2, Kind::Audio)).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(b.transceivers().len(), 1);
    assert_eq!(
        b.transceivers()[0].current_direction,
        Some(Direction::Sendrecv)
    );

    let (mut c, mut d) = (peer(), peer());
    c.add_track(track(1, Kind::Audio)).unwrap();
    d.add_transceiver(Kind::Audio, None, Direction::Sendrecv, vec![])
        .unwrap();
    let told = exchange(&mut c, &mut d);
    assert_eq!(d.transceivers().len(), 2);
    assert_eq!(told.answerer.last(), Some(&Change::NegotiationNeeded));
    exchange(&mut d, &mut c);
    assert_eq!(c.transceivers().len(), 2);
    assert!(!d.negotiation_needed());
}

#[test]
fn negotiation_is_asked_for_once_and_again_when_stable() {
    let mut a = peer();
    let mut b = peer();
    assert_eq!(a.want_data_channels(), [Change::NegotiationNeeded]);
    assert!(a.add_track(track(1, Kind::Audio)).unwrap().1.is_empty());
    let offer = a.create_offer(false).unwrap();
    a.set_local(Some(offer.clone())).unwrap();
    assert!(a.add_track(track(2, Kind::Video)).unwrap().1.is_empty());
    b.set_remote(offer).unwrap();
    b.set_local(None).unwrap();
    let changes = a
        .set_remote(b.current_local_description().unwrap())
        .unwrap();
    assert_eq!(
        changes,
        [signaling(SignalingState::Stable), Change::NegotiationNeeded]
    );
    let told = exchange(&mut a, &mut b);
    assert_eq!(
        told.offerer.last(),
        Some(&signaling(SignalingState::Stable))
    );
}
