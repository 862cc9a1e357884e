use super::*;
use engine::transport::Proof;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Ports of two shards whose threads are not even running.
fn ports() -> (Vec<tokio::runtime::Runtime>, Ports) {
    let runtimes: Vec<_> = (0..2)
        .map(|_| Builder::new_current_thread().enable_io().build().unwrap())
        .collect();
    let handles = runtimes.iter().map(|it| it.handle().clone()).collect();
    (runtimes, Ports::new(handles))
}

#[test]
fn a_port_is_open_as_long_as_somebody_leases_it() {
    let (_runtimes, ports) = ports();
    let first = ports.lease(None, &[LOOPBACK]).unwrap();
    let number = first.number();
    let second = ports.lease(Some(number), &[LOOPBACK]).unwrap();
    assert_eq!(ports.stats().len(), 1);
    assert_eq!(ports.stats()[0].connections, 2);
    drop(first);
    assert!(UdpSocket::bind((LOOPBACK, number)).is_err());
    drop(second);
    assert_eq!(ports.stats(), []);
    // At once, and for whomever comes first.
    for _ in 0..20 {
        assert!(UdpSocket::bind((LOOPBACK, number)).is_ok());
        assert_eq!(
            ports.lease(Some(number), &[LOOPBACK]).unwrap().number(),
            number
        );
    }
}

#[test]
fn any_port_is_the_same_one_for_all_and_another_one_where_it_is_taken() {
    let (_runtimes, ports) = ports();
    let first = ports.lease(None, &[LOOPBACK]).unwrap();
    let number = first.number();
    assert_eq!(ports.lease(None, &[LOOPBACK]).unwrap().number(), number);
    drop(first);
    assert_eq!(ports.lease(None, &[LOOPBACK]).unwrap().number(), number);
    let _other = UdpSocket::bind((LOOPBACK, number)).unwrap();
    let elsewhere = ports.lease(None, &[LOOPBACK]).unwrap();
    assert_ne!(elsewhere.number(), number);
    assert_eq!(
        ports.lease(None, &[LOOPBACK]).unwrap().number(),
        elsewhere.number()
    );
}

#[test]
fn a_port_that_is_taken_is_an_error_and_leaves_nothing_behind() {
    let (_runtimes, ports) = ports();
    let other = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let number = other.local_addr().unwrap().port();
    let error = ports.lease(Some(number), &[LOOPBACK]).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(ports.stats(), []);
    drop(other);
    assert!(ports.lease(Some(number), &[LOOPBACK]).is_ok());
}

#[test]
fn an_address_that_cannot_be_bound_is_left_out_unless_it_is_the_only_one() {
    let (_runtimes, ports) = ports();
    let elsewhere: IpAddr = "203.0.113.9".parse().unwrap();
    assert!(ports.lease(None, &[elsewhere]).is_err());
    assert!(ports.lease(None, &[]).is_err());
    let lease = ports.lease(None, &[elsewhere, LOOPBACK]).unwrap();
    assert!(UdpSocket::bind((LOOPBACK, lease.number())).is_err());
}

#[test]
fn a_machine_that_changes_its_address_again_and_again_always_gets_sockets() {
    let (_runtimes, ports) = ports();
    let lease = ports.lease(None, &[LOOPBACK]).unwrap();
    let mut member = Membership::new(lease, 1);
    for last in 1..100 {
        let current = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        member.leave_others(&[current]);
        let address = member.ensure(current).unwrap();
        assert!(member.sockets().iter().any(|it| it.address == address));
    }
}

#[test]
fn a_peer_that_makes_up_addresses_takes_them_from_itself() {
    let (_runtimes, ports) = ports();
    let lease = ports.lease(None, &[LOOPBACK]).unwrap();
    let other = ports.lease(None, &[LOOPBACK]).unwrap();
    let port = Arc::clone(&lease.port);
    let (mut member, mut other) = (Membership::new(lease, 0), Membership::new(other, 1));
    let local = member.ensure(LOOPBACK).unwrap();
    other.ensure(LOOPBACK).unwrap();
    let proof = |last: u8, reached| Proof {
        local,
        remote: ([10, 0, 0, last], 5000).into(),
        reached,
    };
    let start = Instant::now();
    other.learn(start, proof(200, false));
    member.learn(start, proof(0, true));
    for last in 1..=255 {
        let now = start + Duration::from_millis(last.into());
        member.learn(now, proof(last, false));
    }
    let owner = |last: u8| {
        let remote = ([10, 0, 0, last], 5000).into();
        let way = routes::Way { local, remote };
        port.routes().address(&way).map(|inbox| inbox.shard)
    };
    assert_eq!(owner(0), Some(0), "the peer answers there");
    assert_eq!(owner(1), None, "the longest silent");
    assert_eq!(owner(255), Some(0));
    assert_eq!(owner(200), Some(1), "somebody else's");
    assert_eq!(port.routes().len(), (0, 32 + 1));
    drop(member);
    assert_eq!(port.routes().len(), (0, 1));
}

#[test]
fn a_connection_keeps_its_last_user_names() {
    let (_runtimes, ports) = ports();
    let lease = ports.lease(None, &[LOOPBACK]).unwrap();
    let port = Arc::clone(&lease.port);
    let mut member = Membership::new(lease, 0);
    for name in ["a", "b", "a", "c", "d", "e"] {
        member.answer_to(name);
    }
    let known = |name| port.routes().user(name).is_some();
    assert!(!known("b"), "the one that was used longest ago");
    assert!(["a", "c", "d", "e"].into_iter().all(known));
    drop(member);
    assert_eq!(port.routes().len(), (0, 0));
}
