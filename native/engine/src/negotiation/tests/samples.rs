//! Offers in the form that browsers and aiortc write them.

use super::support::*;
use crate::ids::Rid;
use crate::negotiation::{Change, Negotiation};
use crate::w3c::{Direction, DtlsRole, SdpType};

const FINGERPRINT: &str = "4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF";

fn text(template: &str) -> String {
    template
        .replace("FINGERPRINT", FINGERPRINT)
        .lines()
        .map(|l| format!("{}\r\n", l.trim()))
        .collect()
}

fn answered(template: &str) -> (Negotiation, Vec<Change>, String) {
    let mut b = peer();
    let changes = b
        .set_remote(description(SdpType::Offer, &text(template)))
        .unwrap();
    b.set_local(None).unwrap();
    let answer = b.current_local_description().unwrap().sdp;
    // What we write, we read.
    b.set_remote(description(SdpType::Offer, &text(template)))
        .unwrap();
    (b, changes, answer)
}

const CHROMIUM: &str = "v=0
    o=- 4611731400430051336 2 IN IP4 127.0.0.1
    s=-
    t=0 0
    a=group:BUNDLE 0 1 2
    a=extmap-allow-mixed
    a=msid-semantic: WMS 9c1f
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
    c=IN IP4 0.0.0.0
    a=rtcp:9 IN IP4 0.0.0.0
    a=candidate:1467250027 1 udp 2122260223 192.0.2.10 46154 typ host generation 0 network-id 1
    a=ice-ufrag:zq8F
    a=ice-pwd:p7Yb3nWk9vLsD2xQfRtGh1Cm
    a=ice-options:trickle
    a=fingerprint:sha-256 FINGERPRINT
    a=setup:actpass
    a=mid:0
    a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
    a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
    a=sendrecv
    a=msid:9c1f 7d2a
    a=rtcp-mux
    a=rtcp-rsize
    a=rtpmap:111 opus/48000/2
    a=rtcp-fb:111 transport-cc
    a=fmtp:111 minptime=10;useinbandfec=1
    a=rtpmap:63 red/48000/2
    a=fmtp:63 111/111
    a=rtpmap:9 G722/8000
    a=rtpmap:0 PCMU/8000
    a=rtpmap:8 PCMA/8000
    a=rtpmap:13 CN/8000
    a=rtpmap:110 telephone-event/48000
    a=rtpmap:126 telephone-event/8000
    a=ssrc:2998370121 cname:aBcD
    a=ssrc:2998370121 msid:9c1f 7d2a
    m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 107 108 39 40 45 46 98 99 49
    c=IN IP4 0.0.0.0
    a=rtcp:9 IN IP4 0.0.0.0
    a=ice-ufrag:zq8F
    a=ice-pwd:p7Yb3nWk9vLsD2xQfRtGh1Cm
    a=ice-options:trickle
    a=fingerprint:sha-256 FINGERPRINT
    a=setup:actpass
    a=mid:1
    a=extmap:14 urn:ietf:params:rtp-hdrext:toffset
    a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
    a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id
    a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id
    a=sendrecv
    a=msid:9c1f e4b0
    a=rtcp-mux
    a=rtcp-rsize
    a=rtpmap:96 VP8/90000
    a=rtcp-fb:96 goog-remb
    a=rtcp-fb:96 transport-cc
    a=rtcp-fb:96 ccm fir
    a=rtcp-fb:96 nack
    a=rtcp-fb:96 nack pli
    a=rtpmap:97 rtx/90000
    a=fmtp:97 apt=96
    a=rtpmap:103 H264/90000
    a=rtcp-fb:103 nack
    a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
    a=rtpmap:104 rtx/90000
    a=fmtp:104 apt=103
    a=rtpmap:107 H264/90000
    a=rtcp-fb:107 nack
    a=fmtp:107 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
    a=rtpmap:108 rtx/90000
    a=fmtp:108 apt=107
    a=rtpmap:39 H264/90000
    a=fmtp:39 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=4d001f
    a=rtpmap:40 rtx/90000
    a=fmtp:40 apt=39
    a=rtpmap:45 AV1/90000
    a=fmtp:45 level-idx=5;profile=0;tier=0
    a=rtpmap:46 rtx/90000
    a=fmtp:46 apt=45
    a=rtpmap:98 VP9/90000
    a=fmtp:98 profile-id=0
    a=rtpmap:99 rtx/90000
    a=fmtp:99 apt=98
    a=rtpmap:49 ulpfec/90000
    a=rid:hi send
    a=rid:lo send
    a=simulcast:send hi;lo
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel
    c=IN IP4 0.0.0.0
    a=ice-ufrag:zq8F
    a=ice-pwd:p7Yb3nWk9vLsD2xQfRtGh1Cm
    a=ice-options:trickle
    a=fingerprint:sha-256 FINGERPRINT
    a=setup:actpass
    a=mid:2
    a=sctp-port:5000
    a=max-message-size:262144";

#[test]
fn chromiums_offer_is_answered_with_its_numbers() {
    let (b, changes, answer) = answered(CHROMIUM);
    assert_eq!(
        lines(&answer, "m="),
        [
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "m=video 9 UDP/TLS/RTP/SAVPF 96 97 107 108 45 46",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        ]
    );
    assert_eq!(
        lines(&answer, "a=rtcp-fb:96"),
        ["transport-cc", "ccm fir", "nack", "nack pli"].map(|f| format!("a=rtcp-fb:96 {f}"))
    );
    assert_eq!(
        lines(&answer, "a=fmtp:111"),
        ["a=fmtp:111 minptime=10;useinbandfec=1"]
    );
    assert_eq!(lines(&answer, "a=extmap:").len(), 2 + 4);
    assert_eq!(lines(&answer, "a=extmap-allow-mixed").len(), 1);
    assert!(answer.contains("a=simulcast:recv hi;lo\r\n"));
    let Change::Track(video) = &changes[1] else {
        panic!("no video track")
    };
    assert_eq!(video.streams, ["9c1f"]);
    assert_eq!(video.rids, Some(vec![Rid::from("hi"), Rid::from("lo")]));
    let transport = b.transport_plan().unwrap();
    assert_eq!(transport.remote.unwrap().ufrag, "zq8F");
    assert_eq!(transport.dtls_role, Some(DtlsRole::Client));
    assert_eq!(b.can_trickle(), Some(true));
    let receive = b.media_plan().sections[0].receive.clone().unwrap();
    assert_eq!(receive.ssrcs, [(2_998_370_121, None)]);
}

const FIREFOX: &str = "v=0
    o=mozilla...THIS_IS_SDPARTA-99.0 3563345678901234567 0 IN IP4 0.0.0.0
    s=-
    t=0 0
    a=sendrecv
    a=fingerprint:sha-256 FINGERPRINT
    a=group:BUNDLE 0 1
    a=ice-options:trickle
    a=msid-semantic:WMS *
    m=video 9 UDP/TLS/RTP/SAVPF 120 124 126 127
    c=IN IP4 0.0.0.0
    a=recvonly
    a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid
    a=extmap:7 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id/bogus
    a=extmap:5 urn:ietf:params:rtp-hdrext:toffset
    a=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1
    a=fmtp:120 max-fs=12288;max-fr=60
    a=fmtp:124 apt=120
    a=fmtp:127 apt=126
    a=ice-pwd:0f1e2d3c4b5a69788796a5b4c3d2e1f0
    a=ice-ufrag:0a1b2c3d
    a=mid:0
    a=rtcp-fb:120 nack
    a=rtcp-fb:120 nack pli
    a=rtcp-fb:126 nack
    a=rtcp-mux
    a=rtcp-rsize
    a=rtpmap:120 VP8/90000
    a=rtpmap:124 rtx/90000
    a=rtpmap:126 H264/90000
    a=rtpmap:127 rtx/90000
    a=setup:actpass
    a=ssrc:1034567890 cname:{b0c1d2e3-0000-4000-8000-000000000000}
    m=audio 0 UDP/TLS/RTP/SAVPF 109 9
    c=IN IP4 0.0.0.0
    a=bundle-only
    a=sendonly
    a=extmap:2/recvonly urn:ietf:params:rtp-hdrext:csrc-audio-level
    a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid
    a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1
    a=mid:1
    a=msid:{aa} {bb}
    a=rtcp-mux
    a=rtpmap:109 opus/48000/2
    a=rtpmap:9 G722/8000/1
    a=ssrc:67890 cname:{b0c1d2e3-0000-4000-8000-000000000000}";

#[test]
fn firefoxes_offer_with_session_attributes_and_bundle_only_is_answered() {
    let (b, changes, answer) = answered(FIREFOX);
    assert_eq!(announced(&changes).len(), 1);
    assert_eq!(
        lines(&answer, "m="),
        [
            "m=video 9 UDP/TLS/RTP/SAVPF 120 124 126 127",
            "m=audio 9 UDP/TLS/RTP/SAVPF 109",
        ]
    );
    let directions: Vec<_> = b
        .transceivers()
        .iter()
        .map(|t| t.current_direction)
        .collect();
    assert_eq!(
        directions,
        [Some(Direction::Inactive), Some(Direction::Recvonly)]
    );
    assert_eq!(
        b.transport_plan().unwrap().remote_fingerprints[0].value,
        FINGERPRINT
    );
}

const SAFARI: &str = "v=0
    o=- 7403216874951823417 2 IN IP4 127.0.0.1
    s=-
    t=0 0
    a=group:BUNDLE audio video
    a=msid-semantic: WMS
    m=audio 9 UDP/TLS/RTP/SAVPF 111 103
    c=IN IP4 0.0.0.0
    a=rtcp:9 IN IP4 0.0.0.0
    a=ice-ufrag:Sfri
    a=ice-pwd:SafariSafariSafariSafari
    a=ice-options:trickle
    a=fingerprint:sha-256 FINGERPRINT
    a=setup:actpass
    a=mid:audio
    a=sendrecv
    a=msid:- f00d
    a=rtcp-mux
    a=rtpmap:111 opus/48000/2
    a=rtpmap:103 ISAC/16000
    m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99
    c=IN IP4 0.0.0.0
    a=rtcp:9 IN IP4 0.0.0.0
    a=ice-ufrag:Sfri
    a=ice-pwd:SafariSafariSafariSafari
    a=ice-options:trickle
    a=fingerprint:sha-256 FINGERPRINT
    a=setup:actpass
    a=mid:video
    a=sendonly
    a=msid:- beef
    a=rtcp-mux
    a=rtcp-rsize
    a=rtpmap:96 H264/90000
    a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f
    a=rtpmap:97 rtx/90000
    a=fmtp:97 apt=96
    a=rtpmap:98 H264/90000
    a=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
    a=rtpmap:99 rtx/90000
    a=fmtp:99 apt=98
    a=ssrc-group:FID 1111 2222
    a=ssrc:1111 cname:x
    a=ssrc:1111 msid:- beef
    a=ssrc:2222 cname:x
    a=ssrc:2222 msid:- beef";

#[test]
fn safaris_offer_with_named_mids_and_no_streams_is_answered() {
    let (b, changes, answer) = answered(SAFARI);
    let Change::Track(audio) = &changes[0] else {
        panic!("no audio track")
    };
    assert!(audio.streams.is_empty() && audio.rids.is_none());
    assert_eq!(
        lines(&answer, "m=video"),
        ["m=video 9 UDP/TLS/RTP/SAVPF 98 99"]
    );
    assert!(answer.contains("a=group:BUNDLE audio video\r\n"));
    let receive = b.media_plan().sections[1].receive.clone().unwrap();
    assert_eq!(receive.ssrcs, [(1111, Some(2222))]);
    assert_eq!(receive.rtx.get(&99), Some(&98));
}

const AIORTC: &str = "v=0
    o=- 3940000000 3940000000 IN IP4 0.0.0.0
    s=-
    t=0 0
    a=group:BUNDLE 0 1
    a=msid-semantic:WMS *
    m=audio 41234 UDP/TLS/RTP/SAVPF 96 0 8
    c=IN IP4 192.0.2.20
    a=sendrecv
    a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
    a=mid:0
    a=msid:0a0b 0c0d
    a=rtcp:9 IN IP4 0.0.0.0
    a=rtcp-mux
    a=ssrc:777 cname:dd
    a=rtpmap:96 opus/48000/2
    a=rtpmap:0 PCMU/8000
    a=rtpmap:8 PCMA/8000
    a=candidate:0a 1 udp 2130706431 192.0.2.20 41234 typ host
    a=end-of-candidates
    a=ice-ufrag:aio1
    a=ice-pwd:aiortcaiortcaiortc12345
    a=fingerprint:sha-256 FINGERPRINT
    a=fingerprint:sha-384 AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA
    a=fingerprint:sha-512 CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC
    a=setup:actpass
    m=application 41234 DTLS/SCTP 5000
    c=IN IP4 192.0.2.20
    a=mid:1
    a=sctpmap:5000 webrtc-datachannel 65535
    a=max-message-size:65536
    a=candidate:0a 1 udp 2130706431 192.0.2.20 41234 typ host
    a=end-of-candidates
    a=ice-ufrag:aio1
    a=ice-pwd:aiortcaiortcaiortc12345
    a=fingerprint:sha-256 FINGERPRINT
    a=setup:actpass";

#[test]
fn aiortcs_offer_with_candidates_and_the_old_data_form_is_answered_in_kind() {
    let mut b = peer();
    b.set_remote(description(SdpType::Offer, &text(AIORTC)))
        .unwrap();
    b.set_local(None).unwrap();
    assert_eq!(b.take_remote_candidates().len(), 1);
    let answer = b.current_local_description().unwrap().sdp;
    assert_eq!(
        lines(&answer, "m="),
        [
            "m=audio 9 UDP/TLS/RTP/SAVPF 96",
            "m=application 9 DTLS/SCTP 5000"
        ]
    );
    assert_eq!(lines(&answer, "a=sctpmap").len(), 1);
    let data = b.data_plan().unwrap();
    assert_eq!(
        (data.remote_port, data.remote_max_message_size),
        (5000, Some(65_536))
    );
    assert_eq!(b.transport_plan().unwrap().remote_fingerprints.len(), 3);
    assert_eq!(b.can_trickle(), Some(false));
}

#[test]
fn static_payload_types_need_no_rtpmap() {
    let mut config = config();
    config.audio_codecs = vec![codec(8, "audio/PCMA", 8000, None)];
    let mut b = with(config);
    let offer = text(SAFARI)
        .replace("SAVPF 111 103", "SAVPF 8")
        .replace("a=rtpmap:111 opus/48000/2\r\n", "");
    b.set_remote(description(SdpType::Offer, &offer)).unwrap();
    b.set_local(None).unwrap();
    assert_eq!(
        b.media_plan().sections[0].receive.as_ref().unwrap().codecs[0].mime_type,
        "audio/PCMA"
    );
}
