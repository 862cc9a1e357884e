//! Refused m-lines, and m-lines that are used again.

use super::support::*;
use crate::negotiation::{Change, Negotiation};
use crate::w3c::{Direction, Kind, SdpType, SessionDescription, SignalingState};

#[test]
fn a_stopped_m_line_is_used_again_with_a_new_mid() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.add_track(track(2, Kind::Video)).unwrap();
    exchange(&mut a, &mut b);
    a.stop_transceiver(a.transceivers()[0].id).unwrap();
    // Not yet: the peer does not know.
    a.add_track(track(3, Kind::Video)).unwrap();
    let offer = a.create_offer(false).unwrap();
    assert_eq!(lines(&offer.sdp, "m=").len(), 3);
    finish(&mut a, &mut b, offer);

    a.add_track(track(4, Kind::Audio)).unwrap();
    let told = exchange(&mut a, &mut b);
    assert_eq!(announced(&told.answerer).len(), 1);
    for side in [&a, &b] {
        let mids: Vec<_> = side
            .transceivers()
            .into_iter()
            .filter_map(|t| t.mid)
            .collect();
        assert_eq!(mids, ["3", "1", "2"]);
        assert_eq!(side.media_plan().sections.len(), 3);
    }
}

#[test]
fn the_other_side_may_use_the_m_line_again_for_another_kind() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    exchange(&mut a, &mut b);
    a.stop_transceiver(a.transceivers()[0].id).unwrap();
    exchange(&mut a, &mut b);
    b.add_track(track(2, Kind::Video)).unwrap();
    exchange(&mut b, &mut a);
    assert_eq!(a.transceivers()[0].kind, Kind::Video);
    assert_eq!(
        lines(&a.current_local_description().unwrap().sdp, "m=").len(),
        1
    );
}

#[test]
fn m_lines_without_a_common_codec_are_refused_and_their_transceivers_stop() {
    let mut audio_only = config();
    audio_only.video_codecs.clear();
    let (mut a, mut b) = (peer(), with(audio_only));
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.add_track(track(2, Kind::Video)).unwrap();
    let video = a.transceivers()[1].receiver.track.id;
    let told = exchange(&mut a, &mut b);
    assert_eq!(
        told.offerer,
        [
            signaling(SignalingState::HaveLocalOffer),
            Change::TrackEnded(video),
            signaling(SignalingState::Stable),
        ]
    );
    assert!(
        told.answerer
            .iter()
            .any(|c| matches!(c, Change::TrackEnded(_)))
    );
    let answer = b.current_local_description().unwrap().sdp;
    assert!(lines(&answer, "m=video 0 ").len() == 1 && answer.contains("a=group:BUNDLE 0\r\n"));
    assert_eq!((a.transceivers().len(), b.transceivers().len()), (1, 1));
    assert!(!a.negotiation_needed() && !b.negotiation_needed());
}

#[test]
fn m_lines_of_unknown_kinds_are_refused_and_the_rest_works() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    let mut offer = a.create_offer(false).unwrap();
    a.set_local(None).unwrap();
    offer
        .sdp
        .push_str("m=text 9 RTP/AVP 98\r\na=mid:chat\r\nm=message 9 TCP/MSRP *\r\na=mid:msrp\r\n");
    b.set_remote(offer).unwrap();
    b.set_local(None).unwrap();
    let answer = b.current_local_description().unwrap().sdp;
    assert_eq!(
        lines(&answer, "m=")[1..],
        ["m=text 0 RTP/AVP 98", "m=message 0 TCP/MSRP *"]
    );
    assert_eq!(b.media_plan().sections.len(), 1);
    // Our own offers keep the places, or use them for something we know.
    b.add_track(track(9, Kind::Video)).unwrap();
    let offer = b.create_offer(false).unwrap().sdp;
    let kinds: Vec<_> = lines(&offer, "m=")
        .iter()
        .map(|l| l.split(' ').next().unwrap())
        .collect();
    assert_eq!(kinds, ["m=audio", "m=video", "m=message"]);
    assert!(offer.contains("a=group:BUNDLE 0 1\r\n"));
}

#[test]
fn a_transceiver_stopped_between_offer_and_answer_is_given_back_afterwards() {
    let (mut a, mut b) = (peer(), peer());
    a.add_transceiver(Kind::Video, None, Direction::Sendrecv, vec![])
        .unwrap();
    a.set_local(None).unwrap();
    a.stop_transceiver(a.transceivers()[0].id).unwrap();
    b.set_remote(a.pending_local_description().unwrap())
        .unwrap();
    b.set_local(None).unwrap();
    let changes = a
        .set_remote(b.current_local_description().unwrap())
        .unwrap();
    assert_eq!(changes.last(), Some(&Change::NegotiationNeeded));
    exchange(&mut a, &mut b);
    assert!(a.transceivers().is_empty() && b.transceivers().is_empty());
}

/// One that has offered audio and data channels, one that has the offer, and an answer without the
/// channels.
fn data_refused() -> (Negotiation, Negotiation, SessionDescription) {
    let (mut a, mut b) = (peer(), peer());
    a.want_data_channels();
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.set_local(None).unwrap();
    b.set_remote(a.pending_local_description().unwrap())
        .unwrap();
    let mut answer = b.create_answer().unwrap();
    answer.sdp = answer
        .sdp
        .replace("m=application 9", "m=application 0")
        .replace("BUNDLE 0 1", "BUNDLE 0");
    (a, b, answer)
}

#[test]
fn refused_data_channels_are_not_asked_for_again() {
    let (mut a, _b, answer) = data_refused();
    a.set_remote(answer).unwrap();
    assert_eq!(a.data_plan(), None);
    assert!(!a.negotiation_needed());
}

#[test]
fn a_channel_made_after_a_refusal_asks_for_the_m_line_again_which_is_used_anew() {
    let (mut a, mut b, answer) = data_refused();
    b.set_local(None).unwrap();
    let provisional = description(SdpType::Pranswer, &answer.sdp);
    a.set_remote(provisional).unwrap();
    assert!(!a.take_data_refused(), "the last word is not spoken");
    a.set_remote(answer).unwrap();
    assert!(a.take_data_refused());
    assert!(!a.take_data_refused(), "told once");
    assert_eq!(a.want_data_channels(), [Change::NegotiationNeeded]);
    a.add_track(track(2, Kind::Video)).unwrap();
    let offer = a.create_offer(false).unwrap();
    let kinds: Vec<_> = lines(&offer.sdp, "m=")
        .iter()
        .map(|l| l.split(' ').next().unwrap())
        .collect();
    assert_eq!(kinds, ["m=audio", "m=application", "m=video"]);
    assert_eq!(
        lines(&offer.sdp, "a=mid:"),
        ["a=mid:0", "a=mid:2", "a=mid:3"]
    );
    let mut b = peer();
    finish(&mut a, &mut b, offer);
    assert!(a.data_plan().is_some() && b.data_plan().is_some());
    assert!(!a.take_data_refused() && !a.negotiation_needed());
}

#[test]
fn an_m_line_for_data_that_was_in_use_and_is_given_up_closes_the_channels() {
    let (mut a, mut b) = (peer(), peer());
    a.want_data_channels();
    a.add_track(track(1, Kind::Audio)).unwrap();
    exchange(&mut a, &mut b);
    let mut offer = a.create_offer(false).unwrap();
    offer.sdp = offer
        .sdp
        .replace("m=application 9", "m=application 0")
        .replace("BUNDLE 0 1", "BUNDLE 0");
    b.set_remote(offer).unwrap();
    assert!(!b.take_data_refused());
    b.set_local(None).unwrap();
    assert!(b.take_data_refused());
    assert_eq!(b.data_plan(), None);
}

#[test]
fn a_thousand_exchanges_leave_no_more_behind_than_a_hundred() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.want_data_channels();
    let mut sizes = Vec::new();
    // Three exchanges each.
    for round in 0..334u64 {
        a.add_track(track(10 + round, Kind::Video)).unwrap();
        exchange(&mut a, &mut b);
        b.restart_ice();
        exchange(&mut b, &mut a);
        let video = a.transceivers().into_iter().find(|t| t.kind == Kind::Video);
        a.stop_transceiver(video.unwrap().id).unwrap();
        exchange(&mut a, &mut b);
        assert_eq!(a.transceivers().len(), 1);
        if round == 33 || round == 333 {
            sizes.push([format!("{a:?}").len(), format!("{b:?}").len()]);
        }
    }
    // Numbers have more digits in the end: versions, mids, the ids of tracks.
    for (side, first) in sizes[0].into_iter().enumerate() {
        let last = sizes[1][side];
        assert!(last < first + first / 50, "{first} bytes, then {last}");
    }
}
