use super::*;
use std::future::poll_fn;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;
use tokio::runtime::Handle;

fn bound() -> UdpIo {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    UdpIo::new(socket).unwrap()
}

/// The runtime goes to sleep once, until the timer: a socket that tells of room would end that sleep.
#[tokio::test]
async fn a_datagram_that_has_left_wakes_nobody() {
    let io = bound();
    let to = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = to.local_addr().unwrap();
    let sleeps = || Handle::current().metrics().worker_park_count(0);
    let turn = || tokio::time::sleep(Duration::from_millis(2));
    // The event queue has told of the new socket what there is to tell.
    turn().await;
    let before = sleeps();
    turn().await;
    let alone = sleeps() - before;
    io.socket().send_to(b"datagram", to).unwrap();
    let before = sleeps();
    turn().await;
    assert_eq!(sleeps() - before, alone);
}

#[tokio::test]
async fn what_arrives_wakes_the_reader_and_is_read_until_it_is_empty() {
    let io = bound();
    let address = io.socket().local_addr().unwrap();
    let from = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for _ in 0..2 {
        from.send_to(b"datagram", address).unwrap();
        poll_fn(|cx| io.poll_readable(cx)).await;
        let mut buffer = [0; 16];
        let mut read = || io.try_read(|socket| socket.recv(&mut buffer));
        assert_eq!(read().unwrap(), 8);
        assert_eq!(read().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn a_socket_with_room_is_writable_for_all_who_wait() {
    let io = bound();
    let (first, second) = (io.writable(), io.writable());
    drop(io);
    first.await;
    second.await;
}
