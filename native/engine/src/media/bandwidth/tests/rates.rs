//! What the estimate does as the path changes.

use super::path::{KBIT, Link, MBIT, Path};
use super::*;

fn near(estimate: f64, capacity: u64, what: &str) {
    let share = estimate / capacity as f64;
    assert!(
        (0.85..=1.15).contains(&share),
        "{what}: {share:.2} of {capacity}"
    );
}

#[test]
fn the_estimate_converges_to_the_capacity() {
    for capacity in [500 * KBIT, MBIT, 2 * MBIT, 5 * MBIT] {
        let mut path = Path::new(Link::new(capacity, 300), 1);
        path.run(45.0);
        near(path.run(15.0), capacity, "deep queue");
    }
}

#[test]
fn the_estimate_converges_where_the_queue_is_too_short_to_be_felt() {
    for capacity in [500 * KBIT, 2 * MBIT] {
        let mut path = Path::new(Link::new(capacity, 50), 1);
        path.run(45.0);
        near(path.run(15.0), capacity, "short queue");
    }
}

#[test]
fn the_estimate_falls_when_the_capacity_does_and_climbs_back_with_it() {
    let mut path = Path::new(Link::new(2 * MBIT, 300), 1);
    path.run(40.0);
    path.link.capacity = 500 * KBIT;
    let fell = path.run_until(10.0, |estimate| estimate < 550 * KBIT);
    assert!(fell < 2.0, "fell after {fell} s");
    path.run(15.0);
    near(path.run(5.0), 500 * KBIT, "low");
    path.link.capacity = 2 * MBIT;
    let climbed = path.run_until(60.0, |estimate| estimate > 1_700 * KBIT);
    assert!(climbed < 40.0, "climbed after {climbed} s");
}

#[test]
fn a_queue_that_grows_fast_is_noticed_before_it_is_full_for_long() {
    let mut path = Path::new(Link::new(20 * MBIT, 300), 1);
    path.flows[0].stubborn = true;
    path.flows[0].most = 1_800 * KBIT;
    path.run(20.0);
    path.link.capacity = MBIT;
    path.link.queue = 25_000;
    let fell = path.run_until(2.0, |estimate| estimate < 1_300 * KBIT);
    // Full after 250 ms; what arrived by then is heard of a round trip later.
    assert!(fell < 0.4, "fell after {fell} s");
}

#[test]
fn two_flows_share_the_capacity() {
    let mut path = Path::new(Link::new(2 * MBIT, 300), 2);
    path.flows[1].frames = 0;
    path.run(20.0);
    path.flows[1].frames = 30;
    path.run_all(60.0);
    let means = path.run_all(30.0);
    near(means.iter().sum(), 2 * MBIT, "together");
    let share = means[1] / means[0];
    assert!((0.4..2.5).contains(&share), "{means:?}");
}

#[test]
fn a_flow_gives_way_to_one_that_does_not() {
    let mut path = Path::new(Link::new(2 * MBIT, 300), 2);
    path.flows[1].stubborn = true;
    path.flows[1].most = MBIT;
    path.run_all(40.0);
    near(path.run(20.0), MBIT, "beside a constant megabit");
}

#[test]
fn losing_two_percent_by_chance_changes_little() {
    let mut path = Path::new(Link::new(2 * MBIT, 300), 1);
    path.link.loss = 2;
    path.run(45.0);
    near(path.run(30.0), 2 * MBIT, "with loss");
}

#[test]
fn much_loss_lowers_the_estimate() {
    let mut path = Path::new(Link::new(2 * MBIT, 300), 1);
    path.run(40.0);
    path.link.loss = 30;
    let fell = path.run_until(10.0, |estimate| estimate < MBIT);
    assert!(fell < 6.0, "fell after {fell} s");
}

#[test]
fn jitter_of_ten_milliseconds_is_no_overuse() {
    let mut path = Path::new(Link::new(20 * MBIT, 300), 1);
    path.link.jitter = Duration::from_millis(10);
    path.flows[0].most = MBIT;
    path.run(20.0);
    let before = path.estimate(0);
    let mut lowest = before;
    for _ in 0..300 {
        path.run(0.1);
        lowest = lowest.min(path.estimate(0));
    }
    assert!(lowest >= MBIT, "never below what is sent: {lowest}");
}

#[test]
fn a_stream_that_has_little_to_send_does_not_raise_the_estimate_without_bound() {
    let mut path = Path::new(Link::new(100 * MBIT, 300), 1);
    path.flows[0].most = 400 * KBIT;
    path.run(120.0);
    let estimate = path.estimate(0);
    assert!((400 * KBIT..=750 * KBIT).contains(&estimate), "{estimate}");
}

#[test]
fn after_silence_the_estimate_is_as_before() {
    let mut path = Path::new(Link::new(2 * MBIT, 300), 1);
    path.run(45.0);
    path.flows[0].frames = 0;
    path.run(1.0);
    let before = path.estimate(0) as f64;
    path.run(30.0);
    assert_eq!(path.estimate(0) as f64, before, "in silence");
    path.flows[0].frames = 30;
    path.run(5.0);
    near(path.run(15.0), 2 * MBIT, "after silence");
}

#[test]
fn a_program_that_sends_what_it_likes_is_told_what_arrives() {
    let mut path = Path::new(Link::new(20 * MBIT, 300), 1);
    path.flows[0].stubborn = true;
    path.flows[0].most = 6 * MBIT;
    let found = path.run_until(5.0, |estimate| estimate > 5_500 * KBIT);
    assert!(found < 2.0, "{found}");
    assert!(path.estimate(0) < 10 * MBIT);
}

#[test]
fn nothing_is_known_before_feedback_of_half_a_second() {
    let mut path = Path::new(Link::new(2 * MBIT, 300), 1);
    path.run(0.4);
    assert_eq!(path.flows[0].bandwidth.estimate(), None);
    path.run(0.6);
    assert!(path.flows[0].bandwidth.estimate().is_some());
}

#[test]
fn feedback_that_stays_away_lowers_the_estimate_until_it_comes_back() {
    let mut path = Path::new(Link::new(2 * MBIT, 300), 1);
    path.run(30.0);
    let before = path.estimate(0);
    path.link.loss = 100;
    for _ in 0..6 {
        path.run(1.0);
        let now = path.flows[0].bandwidth.epoch + path.now;
        path.flows[0].bandwidth.look(now, None);
    }
    let blind = path.estimate(0);
    assert!(blind < before * 7 / 10, "{blind} of {before}");
    path.link.loss = 0;
    let back = path.run_until(60.0, |estimate| estimate > before * 9 / 10);
    assert!(back < 30.0, "back after {back} s");
}

#[test]
fn the_peer_may_set_an_upper_bound() {
    let mut path = Path::new(Link::new(2 * MBIT, 300), 1);
    path.run(30.0);
    path.flows[0].bandwidth.allow(400 * KBIT);
    assert_eq!(path.estimate(0), 400 * KBIT);
    path.flows[0].bandwidth.allow(100 * MBIT);
    assert!(path.estimate(0) > MBIT);
}

#[test]
fn without_transport_wide_feedback_the_loss_in_reports_is_gone_by() {
    let epoch = Instant::now();
    let mut bandwidth = Bandwidth::new(epoch);
    let second = |bandwidth: &mut Bandwidth, at: u64, lost: f64| {
        for packet in 0..100 {
            let now = epoch + Duration::from_millis(at * 1000 + packet * 10);
            bandwidth.sent(now, false, 1250);
        }
        bandwidth.reported(lost);
        bandwidth.look(epoch + Duration::from_secs(at + 1), None);
    };
    for at in 0..10 {
        second(&mut bandwidth, at, 0.0);
    }
    let free = bandwidth.estimate().unwrap();
    assert!((MBIT..=1_600 * KBIT).contains(&free), "{free}");
    for at in 10..16 {
        second(&mut bandwidth, at, 0.3);
    }
    let lossy = bandwidth.estimate().unwrap();
    assert!(lossy < 600 * KBIT, "{lossy} of {free}");
}

#[test]
fn the_round_trip_grows_with_the_queue() {
    let mut path = Path::new(Link::new(MBIT, 400), 1);
    path.flows[0].most = 300 * KBIT;
    path.run(3.0);
    let empty = path.flows[0].bandwidth.round_trip().unwrap();
    assert!(empty < Duration::from_millis(150), "{empty:?}");
    path.flows[0].stubborn = true;
    path.flows[0].most = 3 * MBIT;
    path.run(3.0);
    let full = path.flows[0].bandwidth.round_trip().unwrap();
    assert!(full > Duration::from_millis(400), "{full:?}");
}
