//! Feedback of a peer that makes it up.

use super::*;
use proptest::prelude::*;
use rtc_rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc_shared::marshal::Unmarshal;

const BOUNDS: std::ops::RangeInclusive<u64> = 5_000..=2_000_000_000;

fn bounded(bandwidth: &Bandwidth) {
    let estimate = bandwidth.estimate();
    assert!(
        estimate.is_none_or(|bits| BOUNDS.contains(&bits)),
        "{estimate:?}"
    );
}

/// Head, chunks and deltas of a feedback body.
fn body(base: u16, count: u16, reference: u32, rest: &[u8]) -> Vec<u8> {
    let mut body = vec![0; 8];
    body.extend(base.to_be_bytes());
    body.extend(count.to_be_bytes());
    body.extend(&reference.to_be_bytes()[1..]);
    body.push(0);
    body.extend(rest);
    body
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    // One run of three small deltas, and the deltas.
    let good = body(7, 3, 1, &[0x20, 3, 4, 8, 12]);
    assert!(TransportFeedback::parse(&good).is_some());
    for length in 0..good.len() {
        assert!(
            TransportFeedback::parse(&good[..length]).is_none(),
            "{length} bytes"
        );
    }
    assert!(
        TransportFeedback::parse(&body(7, 0, 1, &[0x20, 3])).is_none(),
        "of nothing"
    );
    assert!(
        TransportFeedback::parse(&body(7, 1, 1, &[0x60, 1, 0])).is_none(),
        "symbol 3"
    );
}

#[test]
fn times_of_the_peer_go_on_over_the_wrap_of_its_clock() {
    let mut clock = ReferenceClock::default();
    let mut times = Vec::new();
    for reference in [0xff_ffff, 0, 1, 0xff_fffe] {
        let body = body(0, 1, reference, &[0x20, 1, 0]);
        let feedback = TransportFeedback::parse(&body).unwrap();
        feedback.walk(&mut clock, |told| {
            if let Told::Arrived { at, .. } = told {
                times.push(at / 64_000);
            }
        });
    }
    let first = times[0];
    assert_eq!(times, [first, first + 1, first + 2, first - 1]);
}

proptest! {
    #[test]
    fn what_is_read_is_what_rtc_rtcp_reads(
        base: u16, reference in 0u32..1 << 24,
        symbols in proptest::collection::vec(0u16..3, 1..60),
        deltas in proptest::collection::vec(0u8..100, 60),
    ) {
        let mut rest = Vec::new();
        for seven in symbols.chunks(7) {
            let bits = seven.iter().zip((0..7).rev()).map(|(symbol, place)| symbol << (place * 2));
            rest.extend((0xc000 | bits.sum::<u16>()).to_be_bytes());
        }
        for (symbol, delta) in symbols.iter().zip(&deltas) {
            rest.extend(std::iter::repeat_n(*delta, usize::from(*symbol)));
        }
        let body = body(base, symbols.len() as u16, reference, &rest);
        let mut told = Vec::new();
        let feedback = TransportFeedback::parse(&body).unwrap();
        feedback.walk(&mut ReferenceClock::default(), |one| told.push(one));
        let padding = body.len().wrapping_neg() % 4;
        let words = ((body.len() + padding) / 4) as u16;
        let mut packet = vec![if padding == 0 { 0x8f } else { 0xaf }, 205];
        packet.extend(words.to_be_bytes());
        packet.extend(&body);
        packet.extend(std::iter::repeat_n(0, padding.saturating_sub(1)));
        packet.extend((padding != 0).then_some(padding as u8));
        let read = TransportLayerCc::unmarshal(&mut &packet[..]).unwrap();
        let arrived: Vec<(u16, i64)> = told.iter().filter_map(|one| match one {
            Told::Arrived { number, at } => Some((*number, *at)),
            Told::Missing { .. } => None,
        }).collect();
        let mut at = i64::from(reference) * 64_000;
        let mut deltas = read.recv_deltas.iter();
        let expected: Vec<(u16, i64)> = symbols.iter().zip(0u16..).filter(|(symbol, _)| **symbol != 0)
            .map(|(_, place)| {
                at += deltas.next().unwrap().delta;
                (base.wrapping_add(place), at)
            })
            .collect();
        prop_assert_eq!(arrived, expected);
    }

    #[test]
    fn no_feedback_panics_or_takes_the_estimate_out_of_its_bounds(
        rounds in proptest::collection::vec(
            (0u16..200, 0u64..3000, any::<u16>(), any::<u16>(), any::<u32>(),
             proptest::collection::vec(any::<u8>(), 0..200), 0u64..80_000_000_000),
            1..60,
        ),
    ) {
        let epoch = Instant::now();
        let mut bandwidth = Bandwidth::new(epoch);
        let mut now = epoch;
        for (packets, wait, base, count, reference, rest, allowed) in rounds {
            now += Duration::from_millis(wait);
            for _ in 0..packets {
                bandwidth.sent(now, true, 1200);
            }
            let base = bandwidth.packets.next_number().wrapping_sub(base % 300);
            let _ = bandwidth.feedback(now, &body(base, count % 300, reference, &rest), None);
            let mut random = rest;
            random.resize(40, 1);
            let _ = bandwidth.feedback(now, &random, Some(Duration::from_millis(wait)));
            bounded(&bandwidth);
            bandwidth.reported(1.0);
            bandwidth.look(now, None);
            bandwidth.allow(allowed);
            bounded(&bandwidth);
        }
    }

    #[test]
    fn a_peer_that_calls_everything_early_gains_no_more_than_what_was_sent(seed: u8) {
        // It says that whole seconds of packets arrived at one moment.
        let epoch = Instant::now();
        let mut bandwidth = Bandwidth::new(epoch);
        let mut now = epoch;
        for second in 0..60u32 {
            let base = bandwidth.packets.next_number();
            for _ in 0..100 {
                now += Duration::from_millis(10);
                bandwidth.sent(now, true, 1250);
            }
            let mut rest = vec![0x20, 100];
            rest.extend(vec![seed % 2; 100]);
            let body = body(base, 100, second * 16, &rest);
            bandwidth.feedback(now, &body, None).unwrap();
            bounded(&bandwidth);
        }
        let estimate = bandwidth.estimate().unwrap_or(0);
        prop_assert!(estimate <= 60_000_000, "{estimate}");
    }
}
