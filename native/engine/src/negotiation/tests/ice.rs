//! ICE credentials, restarts and roles; DTLS roles.

use super::support::*;
use crate::negotiation::Change;
use crate::w3c::{DtlsRole, IceRole, Kind, SdpType};

#[test]
fn credentials_are_long_enough_and_made_of_ice_characters() {
    let mut a = peer();
    a.want_data_channels();
    let sdp = a.create_offer(false).unwrap().sdp;
    a.set_local(None).unwrap();
    let credentials = a.local_credentials().unwrap();
    assert!(credentials.ufrag.len() >= 4 && credentials.pwd.len() >= 22);
    let is_ice = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
    assert!(
        credentials
            .ufrag
            .chars()
            .chain(credentials.pwd.chars())
            .all(is_ice)
    );
    assert!(sdp.contains(&format!("a=ice-ufrag:{}\r\n", credentials.ufrag)));
}

#[test]
fn a_restart_offer_changes_both_sides_credentials_and_nothing_else() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    exchange(&mut a, &mut b);
    let (before_a, before_b) = (a.transport_plan().unwrap(), b.transport_plan().unwrap());
    let media = a.media_plan();
    // Without a restart they stay.
    exchange(&mut a, &mut b);
    assert_eq!(
        (a.transport_plan().unwrap(), b.transport_plan().unwrap()),
        (before_a.clone(), before_b.clone())
    );
    let offer = a.create_offer(true).unwrap();
    finish(&mut a, &mut b, offer);
    let (after_a, after_b) = (a.transport_plan().unwrap(), b.transport_plan().unwrap());
    assert_ne!(after_a.local, before_a.local);
    assert_ne!(after_b.local, before_b.local);
    assert_eq!(after_a.remote.as_ref(), Some(&after_b.local));
    assert_eq!(
        (after_a.ice_role, after_a.dtls_role),
        (before_a.ice_role, before_a.dtls_role)
    );
    assert_eq!(a.media_plan(), media);
}

#[test]
fn restart_ice_asks_for_negotiation_until_it_is_done() {
    let (mut a, mut b) = (peer(), peer());
    assert!(a.restart_ice().is_empty(), "nothing to restart yet");
    a.want_data_channels();
    exchange(&mut a, &mut b);
    let before = a.transport_plan().unwrap().local;
    assert_eq!(b.restart_ice(), [Change::NegotiationNeeded]);
    assert!(b.restart_ice().is_empty());
    // An exchange that the other side starts without a restart does not do it.
    exchange(&mut a, &mut b);
    assert!(b.negotiation_needed());
    exchange(&mut b, &mut a);
    assert!(!b.negotiation_needed());
    assert_ne!(a.transport_plan().unwrap().local, before);
}

#[test]
fn a_rolled_back_restart_keeps_the_old_credentials() {
    let (mut a, mut b) = (peer(), peer());
    a.want_data_channels();
    exchange(&mut a, &mut b);
    let before = a.transport_plan();
    let offer = a.create_offer(true).unwrap();
    a.set_local(Some(offer)).unwrap();
    assert_ne!(a.transport_plan(), before);
    a.set_local(Some(description(SdpType::Rollback, "")))
        .unwrap();
    assert_eq!(a.transport_plan(), before);
}

#[test]
fn the_first_offerer_controls_for_good() {
    let (mut a, mut b) = (peer(), peer());
    a.want_data_channels();
    exchange(&mut a, &mut b);
    exchange(&mut b, &mut a);
    assert_eq!(a.transport_plan().unwrap().ice_role, IceRole::Controlling);
    assert_eq!(b.transport_plan().unwrap().ice_role, IceRole::Controlled);
}

#[test]
fn a_lite_peer_is_controlled() {
    let mut lite = config();
    lite.ice_lite = true;
    let (mut a, mut b) = (with(lite), peer());
    a.want_data_channels();
    exchange(&mut a, &mut b);
    assert_eq!(a.transport_plan().unwrap().ice_role, IceRole::Controlled);
    let plan = b.transport_plan().unwrap();
    assert_eq!(
        (plan.ice_role, plan.remote_ice_lite),
        (IceRole::Controlling, true)
    );
}

#[test]
fn the_configured_dtls_role_is_taken_where_the_choice_is_ours() {
    let mut server = config();
    server.dtls_role = Some(DtlsRole::Server);
    let (mut a, mut b) = (peer(), with(server));
    a.want_data_channels();
    exchange(&mut a, &mut b);
    assert_eq!(
        b.transport_plan().unwrap().dtls_role,
        Some(DtlsRole::Server)
    );
    assert_eq!(
        a.transport_plan().unwrap().dtls_role,
        Some(DtlsRole::Client)
    );
    exchange(&mut b, &mut a);
    assert_eq!(
        b.transport_plan().unwrap().dtls_role,
        Some(DtlsRole::Server)
    );
}

#[test]
fn an_offer_that_chose_its_dtls_role_is_followed() {
    for (setup, ours) in [("active", DtlsRole::Server), ("passive", DtlsRole::Client)] {
        let (mut a, mut b) = (peer(), peer());
        a.want_data_channels();
        let mut offer = a.create_offer(false).unwrap();
        offer.sdp = offer.sdp.replace("actpass", setup);
        b.set_remote(offer).unwrap();
        b.set_local(None).unwrap();
        assert_eq!(b.transport_plan().unwrap().dtls_role, Some(ours));
    }
}

#[test]
fn the_dtls_role_changes_where_the_peer_offers_that_or_is_another_one() {
    let settled = || {
        let (mut a, mut b) = (peer(), peer());
        a.want_data_channels();
        exchange(&mut a, &mut b);
        (a, b)
    };
    // It offers to be the client, which we were.
    let (mut a, mut b) = settled();
    let mut offer = a.create_offer(false).unwrap();
    offer.sdp = offer.sdp.replace("actpass", "active");
    b.set_remote(offer).unwrap();
    b.set_local(None).unwrap();
    assert!(
        b.current_local_description()
            .unwrap()
            .sdp
            .contains("a=setup:passive")
    );
    assert_eq!(
        b.transport_plan().unwrap().dtls_role,
        Some(DtlsRole::Server)
    );
    // Another certificate answers, as the server; the one before was the client.
    for (certificate, role) in [("AB:AB", DtlsRole::Server), ("CD:CD", DtlsRole::Client)] {
        let (mut a, mut b) = settled();
        a.set_local(None).unwrap();
        b.set_remote(a.pending_local_description().unwrap())
            .unwrap();
        b.set_local(None).unwrap();
        let mut answer = b.current_local_description().unwrap();
        assert!(answer.sdp.contains("AB:AB"));
        answer.sdp = answer.sdp.replace("setup:active", "setup:passive");
        answer.sdp = answer.sdp.replace("AB:AB", certificate);
        a.set_remote(answer).unwrap();
        assert_eq!(a.transport_plan().unwrap().dtls_role, Some(role));
    }
}

#[test]
fn media_may_arrive_before_the_answer() {
    let mut a = peer();
    a.add_track(track(1, Kind::Video)).unwrap();
    a.set_local(None).unwrap();
    let plan = a.media_plan();
    let receive = plan.sections[0].receive.as_ref().unwrap();
    assert_eq!(receive.codecs[0].payload_type, 96);
    assert!(!receive.rtx.is_empty() && plan.sections[0].send.is_none());
    let transport = a.transport_plan().unwrap();
    assert!(transport.remote.is_none() && transport.dtls_role.is_none());
}
