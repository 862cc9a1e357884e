//! Rollback, explicit and implicit, and provisional answers.

use super::support::*;
use crate::error::Error;
use crate::ids::TrackId;
use crate::negotiation::{Change, Negotiation};
use crate::w3c::{Direction, IceRole, Kind, SdpType, SignalingState};

fn rollback() -> crate::w3c::SessionDescription {
    description(SdpType::Rollback, "")
}

#[test]
fn rollback_is_refused_where_there_is_nothing_of_that_side_to_take_back() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    assert_eq!(a.set_local(Some(rollback())), Err(Error::InvalidState));
    assert_eq!(a.set_remote(rollback()), Err(Error::InvalidState));
    a.set_local(None).unwrap();
    assert_eq!(a.set_remote(rollback()), Err(Error::InvalidState));
    b.set_remote(a.pending_local_description().unwrap())
        .unwrap();
    assert_eq!(b.set_local(Some(rollback())), Err(Error::InvalidState));
}

#[test]
fn rolling_back_a_local_offer_frees_its_mids_and_asks_again() {
    let mut a = peer();
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.set_local(None).unwrap();
    assert_eq!(a.transceivers()[0].mid.as_deref(), Some("0"));
    let changes = a.set_local(Some(rollback())).unwrap();
    assert_eq!(
        changes,
        [signaling(SignalingState::Stable), Change::NegotiationNeeded]
    );
    assert_eq!(a.transceivers()[0].mid, None);
    assert_eq!(a.pending_local_description(), None);
    assert_eq!(a.transport_plan(), None);
    assert!(a.media_plan().sections.is_empty());
}

#[test]
fn rolling_back_a_remote_offer_removes_what_it_made_and_keeps_what_the_application_took() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.add_track(track(2, Kind::Video)).unwrap();
    a.set_local(None).unwrap();
    let tracks = announced(
        &b.set_remote(a.pending_local_description().unwrap())
            .unwrap(),
    );
    // The application sends back on the video's transceiver.
    let sender = b.add_track(track(3, Kind::Video)).unwrap().0;
    let changes = b.set_remote(rollback()).unwrap();
    assert_eq!(
        changes,
        [
            Change::TrackMuted(tracks[1]),
            Change::TrackEnded(tracks[0]),
            signaling(SignalingState::Stable),
            Change::NegotiationNeeded,
        ]
    );
    let left = b.transceivers();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].sender.id, left[0].mid.clone()), (sender.id, None));
}

#[test]
fn a_rollback_during_renegotiation_restores_the_negotiated_state() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    exchange(&mut a, &mut b);
    let before = (b.media_plan(), b.transport_plan(), b.transceivers());
    a.set_direction(a.transceivers()[0].id, Direction::Inactive)
        .unwrap();
    a.add_track(track(2, Kind::Video)).unwrap();
    let offer = a.create_offer(true).unwrap();
    a.set_local(Some(offer.clone())).unwrap();
    b.set_remote(offer).unwrap();
    b.set_remote(rollback()).unwrap();
    assert_eq!(
        (b.media_plan(), b.transport_plan(), b.transceivers()),
        before
    );
}

/// Perfect negotiation: `polite` yields.
fn glare(polite: &mut Negotiation, rude: &mut Negotiation) {
    polite.set_local(None).unwrap();
    rude.set_local(None).unwrap();
    let offer = rude.pending_local_description().unwrap();
    let changes = polite.set_remote(offer).unwrap();
    let states: Vec<_> = changes
        .iter()
        .filter(|c| matches!(c, Change::SignalingState(_)))
        .collect();
    let rolled_back = signaling(SignalingState::Stable);
    assert_eq!(
        states,
        [&rolled_back, &signaling(SignalingState::HaveRemoteOffer)]
    );
    assert!(!changes.contains(&Change::NegotiationNeeded));
    polite.set_local(None).unwrap();
    rude.set_remote(polite.current_local_description().unwrap())
        .unwrap();
}

#[test]
fn glare_resolves_by_implicit_rollback_and_loses_nothing() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.add_transceiver(
        Kind::Video,
        Some(track(2, Kind::Video)),
        Direction::Sendonly,
        vec![],
    )
    .unwrap();
    b.add_track(track(3, Kind::Audio)).unwrap();
    glare(&mut a, &mut b);
    assert_eq!(a.transport_plan().unwrap().ice_role, IceRole::Controlled);
    assert_eq!(b.transport_plan().unwrap().ice_role, IceRole::Controlling);
    assert!(a.negotiation_needed(), "the video still has no m-line");
    assert_eq!(
        a.transceivers()[0].current_direction,
        Some(Direction::Sendrecv)
    );
    exchange(&mut a, &mut b);
    let sent: Vec<_> = a
        .media_plan()
        .sections
        .iter()
        .filter_map(|s| s.send.as_ref().and_then(|s| s.track))
        .collect();
    assert_eq!(sent, [TrackId(1), TrackId(2)]);
    assert!(!a.negotiation_needed() && !b.negotiation_needed());
}

#[test]
fn an_offer_against_ours_tells_of_the_rollback_then_of_its_tracks_then_of_its_state() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    exchange(&mut a, &mut b);
    b.add_track(track(2, Kind::Video)).unwrap();
    a.set_local(None).unwrap();
    b.set_local(None).unwrap();
    let offer = b.pending_local_description().unwrap();
    let changes = a.set_remote(offer.clone()).unwrap();
    let [first, Change::Track(video), last] = changes.as_slice() else {
        panic!("{changes:?}");
    };
    assert_eq!(*first, signaling(SignalingState::Stable));
    assert_eq!(video.kind, Kind::Video);
    assert_eq!(*last, signaling(SignalingState::HaveRemoteOffer));
    // Another one in its place is no change of state.
    assert_eq!(
        announced(&a.set_remote(offer.clone()).unwrap()).len(),
        1,
        "its track is another one"
    );
    // One that is refused takes nothing back.
    a.set_remote(rollback()).unwrap();
    a.set_local(None).unwrap();
    let before = format!("{a:?}");
    let broken = offer.sdp.replace("a=ice-ufrag", "a=x");
    assert!(a.set_remote(description(SdpType::Offer, &broken)).is_err());
    assert_eq!(format!("{a:?}"), before);
}

#[test]
fn provisional_answers_work_on_both_sides_and_settle_with_the_final_one() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.set_local(None).unwrap();
    b.set_remote(a.pending_local_description().unwrap())
        .unwrap();
    let answer = b.create_answer().unwrap();
    let provisional = description(SdpType::Pranswer, &answer.sdp);
    assert_eq!(
        b.set_local(Some(provisional.clone())).unwrap(),
        [signaling(SignalingState::HaveLocalPranswer)]
    );
    assert_eq!(
        a.set_remote(provisional.clone()).unwrap(),
        [signaling(SignalingState::HaveRemotePranswer)]
    );
    assert!(a.media_plan().sections[0].send.is_some());
    assert_eq!(a.set_local(Some(rollback())), Err(Error::InvalidState));
    assert_eq!(a.create_offer(false), Err(Error::InvalidState));
    assert_eq!(a.current_remote_description(), None);
    assert_eq!(a.pending_remote_description(), Some(provisional));
    let last = b.create_answer().unwrap();
    assert_eq!(last.sdp, answer.sdp);
    b.set_local(Some(last.clone())).unwrap();
    assert_eq!(
        a.set_remote(last).unwrap(),
        [signaling(SignalingState::Stable)]
    );
    assert!(a.pending_local_description().is_none() && a.current_local_description().is_some());
}

#[test]
fn a_second_remote_offer_takes_the_place_of_the_first() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.set_local(None).unwrap();
    b.set_remote(a.pending_local_description().unwrap())
        .unwrap();
    a.add_track(track(2, Kind::Video)).unwrap();
    a.set_local(None).unwrap();
    b.set_remote(a.pending_local_description().unwrap())
        .unwrap();
    b.set_local(None).unwrap();
    a.set_remote(b.current_local_description().unwrap())
        .unwrap();
    assert_eq!(b.transceivers().len(), 2);
    assert_eq!(a.signaling_state(), SignalingState::Stable);
}

#[test]
fn a_transceiver_kept_through_a_rollback_meets_the_next_offer() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.set_local(None).unwrap();
    let offer = a.pending_local_description().unwrap();
    b.set_remote(offer.clone()).unwrap();
    b.add_track(track(2, Kind::Audio)).unwrap();
    b.set_remote(rollback()).unwrap();
    let changes = b.set_remote(offer).unwrap();
    assert_eq!(b.transceivers().len(), 1);
    assert_eq!(announced(&changes), [b.transceivers()[0].receiver.track.id]);
}
