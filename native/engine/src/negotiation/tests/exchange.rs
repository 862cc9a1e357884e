//! Offers and answers between two of ours.

use super::support::*;
use crate::ids::TrackId;
use crate::negotiation::Change;
use crate::w3c::{Direction, DtlsRole, IceRole, Kind, SignalingState};

#[test]
fn a_first_exchange_settles_media_data_and_transport_on_both_sides() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.add_track(track(2, Kind::Video)).unwrap();
    a.want_data_channels();
    let told = exchange(&mut a, &mut b);
    println!(
        "{}\n{}",
        a.current_local_description().unwrap().sdp,
        b.current_local_description().unwrap().sdp
    );

    assert_eq!(
        told.offerer,
        [
            Change::SignalingState(SignalingState::HaveLocalOffer),
            Change::SignalingState(SignalingState::Stable),
        ]
    );
    assert!(matches!(
        told.answerer.as_slice(),
        [
            Change::Track(_),
            Change::Track(_),
            Change::SignalingState(SignalingState::HaveRemoteOffer),
            Change::SignalingState(SignalingState::Stable),
        ]
    ));
    let (plan_a, plan_b) = (a.transport_plan().unwrap(), b.transport_plan().unwrap());
    assert_eq!(
        (plan_a.ice_role, plan_b.ice_role),
        (IceRole::Controlling, IceRole::Controlled)
    );
    assert_eq!(
        (plan_a.dtls_role, plan_b.dtls_role),
        (Some(DtlsRole::Server), Some(DtlsRole::Client))
    );
    assert_eq!(plan_a.remote.as_ref(), Some(&plan_b.local));
    assert_eq!(plan_b.remote.as_ref(), Some(&plan_a.local));
    assert_eq!(plan_b.remote_fingerprints, [fingerprint("AB")]);

    let (media_a, media_b) = (a.media_plan(), b.media_plan());
    assert_eq!(media_a.sections.len(), 2);
    let (send, receive) = (&media_a.sections[1].send, &media_b.sections[1].receive);
    let (send, receive) = (send.as_ref().unwrap(), receive.as_ref().unwrap());
    assert_eq!(send.track, Some(TrackId(2)));
    assert_eq!(send.codec.mime_type, "video/VP8");
    assert_eq!(
        send.codec.feedback,
        ["transport-cc", "ccm fir", "nack pli", "nack"]
    );
    assert_eq!(
        send.rtx_of(send.codec.payload_type)
            .and_then(|pt| receive.rtx.get(&pt)),
        Some(&96)
    );
    let encoding = &send.encodings[0];
    assert_eq!(receive.ssrcs, [(encoding.ssrc, encoding.rtx_ssrc)]);
    assert!(media_a.sections[1].receive.is_none() && media_b.sections[1].send.is_none());
    assert_eq!(
        media_a.sections[1].extensions,
        media_b.sections[1].extensions
    );
    assert_eq!(media_a.sections[1].extensions.len(), 4);

    assert_eq!(a.data_plan(), b.data_plan());
    assert_eq!(
        a.data_plan().unwrap().remote_max_message_size,
        Some(262_144)
    );
    let directions: Vec<_> = b
        .transceivers()
        .iter()
        .map(|t| t.current_direction)
        .collect();
    assert_eq!(directions, [Some(Direction::Recvonly); 2]);
    assert!(!a.negotiation_needed() && !b.negotiation_needed());
}

#[test]
fn five_hundred_m_lines_are_negotiated() {
    let (mut a, mut b) = (peer(), peer());
    for number in 0..500 {
        a.add_track(track(number + 1, Kind::Video)).unwrap();
    }
    exchange(&mut a, &mut b);
    assert_eq!(b.media_plan().sections.len(), 500);
    assert!(a.sends_track(TrackId(500)) && !b.sends_track(TrackId(500)));
    // The next one adds to them.
    b.want_data_channels();
    exchange(&mut b, &mut a);
    assert_eq!(a.data_plan(), b.data_plan());
    assert!(a.data_plan().is_some());
}
