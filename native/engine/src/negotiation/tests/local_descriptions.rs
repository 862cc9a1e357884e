//! `setLocalDescription`: what may be set, and how our texts look.

use super::support::*;
use crate::error::Error;
use crate::w3c::{Kind, SdpType, SignalingState};

#[test]
fn an_offer_reads_as_browsers_write_it() {
    let mut a = peer();
    a.add_track(track(7, Kind::Video)).unwrap();
    a.want_data_channels();
    let sdp = a.create_offer(false).unwrap().sdp;
    let kept: Vec<&str> = sdp
        .split("\r\n")
        .filter(|l| {
            !["o=", "a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=ssrc"]
                .iter()
                .any(|p| l.starts_with(p))
        })
        .filter(|l| {
            !["a=rtpmap", "a=rtcp-fb", "a=fmtp", "a=extmap"]
                .iter()
                .any(|p| l.starts_with(p))
        })
        .collect();
    assert_eq!(
        kept,
        [
            "v=0",
            "s=-",
            "t=0 0",
            "a=group:BUNDLE 0 1",
            "a=msid-semantic: WMS *",
            "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 100 99 101 45 102",
            "c=IN IP4 0.0.0.0",
            "a=rtcp:9 IN IP4 0.0.0.0",
            "a=ice-options:trickle",
            "a=setup:actpass",
            "a=mid:0",
            "a=sendrecv",
            "a=msid:stream-7 7",
            "a=rtcp-mux",
            "a=rtcp-rsize",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "c=IN IP4 0.0.0.0",
            "a=ice-options:trickle",
            "a=setup:actpass",
            "a=mid:1",
            "a=sctp-port:5000",
            "a=max-message-size:262144",
            "",
        ]
    );
    assert_eq!(lines(&sdp, "a=fmtp:97"), ["a=fmtp:97 apt=96"]);
    assert_eq!(lines(&sdp, "a=ssrc-group:FID").len(), 1);
}

#[test]
fn the_version_rises_only_when_something_changed() {
    let version = |sdp: &str| -> u64 {
        lines(sdp, "o=")[0]
            .split(' ')
            .nth(2)
            .unwrap()
            .parse()
            .unwrap()
    };
    let mut a = peer();
    a.add_track(track(1, Kind::Audio)).unwrap();
    let first = a.create_offer(false).unwrap();
    assert_eq!(a.create_offer(false).unwrap(), first);
    a.add_track(track(2, Kind::Audio)).unwrap();
    let second = a.create_offer(false).unwrap();
    assert_eq!(version(&second.sdp), version(&first.sdp) + 1);
    // The older one is not the last created one any more.
    assert_eq!(a.set_local(Some(first)), Err(Error::DescriptionAltered));
}

#[test]
fn feedback_that_stands_alone_is_agreed_on_by_both_or_not_at_all() {
    for both in [true, false] {
        let (mut a, mut b) = (peer(), peer());
        a.add_track(track(1, Kind::Video)).unwrap();
        a.set_local(None).unwrap();
        assert!(
            !a.media_plan().sections[0].reduced_size_rtcp,
            "not agreed yet"
        );
        let mut offer = a.pending_local_description().unwrap();
        if !both {
            offer.sdp = offer.sdp.replace("a=rtcp-rsize\r\n", "");
        }
        b.set_remote(offer).unwrap();
        b.set_local(None).unwrap();
        let answer = b.current_local_description().unwrap();
        assert_eq!(answer.sdp.contains("a=rtcp-rsize"), both);
        a.set_remote(answer).unwrap();
        for side in [&a, &b] {
            assert_eq!(side.media_plan().sections[0].reduced_size_rtcp, both);
        }
    }
}

#[test]
fn local_descriptions_are_compared_by_meaning() {
    let mut a = peer();
    a.add_track(track(1, Kind::Audio)).unwrap();
    let offer = a.create_offer(false).unwrap();
    let harmless = [
        offer.sdp.replace("\r\n", "\n"),
        offer.sdp.replace(
            "a=rtcp-mux\r\na=rtcp-rsize\r\n",
            "a=rtcp-rsize\r\na=rtcp-mux\r\n",
        ),
        offer
            .sdp
            .replace("a=sendrecv\r\n", "a=sendrecv\r\na=x-note:ours\r\n"),
        format!(
            "{}a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n",
            offer.sdp
        ),
    ];
    for text in harmless {
        a.set_local(Some(description(SdpType::Offer, &text)))
            .unwrap();
        assert_eq!(a.pending_local_description().unwrap().sdp, text);
    }
    let altered = [
        offer.sdp.replace("a=sendrecv", "a=recvonly"),
        offer.sdp.replace("opus/48000/2", "opus/48000"),
        offer.sdp.replace("a=mid:0", "a=mid:1"),
        offer.sdp.replace("a=ice-pwd:", "a=ice-pwd:x"),
        offer.sdp.replace("AB:AB", "AB:CD"),
    ];
    for text in altered {
        let before = format!("{a:?}");
        let result = a.set_local(Some(description(SdpType::Offer, &text)));
        assert_eq!(result, Err(Error::DescriptionAltered), "{text}");
        assert_eq!(format!("{a:?}"), before);
    }
    let broken = a.set_local(Some(description(SdpType::Offer, "nonsense")));
    assert_eq!(broken, Err(Error::InvalidSdpSyntax));
}

#[test]
fn a_description_nobody_created_is_refused() {
    let (mut a, mut b) = (peer(), peer());
    a.want_data_channels();
    let foreign = a.create_offer(false).unwrap();
    assert_eq!(b.set_local(Some(foreign)), Err(Error::DescriptionAltered));
}

#[test]
fn descriptions_are_refused_in_the_wrong_state() {
    let (mut a, mut b) = (peer(), peer());
    a.want_data_channels();
    assert_eq!(a.create_answer(), Err(Error::InvalidState));
    let offer = a.create_offer(false).unwrap();
    assert_eq!(
        a.set_local(Some(description(SdpType::Answer, &offer.sdp))),
        Err(Error::InvalidState)
    );
    assert_eq!(
        a.set_remote(description(SdpType::Answer, &offer.sdp)),
        Err(Error::InvalidState)
    );
    b.set_remote(offer.clone()).unwrap();
    assert_eq!(b.create_offer(false), Err(Error::InvalidState));
    assert_eq!(b.set_local(Some(offer)), Err(Error::InvalidState));
    b.close();
    assert_eq!(b.signaling_state(), SignalingState::Closed);
    assert_eq!(b.create_answer(), Err(Error::InvalidState));
    assert_eq!(b.set_local(None), Err(Error::InvalidState));
}

#[test]
fn the_implicit_form_makes_the_description_that_is_due() {
    let (mut a, mut b) = (peer(), peer());
    a.want_data_channels();
    a.set_local(None).unwrap();
    assert_eq!(
        a.pending_local_description().unwrap().sdp_type,
        SdpType::Offer
    );
    b.set_remote(a.pending_local_description().unwrap())
        .unwrap();
    b.set_local(None).unwrap();
    assert_eq!(
        b.current_local_description().unwrap().sdp_type,
        SdpType::Answer
    );
}
