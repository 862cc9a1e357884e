//! Bursts and probes.

use super::path::{KBIT, Link, MBIT, Path};
use super::*;

/// A flow whose estimate somebody wants to know.
fn wanted(link: Link) -> Path {
    let mut path = Path::new(link, 1);
    let bandwidth = &mut path.flows[0].bandwidth;
    let epoch = bandwidth.epoch;
    bandwidth.want(epoch, Some(10 * MBIT));
    path
}

#[test]
fn probes_find_the_capacity_while_little_is_sent() {
    for capacity in [MBIT, 3 * MBIT] {
        let mut path = wanted(Link::new(capacity, 300));
        path.flows[0].most = 150 * KBIT;
        let found = path.run_until(3.0, |estimate| estimate > capacity * 7 / 10);
        assert!(found < 2.0, "{found}");
        path.run(20.0);
        let estimate = path.estimate(0);
        assert!(estimate < capacity * 12 / 10, "{estimate} of {capacity}");
    }
}

#[test]
fn probes_find_more_when_there_is_more() {
    let mut path = wanted(Link::new(MBIT, 300));
    path.flows[0].most = 500 * KBIT;
    path.run(20.0);
    assert!(path.estimate(0) < 1_200 * KBIT);
    path.link.capacity = 20 * MBIT;
    let found = path.run_until(20.0, |estimate| estimate > 5 * MBIT);
    assert!(found < 6.0, "{found}");
}

#[test]
fn nobody_probes_for_more_than_is_wanted() {
    let mut path = Path::new(Link::new(100 * MBIT, 300), 1);
    let bandwidth = &mut path.flows[0].bandwidth;
    let epoch = bandwidth.epoch;
    bandwidth.want(epoch, Some(2 * MBIT));
    path.flows[0].most = 150 * KBIT;
    path.run(30.0);
    let estimate = path.estimate(0);
    assert!(
        (1_500 * KBIT..=2_100 * KBIT).contains(&estimate),
        "{estimate}"
    );
}

#[test]
fn without_padding_a_keyframe_is_the_probe() {
    let mut path = wanted(Link::new(20 * MBIT, 300));
    path.flows[0].pads = false;
    path.flows[0].most = 500 * KBIT;
    path.flows[0].keyframes = 60;
    path.run(30.0);
    let estimate = path.estimate(0);
    assert!(estimate > 1_500 * KBIT, "{estimate}");
}

#[test]
fn keyframes_do_not_overflow_a_queue_that_holds_a_few_packets() {
    let lost = |paced: bool| {
        let mut path = Path::new(Link::new(2 * MBIT, 80), 1);
        if paced {
            let bandwidth = &mut path.flows[0].bandwidth;
            let epoch = bandwidth.epoch;
            bandwidth.want(epoch, Some(MBIT));
        }
        path.flows[0].keyframes = 60;
        path.flows[0].most = MBIT;
        path.flows[0].stubborn = true;
        path.run(20.0);
        path.lost
    };
    let (with, without) = (lost(true), lost(false));
    assert!(without > 20, "{without} lost without pacing");
    assert_eq!(with, 0, "lost with pacing");
}

#[test]
fn what_waits_leaves_in_half_a_second_whatever_the_estimate_is() {
    let mut path = wanted(Link::new(100 * MBIT, 300));
    path.flows[0].stubborn = true;
    path.flows[0].most = 10 * MBIT;
    path.run(1.0);
    assert!(path.flows[0].waited < Duration::from_millis(510));
}
