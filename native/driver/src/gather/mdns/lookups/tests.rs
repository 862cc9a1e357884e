use super::*;

fn answer(name: &str, ttl: u32, address: [u8; 4]) -> Vec<u8> {
    let mut message = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0x80, 1]);
    message.extend_from_slice(&ttl.to_be_bytes());
    message.extend_from_slice(&[0, 4]);
    message.extend_from_slice(&address);
    message
}

fn answers(lookups: &mut Lookups<u8>) -> Vec<(u8, Option<IpAddr>)> {
    std::iter::from_fn(|| lookups.poll_answer()).collect()
}

fn queries(lookups: &mut Lookups<u8>) -> usize {
    std::iter::from_fn(|| lookups.poll_transmit()).count()
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn all_who_wait_for_a_name_are_answered_after_one_question() {
    let now = Instant::now();
    let mut lookups = Lookups::default();
    lookups.ask(now, "Ab.local", 1);
    lookups.ask(now, "ab.LOCAL.", 2);
    assert_eq!(queries(&mut lookups), 1);
    lookups.handle_message(now, &answer("other.local", 120, [10, 0, 0, 9]));
    assert_eq!(answers(&mut lookups), []);
    lookups.handle_message(now, &answer("aB.local", 120, [10, 0, 0, 1]));
    assert_eq!(
        answers(&mut lookups),
        [(1, ip("10.0.0.1")), (2, ip("10.0.0.1"))]
    );
    assert!(lookups.is_idle());
    assert_eq!(lookups.poll_timeout(), None);
}

#[test]
fn a_fresh_answer_is_remembered_and_an_old_one_is_not() {
    let now = Instant::now();
    let mut lookups = Lookups::default();
    lookups.ask(now, "ab.local", 1);
    lookups.handle_message(now, &answer("ab.local", 10, [10, 0, 0, 1]));
    answers(&mut lookups);
    queries(&mut lookups);

    lookups.ask(now + Duration::from_secs(9), "ab.local", 2);
    assert_eq!(answers(&mut lookups), [(2, ip("10.0.0.1"))]);
    lookups.ask(now + Duration::from_secs(11), "ab.local", 3);
    assert_eq!(answers(&mut lookups), []);
    assert_eq!(queries(&mut lookups), 1);
}

#[test]
fn a_name_nobody_has_is_asked_for_three_times_and_given_up_after_five_seconds() {
    let start = Instant::now();
    let mut lookups = Lookups::default();
    lookups.ask(start, "ab.local", 1);
    assert_eq!(queries(&mut lookups), 1);
    let mut asked_at = Vec::new();
    let mut now = start;
    while let Some(next) = lookups.poll_timeout() {
        assert!(next > now, "time must pass");
        now = next;
        lookups.handle_timeout(now);
        asked_at.extend((0..queries(&mut lookups)).map(|_| (now - start).as_secs()));
    }
    assert_eq!(asked_at, [1, 3]);
    assert_eq!(now - start, MAX_WAIT);
    assert_eq!(answers(&mut lookups), [(1, None)]);
}

#[test]
fn names_outside_local_are_not_asked_for() {
    let mut lookups = Lookups::default();
    for (waiter, name) in [
        (1, "example.org"),
        (2, "local"),
        (3, ".local"),
        (4, "a..local"),
    ] {
        lookups.ask(Instant::now(), name, waiter);
    }
    assert_eq!(
        answers(&mut lookups),
        [(1, None), (2, None), (3, None), (4, None)]
    );
    assert_eq!(queries(&mut lookups), 0);
}

#[test]
fn goodbyes_and_addresses_of_nobody_are_no_answers() {
    let now = Instant::now();
    let mut lookups = Lookups::default();
    lookups.ask(now, "ab.local", 1);
    lookups.handle_message(now, &answer("ab.local", 0, [10, 0, 0, 1]));
    lookups.handle_message(now, &answer("ab.local", 9, [0, 0, 0, 0]));
    lookups.handle_message(now, &answer("ab.local", 9, [224, 0, 0, 1]));
    assert_eq!(answers(&mut lookups), []);
    lookups.handle_message(now, &answer("ab.local", 9, [10, 0, 0, 1]));
    assert_eq!(answers(&mut lookups), [(1, ip("10.0.0.1"))]);
}

#[test]
fn names_and_waiters_are_bounded() {
    let now = Instant::now();
    let mut lookups = Lookups::default();
    for name in 0..MAX_NAMES {
        lookups.ask(now, &format!("n{name}.local"), 1);
    }
    lookups.ask(now, "one-more.local", 2);
    assert_eq!(answers(&mut lookups), [(2, None)]);
    for _ in 1..MAX_WAITERS {
        lookups.ask(now, "n0.local", 3);
    }
    assert_eq!(answers(&mut lookups), []);
    lookups.ask(now, "n0.local", 4);
    assert_eq!(answers(&mut lookups), [(4, None)]);
}
