use super::*;

fn id(number: usize) -> TransactionId {
    let mut id = TransactionId::default();
    id[..8].copy_from_slice(&number.to_be_bytes());
    id
}

#[test]
fn an_answer_goes_to_the_one_who_asked_and_once() {
    let now = Instant::now();
    let (first, second) = (Arc::new(Inbox::new(0)), Arc::new(Inbox::new(0)));
    let mut checks = Checks::new(now);
    checks.sent(now, id(1), &first);
    checks.sent(now, id(2), &second);
    assert!(Arc::ptr_eq(&checks.answered(&id(2)).unwrap(), &second));
    assert!(Arc::ptr_eq(&checks.answered(&id(1)).unwrap(), &first));
    assert!(checks.answered(&id(1)).is_none());
    assert!(checks.answered(&id(3)).is_none());
}

#[test]
fn an_answer_is_waited_for_as_long_as_the_engine_does() {
    let start = Instant::now();
    let inbox = Arc::new(Inbox::new(0));
    let mut checks = Checks::new(start);
    let sent = start + LIFETIME - Duration::from_millis(1);
    checks.sent(sent, id(1), &inbox);
    checks.sent(sent + LIFETIME, id(2), &inbox);
    assert!(checks.answered(&id(1)).is_some());
    checks.age(sent + LIFETIME + LIFETIME);
    checks.age(sent + LIFETIME + LIFETIME + LIFETIME);
    assert!(checks.answered(&id(2)).is_none());
    assert_eq!(Arc::strong_count(&inbox), 1);
}

#[test]
fn checks_that_nobody_answers_are_bounded() {
    let now = Instant::now();
    let inbox = Arc::new(Inbox::new(0));
    let mut checks = Checks::new(now);
    for number in 0..10 * MAX_CHECKS {
        checks.sent(now, id(number), &inbox);
    }
    assert!(Arc::strong_count(&inbox) <= 2 * MAX_CHECKS + 1);
    assert!(checks.answered(&id(10 * MAX_CHECKS - 1)).is_some());
}
