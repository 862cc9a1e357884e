//! What the application asks of transceivers and senders.

use super::support::*;
use crate::error::Error;
use crate::ids::{SenderId, TransceiverId};
use crate::w3c::{Direction, Kind};
use std::collections::HashSet;

#[test]
fn add_track_takes_a_transceiver_that_never_sent() {
    let mut a = peer();
    let id = a
        .add_transceiver(Kind::Audio, None, Direction::Recvonly, vec![])
        .unwrap()
        .0
        .id;
    a.add_track(track(1, Kind::Audio)).unwrap();
    let all = a.transceivers();
    assert_eq!(
        (all.len(), all[0].id, all[0].direction),
        (1, id, Direction::Sendrecv)
    );
    assert_eq!(
        a.add_track(track(1, Kind::Audio)).err(),
        Some(Error::InvalidState)
    );
}

#[test]
fn add_track_leaves_a_transceiver_alone_that_sent() {
    let (mut a, mut b) = (peer(), peer());
    let sender = a.add_track(track(1, Kind::Audio)).unwrap().0;
    exchange(&mut a, &mut b);
    a.remove_track(sender.id).unwrap();
    a.add_track(track(2, Kind::Audio)).unwrap();
    let directions: Vec<_> = a.transceivers().iter().map(|t| t.direction).collect();
    assert_eq!(directions, [Direction::Recvonly, Direction::Sendrecv]);
}

#[test]
fn replacing_a_track_needs_no_negotiation_and_keeps_the_ssrc() {
    let (mut a, mut b) = (peer(), peer());
    let sender = a.add_track(track(1, Kind::Video)).unwrap().0.id;
    exchange(&mut a, &mut b);
    let before = a.media_plan().sections[0].send.clone().unwrap();
    assert!(
        a.replace_track(sender, Some(track(2, Kind::Video)))
            .unwrap()
            .is_empty()
    );
    let after = a.media_plan().sections[0].send.clone().unwrap();
    assert_eq!(after.track, Some(crate::ids::TrackId(2)));
    assert_eq!(after.encodings, before.encodings);
    assert!(!a.negotiation_needed());
    exchange(&mut a, &mut b);
    assert_eq!(
        a.media_plan().sections[0].send.as_ref().unwrap().encodings,
        before.encodings
    );
    assert_eq!(
        a.replace_track(sender, Some(track(3, Kind::Audio))),
        Err(Error::InvalidTrackType)
    );
    assert_eq!(
        a.replace_track(SenderId(1), None),
        Err(Error::InvalidSenderId)
    );
    a.set_direction(a.transceivers()[0].id, Direction::Recvonly)
        .unwrap();
    assert_eq!(
        a.replace_track(sender, Some(track(4, Kind::Video))),
        Err(Error::InvalidTransceiverDirection)
    );
    a.stop_transceiver(a.transceivers()[0].id).unwrap();
    assert_eq!(a.replace_track(sender, None), Err(Error::InvalidState));
}

#[test]
fn a_sender_uses_the_negotiated_codec_it_was_told() {
    let (mut a, mut b) = (peer(), peer());
    let sender = a.add_track(track(1, Kind::Video)).unwrap().0.id;
    let h264 = config().video_codecs[1].clone();
    assert_eq!(
        a.set_sender_codec(sender, h264.clone()),
        Err(Error::InvalidCodec)
    );
    exchange(&mut a, &mut b);
    a.set_sender_codec(sender, h264.clone()).unwrap();
    let plan = a.media_plan().sections[0].send.clone().unwrap();
    assert_eq!(plan.codec.payload_type, h264.payload_type);
    assert!(plan.rtx_of(plan.codec.payload_type).is_some());
    exchange(&mut a, &mut b);
    assert_eq!(
        a.transceivers()[0]
            .sender
            .codec
            .as_ref()
            .unwrap()
            .payload_type,
        98
    );
    let strange = codec(98, "video/VP9", 90_000, None);
    assert_eq!(
        a.set_sender_codec(sender, strange),
        Err(Error::InvalidCodec)
    );
    assert_eq!(
        a.set_sender_codec(SenderId(1), h264.clone()),
        Err(Error::InvalidSenderId)
    );
    a.set_direction(a.transceivers()[0].id, Direction::Recvonly)
        .unwrap();
    assert_eq!(
        a.set_sender_codec(sender, h264),
        Err(Error::InvalidTransceiverDirection)
    );
}

#[test]
fn preferences_must_name_codecs_we_have() {
    let mut a = peer();
    let id = a
        .add_transceiver(Kind::Video, None, Direction::Sendrecv, vec![])
        .unwrap()
        .0
        .id;
    let unknown = vec![codec(96, "video/VP9", 90_000, None)];
    assert_eq!(
        a.set_codec_preferences(id, unknown),
        Err(Error::InvalidModification)
    );
    let only_rtx = vec![codec(97, "video/rtx", 90_000, None)];
    assert_eq!(
        a.set_codec_preferences(id, only_rtx),
        Err(Error::InvalidModification)
    );
    let av1 = config().video_codecs[3].clone();
    a.set_codec_preferences(id, vec![av1]).unwrap();
    let sdp = a.create_offer(false).unwrap().sdp;
    assert_eq!(
        lines(&sdp, "m=video"),
        ["m=video 9 UDP/TLS/RTP/SAVPF 45 97"]
    );
    a.set_codec_preferences(id, vec![]).unwrap();
    assert_eq!(a.transceivers()[0].codecs.len(), 4);
}

#[test]
fn names_that_nobody_has_are_refused() {
    let mut a = peer();
    let id = TransceiverId(1);
    assert_eq!(
        a.set_direction(id, Direction::Inactive),
        Err(Error::InvalidTransceiverId)
    );
    assert_eq!(a.stop_transceiver(id), Err(Error::InvalidTransceiverId));
    assert_eq!(
        a.set_codec_preferences(id, vec![]),
        Err(Error::InvalidTransceiverId)
    );
    assert_eq!(a.remove_track(SenderId(1)), Err(Error::InvalidSenderId));
    let mut odd = track(1, Kind::Audio);
    odd.streams = vec!["a\r\na=ice-lite".to_owned()];
    assert_eq!(a.add_track(odd).err(), Some(Error::InvalidOption));
}

#[test]
fn a_stopped_transceiver_takes_no_orders() {
    let mut a = peer();
    let id = a
        .add_transceiver(Kind::Video, None, Direction::Sendrecv, vec![])
        .unwrap()
        .0
        .id;
    a.stop_transceiver(id).unwrap();
    assert!(a.stop_transceiver(id).unwrap().is_empty());
    assert_eq!(
        a.set_direction(id, Direction::Sendrecv),
        Err(Error::InvalidState)
    );
}

#[test]
fn closing_stops_everything_and_refuses_the_rest() {
    let (mut a, mut b) = (peer(), peer());
    let sender = a.add_track(track(1, Kind::Audio)).unwrap().0.id;
    a.want_data_channels();
    exchange(&mut a, &mut b);
    a.close();
    assert!(a.transceivers().iter().all(|t| t.stopped));
    assert!(a.media_plan().sections.is_empty() && a.data_plan().is_none());
    assert_eq!(
        a.add_track(track(2, Kind::Audio)).err(),
        Some(Error::InvalidState)
    );
    assert_eq!(a.remove_track(sender), Err(Error::InvalidState));
    assert!(a.restart_ice().is_empty() && a.want_data_channels().is_empty());
    assert!(a.current_local_description().is_some());
}

#[test]
fn ids_and_ssrcs_are_unique_and_small() {
    let mut a = peer();
    let mut ids = HashSet::new();
    for _ in 0..50 {
        let t = a
            .add_transceiver(Kind::Video, None, Direction::Sendrecv, vec![])
            .unwrap()
            .0;
        for id in [
            t.id.0,
            t.sender.id.0,
            t.receiver.id.0,
            t.receiver.track.id.0,
        ] {
            assert!(ids.insert(id) && id < 1 << 59);
        }
    }
    let sdp = a.create_offer(false).unwrap().sdp;
    let ssrcs: HashSet<&str> = lines(&sdp, "a=ssrc-group")
        .iter()
        .flat_map(|l| l.split(' ').skip(1))
        .collect();
    assert_eq!(ssrcs.len(), 100);
}

#[test]
fn a_kind_without_codecs_is_not_taken() {
    let mut audio_only = config();
    audio_only.video_codecs.clear();
    let mut a = with(audio_only);
    assert_eq!(
        a.add_track(track(1, Kind::Video)).err(),
        Some(Error::InvalidTrackType)
    );
    let added = a.add_transceiver(Kind::Video, None, Direction::Recvonly, vec![]);
    assert_eq!(added.err(), Some(Error::InvalidTrackType));
}
