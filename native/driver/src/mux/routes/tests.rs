use super::*;

fn way(port: u16) -> Way {
    Way {
        local: ([10, 0, 0, 1], 3478).into(),
        remote: ([10, 0, 0, 2], port).into(),
    }
}

fn inbox() -> Arc<Inbox> {
    Arc::new(Inbox::new(0))
}

fn is_owner(routes: &Routes, inbox: &Arc<Inbox>) -> bool {
    routes
        .address(&way(1))
        .is_some_and(|owner| Arc::ptr_eq(owner, inbox))
}

#[test]
fn an_address_is_the_first_ones_who_proves_it() {
    let (mut routes, first, second) = (Routes::default(), inbox(), inbox());
    let now = Instant::now();
    assert!(routes.address(&way(1)).is_none());
    routes.claim(now, way(1), &first, false).unwrap();
    assert!(is_owner(&routes, &first));
    assert!(routes.claim(now, way(1), &second, false).is_err());
    assert!(is_owner(&routes, &first));
    assert!(
        routes.address(&way(2)).is_none(),
        "only the address that was proved"
    );
}

#[test]
fn whoever_answers_there_beats_one_who_has_only_asked_from_there() {
    let (mut routes, forger, owner) = (Routes::default(), inbox(), inbox());
    let now = Instant::now();
    routes.claim(now, way(1), &forger, false).unwrap();
    routes.claim(now, way(1), &owner, true).unwrap();
    assert!(is_owner(&routes, &owner));
    // However long the forger goes on.
    for second in 0..100 {
        let now = now + Duration::from_secs(second);
        routes.claim(now, way(1), &owner, true).unwrap();
        let refused = routes.claim(now, way(1), &forger, false).err().unwrap();
        assert!(!refused.both_reached);
    }
    assert!(is_owner(&routes, &owner));
}

#[test]
fn an_owner_that_answers_keeps_its_address_and_a_silent_one_loses_it() {
    let (mut routes, old, new) = (Routes::default(), inbox(), inbox());
    let start = Instant::now();
    routes.claim(start, way(1), &old, true).unwrap();
    let soon = start + SILENT_OWNER - Duration::from_millis(1);
    let refused = routes.claim(soon, way(1), &new, true).err().unwrap();
    assert!(refused.both_reached);
    routes.claim(soon, way(1), &old, true).unwrap();
    let later = start + SILENT_OWNER;
    assert!(
        routes.claim(later, way(1), &new, true).is_err(),
        "it has answered since"
    );
    let silent = soon + SILENT_OWNER;
    routes.claim(silent, way(1), &new, true).unwrap();
    assert!(is_owner(&routes, &new));
}

#[test]
fn requests_keep_no_address_whose_owner_has_stopped_answering() {
    let (mut routes, old, new) = (Routes::default(), inbox(), inbox());
    let start = Instant::now();
    let held = routes.claim(start, way(1), &old, true).unwrap();
    let later = start + SILENT_OWNER;
    held.renew(later, false);
    assert!(routes.claim(later, way(1), &new, true).is_ok());
}

#[test]
fn a_lite_owner_keeps_its_address_while_it_is_asked_from_there() {
    let (mut routes, old, new) = (Routes::default(), inbox(), inbox());
    let start = Instant::now();
    routes.claim(start, way(1), &old, false).unwrap();
    let mut now = start;
    for _ in 0..10 {
        now += GONE_OWNER - Duration::from_millis(1);
        assert!(routes.claim(now, way(1), &new, false).is_err());
        routes.claim(now, way(1), &old, false).unwrap();
    }
    assert!(routes.claim(now + GONE_OWNER, way(1), &new, false).is_ok());
    assert!(is_owner(&routes, &new));
}

#[test]
fn what_is_taken_back_is_only_ones_own() {
    let (mut routes, old, new) = (Routes::default(), inbox(), inbox());
    let start = Instant::now();
    let lost = routes.claim(start, way(1), &old, false).unwrap();
    let held = routes.claim(start, way(1), &new, true).unwrap();
    assert!(!routes.held(&way(1), &lost));
    routes.release(&way(1), &lost);
    assert!(is_owner(&routes, &new));
    routes.release(&way(1), &held);
    assert!(routes.address(&way(1)).is_none());

    routes.add_user("name", &old);
    routes.add_user("name", &new);
    routes.remove_user("name", &new);
    assert!(Arc::ptr_eq(routes.user("name").unwrap(), &old));
    routes.remove_user("name", &old);
    assert_eq!(routes.len(), (0, 0));
}
