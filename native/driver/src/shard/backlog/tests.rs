use super::super::receive::receive;
use super::*;
use proptest::prelude::*;
use std::future::poll_fn;
use std::net::SocketAddr;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn outbox(datagrams: &[(u16, u16, usize)]) -> Outbox {
    let mut outbox = Outbox::default();
    for (index, (local, remote, length)) in datagrams.iter().enumerate() {
        outbox.push(
            address(*local),
            address(*remote),
            &vec![index as u8; *length],
        );
    }
    outbox
}

fn runs(datagrams: &[(u16, u16, usize)], most: usize) -> Vec<usize> {
    let outbox = outbox(datagrams);
    let mut rest = outbox.segments.as_slice();
    let mut runs = Vec::new();
    while !rest.is_empty() {
        let run = run_length(rest, most);
        runs.push(run);
        rest = &rest[run..];
    }
    runs
}

#[test]
fn equal_datagrams_leave_together_and_a_shorter_one_ends_the_run() {
    assert_eq!(runs(&[(1, 2, 100); 5], 64), [5]);
    assert_eq!(
        runs(&[(1, 2, 100), (1, 2, 100), (1, 2, 40), (1, 2, 40)], 64),
        [3, 1]
    );
    assert_eq!(runs(&[(1, 2, 40), (1, 2, 100), (1, 2, 100)], 64), [1, 2]);
}

#[test]
fn a_run_has_one_destination_and_one_socket() {
    assert_eq!(
        runs(&[(1, 2, 100), (1, 3, 100), (1, 3, 100), (4, 3, 100)], 64),
        [1, 2, 1]
    );
}

#[test]
fn a_run_respects_what_the_kernel_takes() {
    assert_eq!(runs(&[(1, 2, 100); 10], 4), [4, 4, 2]);
    assert_eq!(runs(&[(1, 2, 100); 3], 1), [1, 1, 1]);
    assert_eq!(
        runs(&[(1, 2, 1200); 60], 64),
        [54, 6],
        "54 * 1200 bytes is what fits a datagram"
    );
}

#[test]
fn an_empty_datagram_never_joins_a_run() {
    assert_eq!(runs(&[(1, 2, 0), (1, 2, 0), (1, 2, 5)], 64), [1, 1, 1]);
}

proptest! {
    #[test]
    fn every_run_is_what_gso_allows(
        datagrams in prop::collection::vec((1u16..3, 1u16..3, 0usize..3), 1..50),
        most in 1usize..8,
    ) {
        let outbox = outbox(&datagrams);
        let mut rest = outbox.segments.as_slice();
        while !rest.is_empty() {
            let length = run_length(rest, most);
            prop_assert!((1..=most).contains(&length));
            let (run, behind) = rest.split_at(length);
            for (index, segment) in run.iter().enumerate() {
                prop_assert_eq!((segment.local, segment.remote), (run[0].local, run[0].remote));
                if index + 1 < length {
                    prop_assert_eq!(segment.length, run[0].length);
                } else {
                    prop_assert!(segment.length <= run[0].length);
                }
            }
            rest = behind;
        }
    }
}

/// Two sockets of this machine, the second one's address, and what it has received.
async fn arrived(sockets: &Sockets, at: SocketAddr, count: usize) -> Vec<Vec<u8>> {
    let socket = sockets.at(at).unwrap();
    let mut datagrams = Vec::new();
    while datagrams.len() < count {
        poll_fn(|cx| socket.io.poll_readable(cx)).await;
        receive(socket, |_, datagram| datagrams.push(datagram.to_vec()));
    }
    datagrams
}

fn two_sockets() -> (Sockets, SocketAddr, SocketAddr) {
    let mut sockets = Sockets::default();
    let first = sockets.ensure(address(0).ip(), &[]).unwrap();
    let second = sockets.ensure("127.0.0.2".parse().unwrap(), &[]).unwrap();
    (sockets, first, second)
}

#[tokio::test]
async fn datagrams_arrive_whole_and_in_order_with_and_without_offload() {
    let (sockets, from, to) = two_sockets();
    let mut outbox = Outbox::default();
    let mut sent = Vec::new();
    for index in 0..300usize {
        let length = if index % 7 == 0 { 300 + index } else { 1200 };
        let datagram = vec![index as u8; length];
        outbox.push(from, to, &datagram);
        sent.push(datagram);
    }
    let mut backlog = Backlog::default();
    backlog.send(Instant::now(), &mut outbox, &sockets);
    assert!(!backlog.is_waiting());
    assert!(outbox.is_empty());
    assert_eq!(arrived(&sockets, to, sent.len()).await, sent);
}

#[tokio::test]
async fn datagrams_of_closed_sockets_are_dropped() {
    let (sockets, _, to) = two_sockets();
    let mut outbox = Outbox::default();
    outbox.push(address(1), to, b"from nowhere");
    Backlog::default().send(Instant::now(), &mut outbox, &sockets);
    assert!(outbox.is_empty());
}

#[tokio::test]
async fn an_unreachable_destination_does_not_hold_up_the_others() {
    let (sockets, from, to) = two_sockets();
    let mut outbox = Outbox::default();
    outbox.push(from, "240.0.0.1:9".parse().unwrap(), b"nowhere");
    outbox.push(from, "240.0.0.1:9".parse().unwrap(), b"nowhere");
    outbox.push(from, to, b"somewhere");
    Backlog::default().send(Instant::now(), &mut outbox, &sockets);
    assert_eq!(arrived(&sockets, to, 1).await, [b"somewhere".to_vec()]);
}

#[test]
fn a_full_socket_keeps_the_oldest_within_the_bound_and_then_gives_up() {
    let mut outbox = outbox(&[(1, 2, 1000); 10_000]);
    let start = Instant::now();
    let mut backlog = Backlog {
        sent: 100,
        ..Backlog::default()
    };
    backlog.wait(start, true, &mut outbox);
    assert!(backlog.is_waiting());
    let waiting: usize = outbox
        .segments
        .iter()
        .skip(backlog.sent)
        .map(|it| it.length)
        .sum();
    assert!(waiting <= MAX_WAITING_BYTES && waiting > MAX_WAITING_BYTES - 1000);
    assert_eq!(outbox.bytes.len(), 100 * 1000 + waiting);

    backlog.wait(start + MAX_WAIT, false, &mut outbox);
    assert!(!backlog.is_waiting());
    assert!(outbox.is_empty());
}

#[test]
fn a_socket_that_makes_progress_is_given_more_time_and_the_sent_part_is_forgotten() {
    let mut outbox = outbox(&[(1, 2, 100); 10]);
    let start = Instant::now();
    let mut backlog = Backlog::default();
    backlog.wait(start, false, &mut outbox);
    backlog.sent = 6;
    backlog.wait(start + MAX_WAIT, true, &mut outbox);
    assert_eq!(backlog.deadline(), Some(start + MAX_WAIT * 2));
    assert_eq!(
        (backlog.sent, outbox.segments.len(), outbox.bytes.len()),
        (0, 4, 400)
    );
    assert_eq!(outbox.segments[0].offset, 0);
    assert_eq!(outbox.bytes[0], 6);
}

#[test]
fn an_idle_connection_holds_no_arena() {
    let mut outbox = Outbox::default();
    Backlog::lend(&mut outbox);
    outbox.push(address(1), address(2), &[0; 5000]);
    Backlog::default().clear(&mut outbox);
    assert_eq!(outbox.bytes.capacity(), 0);
    Backlog::lend(&mut outbox);
    assert!(
        outbox.bytes.capacity() >= 5000,
        "the shard kept it for the next step"
    );
}
