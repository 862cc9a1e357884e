use super::*;
use std::net::Ipv4Addr;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn a_group_shares_one_port_and_nobody_else_gets_it() {
    for balance in [true, false] {
        let (address, group) = bind_group(LOOPBACK, 0, 3, balance).unwrap();
        assert_ne!(address.port(), 0);
        assert_eq!(group.len(), 3);
        for socket in &group {
            assert_eq!(socket.local_addr().unwrap().as_socket(), Some(address));
        }
        for count in [1, 3] {
            // Also somebody who would share it, such as this library in another program.
            let error = bind_group(LOOPBACK, address.port(), count, balance).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
        drop(group);
        assert!(bind_group(LOOPBACK, address.port(), 3, balance).is_ok());
    }
}

#[test]
fn without_a_kernel_that_balances_the_first_socket_receives_everything() {
    let (address, group) = bind_group(LOOPBACK, 0, 4, false).unwrap();
    let [first, others @ ..] = &group[..] else {
        panic!("no socket");
    };
    for _ in 0..20 {
        let sender = std::net::UdpSocket::bind((LOOPBACK, 0)).unwrap();
        sender.send_to(b"x", address).unwrap();
    }
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4];
    for _ in 0..20 {
        first.recv(&mut buffer).unwrap();
    }
    for other in others {
        assert!(
            other.recv(&mut buffer).is_err(),
            "the same queue, now empty"
        );
    }
}
