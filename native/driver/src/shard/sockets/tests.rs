use super::*;
use std::net::Ipv4Addr;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Ports that were free a moment ago, adjacent or not.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<_> = (0..count)
        .map(|_| std::net::UdpSocket::bind((LOOPBACK, 0)).unwrap())
        .collect();
    held.iter()
        .map(|socket| socket.local_addr().unwrap().port())
        .collect()
}

#[tokio::test]
async fn an_address_has_one_socket_however_often_it_is_asked_for() {
    let mut sockets = Sockets::default();
    let first = sockets.ensure(LOOPBACK, &[]).unwrap();
    let second = sockets.ensure(LOOPBACK, &[]).unwrap();
    assert_eq!(first, second);
    assert_eq!(sockets.own().len(), 1);
    assert_eq!(sockets.at(first).unwrap().address, first);
}

#[tokio::test]
async fn ports_come_from_the_range_until_it_is_exhausted() {
    let ports = free_ports(3);
    let open: Vec<_> = (0..3)
        .map(|_| Socket::bind(LOOPBACK, &ports).unwrap())
        .collect();
    let mut used: Vec<_> = open.iter().map(|socket| socket.address.port()).collect();
    used.sort_unstable();
    let mut expected = ports.clone();
    expected.sort_unstable();
    assert_eq!(used, expected);

    let error = Socket::bind(LOOPBACK, &ports).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains("ice_port_range"), "{error}");

    drop(open);
    assert!(
        Socket::bind(LOOPBACK, &ports).is_ok(),
        "closed sockets free their ports"
    );
}

#[tokio::test]
async fn an_address_of_another_machine_is_an_error() {
    let elsewhere = "203.0.113.9".parse().unwrap();
    assert!(Sockets::default().ensure(elsewhere, &[]).is_err());
}

#[tokio::test]
async fn closing_closes_every_socket() {
    let mut sockets = Sockets::default();
    let address = sockets.ensure(LOOPBACK, &[]).unwrap();
    sockets.close();
    assert!(sockets.at(address).is_none());
    assert!(
        std::net::UdpSocket::bind(address).is_ok(),
        "the port is free again"
    );
}

#[tokio::test]
async fn a_machine_that_changes_its_address_again_and_again_always_gets_sockets() {
    let mut sockets = Sockets::default();
    for last in 1..100 {
        let current = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        sockets.forget_old(&[current]);
        let address = sockets.ensure(current, &[]).unwrap();
        assert!(sockets.at(address).is_some());
        assert!(sockets.own().len() <= MAX_SOCKETS);
    }
}

#[test]
fn that_buffers_are_smaller_than_wished_is_said_once() {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let socket = SockRef::from(&socket);
    let told = Once::new();
    assert!(!enlarge_buffers(&socket, 4096, &told), "that is granted");
    // No system grants a gigabyte.
    assert!(enlarge_buffers(&socket, 1 << 30, &told));
    assert!(!enlarge_buffers(&socket, 1 << 30, &told));
}
