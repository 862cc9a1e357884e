//! Candidates in descriptions and beside them.

use super::support::*;
use crate::error::Error;
use crate::negotiation::{Negotiation, RemoteCandidate};
use crate::w3c::{IceCandidateInit, Kind};

const HOST: &str = "candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host";

fn connected() -> (Negotiation, Negotiation) {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.add_track(track(2, Kind::Video)).unwrap();
    exchange(&mut a, &mut b);
    (a, b)
}

fn init(candidate: &str, mid: Option<&str>, index: Option<u16>) -> Option<IceCandidateInit> {
    Some(IceCandidateInit {
        candidate: candidate.to_owned(),
        sdp_mid: mid.map(str::to_owned),
        sdp_mline_index: index,
        username_fragment: None,
        url: None,
    })
}

#[test]
fn gathered_candidates_stand_in_the_local_description_of_their_generation() {
    let (mut a, mut b) = connected();
    let told = a.add_local_candidate(HOST).unwrap();
    assert_eq!(
        (told.candidate.as_str(), told.sdp_mid.as_deref()),
        (HOST, Some("0"))
    );
    assert_eq!(told.sdp_mline_index, Some(0));
    assert_eq!(
        told.username_fragment,
        Some(a.local_credentials().unwrap().ufrag)
    );
    assert_eq!(a.add_local_candidate(HOST), None, "twice is once");
    a.end_of_local_candidates();
    let sdp = a.current_local_description().unwrap().sdp;
    let (first, second) = sdp.split_at(sdp.find("m=video").unwrap());
    assert!(first.ends_with(&format!("a={HOST}\r\na=end-of-candidates\r\n")));
    assert!(!second.contains("candidate"));
    let offer = a.create_offer(true).unwrap();
    finish(&mut a, &mut b, offer);
    assert!(
        !a.current_local_description()
            .unwrap()
            .sdp
            .contains("candidate")
    );
}

#[test]
fn a_description_with_its_candidates_is_still_the_created_one() {
    let (mut a, mut b) = (peer(), peer());
    a.add_track(track(1, Kind::Audio)).unwrap();
    a.set_local(None).unwrap();
    a.add_local_candidate(HOST);
    let whole = a.pending_local_description().unwrap();
    a.set_local(Some(whole.clone())).unwrap();
    assert_eq!(a.pending_local_description(), Some(whole.clone()));
    b.set_remote(whole).unwrap();
    let ufrag = Some(a.local_credentials().unwrap().ufrag);
    assert_eq!(
        b.take_remote_candidates(),
        [RemoteCandidate {
            attribute: HOST.to_owned(),
            ufrag
        }]
    );
    assert!(b.take_remote_candidates().is_empty());
}

#[test]
fn remote_candidates_are_taken_by_mid_by_index_and_in_every_spelling() {
    let (a, mut b) = connected();
    let ufrag = Some(a.local_credentials().unwrap().ufrag);
    let expected = Ok(Some(RemoteCandidate {
        attribute: HOST.to_owned(),
        ufrag,
    }));
    for (text, mid, index) in [
        (HOST, Some("0"), None),
        (HOST, None, Some(1)),
        (&format!("a={HOST}"), Some("1"), Some(0)),
        (HOST.trim_start_matches("candidate:"), None, None),
    ] {
        assert_eq!(b.add_remote_candidate(init(text, mid, index)), expected);
    }
    assert!(b.current_remote_description().unwrap().sdp.contains(HOST));
}

#[test]
fn the_end_of_candidates_is_an_empty_one_or_none() {
    let (_, mut b) = connected();
    assert_eq!(b.add_remote_candidate(init("", Some("0"), None)), Ok(None));
    assert_eq!(b.add_remote_candidate(None), Ok(None));
    let sdp = b.current_remote_description().unwrap().sdp;
    assert_eq!(lines(&sdp, "a=end-of-candidates").len(), 1);
}

#[test]
fn candidates_that_cannot_be_are_refused() {
    let (_, mut b) = connected();
    let refused = [
        init("nonsense", Some("0"), None),
        init(
            "candidate:1 1 udp 99999999999 192.0.2.1 1 typ host",
            Some("0"),
            None,
        ),
        init(
            "candidate:1 1 udp 1 192.0.2.1 70000 typ host",
            Some("0"),
            None,
        ),
        init("candidate:1 1 udp 1 192.0.2.1 1 typ odd", Some("0"), None),
        init(
            "candidate:1 1 udp 1 192.0.2.1 1 typ host\r\na=ice-lite",
            Some("0"),
            None,
        ),
        init(
            "candidate:1 1 udp 1 192.0.2.1 1 typ srflx raddr",
            Some("0"),
            None,
        ),
        init(
            &HOST.replace("candidate:1 ", &format!("candidate:{} ", "1".repeat(33))),
            Some("0"),
            None,
        ),
        init(HOST, Some("9"), None),
        init(HOST, None, Some(2)),
        Some(IceCandidateInit {
            username_fragment: Some("another".to_owned()),
            ..init(HOST, Some("0"), None).unwrap()
        }),
    ];
    for candidate in refused {
        let before = format!("{b:?}");
        assert_eq!(
            b.add_remote_candidate(candidate.clone()),
            Err(Error::InvalidCandidate),
            "{candidate:?}"
        );
        assert_eq!(format!("{b:?}"), before);
    }
}

#[test]
fn candidates_need_a_remote_description_and_an_open_connection() {
    let mut a = peer();
    assert_eq!(
        a.add_remote_candidate(init(HOST, Some("0"), None)),
        Err(Error::NoRemoteDescription)
    );
    assert_eq!(
        a.add_remote_candidate(None),
        Err(Error::NoRemoteDescription)
    );
    a.close();
    assert_eq!(a.add_remote_candidate(None), Err(Error::InvalidState));
}

#[test]
fn rtcp_candidates_have_no_transport() {
    let (_, mut b) = connected();
    let rtcp = "candidate:1 2 udp 2130706430 192.0.2.1 50001 typ host";
    assert_eq!(
        b.add_remote_candidate(init(rtcp, Some("0"), None)),
        Ok(None)
    );
}

#[test]
fn remote_candidates_are_bounded() {
    let (_, mut b) = connected();
    for port in 1..2000_u16 {
        let text = format!("candidate:1 1 udp 1 192.0.2.1 {port} typ host");
        b.add_remote_candidate(init(&text, Some("0"), None))
            .unwrap();
    }
    let sdp = b.current_remote_description().unwrap().sdp;
    assert_eq!(lines(&sdp, "a=candidate").len(), 256);
}
