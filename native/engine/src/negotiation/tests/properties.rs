//! Any order of calls ends agreed; anything a peer writes is an answer or an error.

use super::support::*;
use crate::negotiation::{Change, Negotiation};
use crate::w3c::{Direction, Kind, SdpType, SignalingState};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Call {
    AddTrack(bool),
    AddTransceiver(bool, u8),
    Direction(u8, u8),
    Stop(u8),
    RemoveTrack(u8),
    Data,
    Restart,
    /// Offer, and let the other side answer.
    Exchange,
    /// Offer without an answer yet.
    Offer,
    RollBack,
    /// Both offer; this side gives way.
    Glare,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        any::<bool>().prop_map(Call::AddTrack),
        (any::<bool>(), 0..4_u8).prop_map(|(video, d)| Call::AddTransceiver(video, d)),
        (any::<u8>(), 0..4_u8).prop_map(|(i, d)| Call::Direction(i, d)),
        any::<u8>().prop_map(Call::Stop),
        any::<u8>().prop_map(Call::RemoveTrack),
        Just(Call::Data),
        Just(Call::Restart),
        Just(Call::Exchange),
        Just(Call::Offer),
        Just(Call::RollBack),
        Just(Call::Glare),
    ]
}

fn direction(number: u8) -> Direction {
    Direction::of(number & 1 != 0, number & 2 != 0)
}

fn kind(video: bool) -> Kind {
    if video { Kind::Video } else { Kind::Audio }
}

/// Finishes what is pending and exchanges until nobody needs to.
fn settle(a: &mut Negotiation, b: &mut Negotiation) {
    if a.signaling_state() == SignalingState::HaveLocalOffer {
        answer(a, b);
    }
    if b.signaling_state() == SignalingState::HaveLocalOffer {
        answer(b, a);
    }
    for _ in 0..4 {
        if a.negotiation_needed() {
            exchange(a, b);
        }
        if b.negotiation_needed() {
            exchange(b, a);
        }
    }
}

fn answer(offerer: &mut Negotiation, answerer: &mut Negotiation) {
    answerer
        .set_remote(offerer.pending_local_description().unwrap())
        .unwrap();
    answerer.set_local(None).unwrap();
    offerer
        .set_remote(answerer.current_local_description().unwrap())
        .unwrap();
}

fn run(one: &mut Negotiation, other: &mut Negotiation, number: u64, call: &Call) {
    let pick = |side: &Negotiation, index: u8| {
        let all = side.transceivers();
        (!all.is_empty()).then(|| all[usize::from(index) % all.len()].clone())
    };
    let mine = matches!(
        one.signaling_state(),
        SignalingState::Stable | SignalingState::HaveLocalOffer
    );
    match call {
        Call::AddTrack(video) => drop(one.add_track(track(number + 1, kind(*video)))),
        Call::AddTransceiver(video, d) => {
            drop(one.add_transceiver(kind(*video), None, direction(*d), vec![]));
        }
        Call::Direction(index, d) => {
            if let Some(t) = pick(one, *index) {
                drop(one.set_direction(t.id, direction(*d)));
            }
        }
        Call::Stop(index) => {
            if let Some(t) = pick(one, *index) {
                one.stop_transceiver(t.id).unwrap();
            }
        }
        Call::RemoveTrack(index) => {
            if let Some(t) = pick(one, *index) {
                one.remove_track(t.sender.id).unwrap();
            }
        }
        Call::Data => drop(one.want_data_channels()),
        Call::Restart => drop(one.restart_ice()),
        Call::Exchange if mine => {
            one.set_local(None).unwrap();
            answer(one, other);
        }
        Call::Offer if mine => drop(one.set_local(None).unwrap()),
        Call::RollBack => drop(one.set_local(Some(description(SdpType::Rollback, "")))),
        Call::Glare => {
            other.set_local(None).unwrap();
            answer(other, one);
        }
        Call::Exchange | Call::Offer => {}
    }
}

/// Mid, direction and codecs of one m-line.
type Agreed = (String, Option<Direction>, Vec<(u8, String)>);

/// What both sides must agree on, m-line by m-line, seen from `side`.
fn agreed(side: &Negotiation, mirrored: bool) -> Vec<Agreed> {
    side.transceivers()
        .into_iter()
        .filter(|t| t.mid.is_some())
        .map(|t| {
            let direction = t
                .current_direction
                .map(|d| if mirrored { d.reversed() } else { d });
            let codecs = t
                .codecs
                .iter()
                .map(|c| (c.payload_type, c.mime_type.clone()))
                .collect();
            (t.mid.unwrap(), direction, codecs)
        })
        .collect()
}

type Edit = (prop::sample::Index, u8, String);

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec(
        (any::<prop::sample::Index>(), 0..5_u8, "[ -~]{0,12}"),
        1..12,
    )
}

/// A description with lines lost, doubled, lengthened, added and cut.
fn mutated(sdp: &str, edits: Vec<Edit>) -> String {
    let mut lines: Vec<String> = sdp.lines().map(str::to_owned).collect();
    for (index, edit, text) in edits {
        let at = index.index(lines.len());
        match edit {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => lines[at].push_str(&text),
            3 => lines.insert(at, format!("a={text}")),
            _ => {
                let keep = lines[at].len() / 2;
                lines[at].truncate(keep);
                lines[at].push_str(&text);
            }
        }
        if lines.is_empty() {
            lines.push(text);
        }
    }
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_calls_on_two_sides_end_stable_and_agreed(
        calls in prop::collection::vec((any::<bool>(), call()), 1..24)
    ) {
        let (mut a, mut b) = (peer(), peer());
        for (number, (first, call)) in calls.iter().enumerate() {
            let number = number as u64;
            if *first {
                run(&mut a, &mut b, number, call);
            } else {
                run(&mut b, &mut a, number, call);
            }
        }
        settle(&mut a, &mut b);
        prop_assert_eq!(a.signaling_state(), SignalingState::Stable);
        prop_assert_eq!(b.signaling_state(), SignalingState::Stable);
        prop_assert!(!a.negotiation_needed() && !b.negotiation_needed());
        prop_assert_eq!(agreed(&a, false), agreed(&b, true));
        prop_assert_eq!(a.data_plan().is_some(), b.data_plan().is_some());
        if let (Some(plan_a), Some(plan_b)) = (a.transport_plan(), b.transport_plan()) {
            prop_assert_ne!(plan_a.ice_role, plan_b.ice_role);
            // Without an m-line that was ever accepted nothing is settled, on either side.
            prop_assert_eq!(plan_a.remote.is_some(), plan_b.remote.is_some());
            if plan_a.remote.is_some() {
                prop_assert_eq!(plan_a.remote.as_ref(), Some(&plan_b.local));
                prop_assert_eq!(plan_b.remote.as_ref(), Some(&plan_a.local));
                prop_assert_ne!(plan_a.dtls_role, plan_b.dtls_role);
            }
        }
    }

    #[test]
    fn random_text_is_an_error_and_changes_nothing(text in ".{0,400}", bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for text in [text, String::from_utf8_lossy(&bytes).into_owned(), format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{}", String::from_utf8_lossy(&bytes))] {
            let mut a = peer();
            let before = format!("{a:?}");
            if a.set_remote(description(SdpType::Offer, &text)).is_err() {
                prop_assert_eq!(format!("{:?}", a), before);
            }
        }
    }

    #[test]
    fn mutated_offers_are_answered_or_refused(
        edits in edits()
    ) {
        let mut a = peer();
        a.add_track(track(1, Kind::Audio)).unwrap();
        a.add_transceiver(Kind::Video, Some(track(2, Kind::Video)), Direction::Sendrecv, layers(&["h", "l"])).unwrap();
        a.want_data_channels();
        let offer = a.create_offer(false).unwrap();
        let text = mutated(&offer.sdp, edits);
        let mut b = peer();
        b.add_track(track(3, Kind::Video)).unwrap();
        let before = format!("{b:?}");
        match b.set_remote(description(SdpType::Offer, &text)) {
            Err(_) => prop_assert_eq!(format!("{:?}", b), before),
            Ok(changes) => {
                prop_assert!(changes.contains(&Change::SignalingState(SignalingState::HaveRemoteOffer)));
                b.set_local(None).unwrap();
                let answer = b.current_local_description().unwrap();
                prop_assert_eq!(b.signaling_state(), SignalingState::Stable);
                // What we wrote is well-formed, and can be taken back into an exchange.
                prop_assert!(crate::negotiation::parse::parse(&answer.sdp).is_ok(), "{}", answer.sdp);
                let next = b.create_offer(false).unwrap();
                prop_assert!(crate::negotiation::parse::parse(&next.sdp).is_ok(), "{}", next.sdp);
            }
        }
    }

    #[test]
    fn mutated_answers_are_taken_or_refused(edits in edits()) {
        let (mut a, mut b) = (peer(), peer());
        a.add_track(track(1, Kind::Audio)).unwrap();
        a.add_transceiver(Kind::Video, Some(track(2, Kind::Video)), Direction::Sendrecv, layers(&["h", "l"])).unwrap();
        a.want_data_channels();
        a.set_local(None).unwrap();
        b.set_remote(a.pending_local_description().unwrap()).unwrap();
        let answer = mutated(&b.create_answer().unwrap().sdp, edits);
        let before = format!("{a:?}");
        match a.set_remote(description(SdpType::Answer, &answer)) {
            Err(_) => prop_assert_eq!(format!("{:?}", a), before),
            Ok(_) => {
                prop_assert_eq!(a.signaling_state(), SignalingState::Stable);
                let next = a.create_offer(true).unwrap();
                prop_assert!(crate::negotiation::parse::parse(&next.sdp).is_ok(), "{}", next.sdp);
                for section in a.media_plan().sections {
                    let (send, receive) = (section.send, section.receive);
                    prop_assert!(send.is_none_or(|s| !s.encodings.is_empty() && !s.codecs.is_empty()));
                    prop_assert!(receive.is_none_or(|r| !r.codecs.is_empty()));
                }
            }
        }
    }
}
