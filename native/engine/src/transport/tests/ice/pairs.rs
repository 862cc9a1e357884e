//! What statistics say of pairs.

use super::super::link::*;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_pair_reports_what_it_carried() {
    let mut pair = Pair::new();
    pair.connect();
    for sequence in 1..=10 {
        assert!(pair.exchange(sequence));
    }
    // Consent is checked every 4 to 6 s.
    pair.run(Duration::from_secs(30));
    let now = pair.now;
    let field = |name| {
        pair.a
            .stat(now, "candidate_pair", name)
            .and_then(|value| value.as_f64())
    };
    assert!(field("packets_sent").unwrap() >= 10.0);
    assert!(field("bytes_received").unwrap() >= 10.0 * 128.0);
    assert!((field("current_round_trip_time").unwrap() - 0.002).abs() < 1e-6);
    assert!(field("requests_sent").unwrap() >= field("responses_received").unwrap());
    assert!(field("responses_received").unwrap() >= 4.0);
    assert_eq!(
        pair.a.stat(now, "candidate_pair", "nominated"),
        Some(json!(true))
    );
    assert_eq!(
        pair.a.stat(now, "transport", "packets_sent"),
        pair.a.stat(now, "candidate_pair", "packets_sent")
    );
}

#[test]
fn an_answer_that_comes_from_elsewhere_than_its_check_went_is_counted() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(3));
    let count = |pair: &Pair| {
        let field = "non_symmetric_responses_received";
        pair.a.stat(pair.now, "candidate_pair", field)
    };
    assert_eq!(count(&pair), Some(json!(0)));
    // The next answer of B is carried to A from another address.
    let answered = |pair: &Pair| {
        let log = pair.log.iter();
        log.filter(|(to_b, bytes)| !to_b && bytes[..2] == [1, 1])
            .count()
    };
    let before = answered(&pair);
    pair.cut = true;
    assert!(!pair.run_until(ms(3_000), |_| false));
    pair.cut = false;
    assert_eq!(answered(&pair), before, "nothing reached B");
    let check = pair
        .log
        .iter()
        .rev()
        .find(|(to_b, bytes)| *to_b && bytes[..2] == [0, 1]);
    let (_, check) = check.cloned().unwrap();
    pair.b.deliver(pair.now, pair.a.address, &check);
    let out = std::mem::take(&mut pair.b.out);
    let answer = out
        .segments
        .iter()
        .find(|segment| out.bytes[segment.offset..][..2] == [1, 1]);
    let answer = answer.unwrap();
    let bytes = out.bytes[answer.offset..][..answer.length].to_vec();
    pair.a
        .deliver(pair.now, ([10, 0, 0, 66], 2_000).into(), &bytes);
    assert_eq!(count(&pair), Some(json!(1)));
}
