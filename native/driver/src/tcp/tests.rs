use super::*;

const CHECK: &[u8] = &[0, 1, 0, 0];
const MEDIA: &[u8] = &[128, 96, 0, 1];

fn base() -> TransportAddress {
    TransportAddress::tcp(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), ACTIVE_PORT))
}

fn peer(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port)
}

/// Has the datagrams sent, and returns what is left for UDP.
fn take(tcp: &mut TcpTransports, now: Instant, datagrams: &[(SocketAddr, &[u8])]) -> Outbox {
    let mut outbox = Outbox::default();
    for (remote, datagram) in datagrams {
        outbox.push(base(), *remote, datagram);
    }
    tcp.take(now, &mut outbox);
    outbox
}

#[tokio::test]
async fn a_check_opens_a_connection_which_all_that_follows_goes_through() {
    let now = Instant::now();
    let mut tcp = TcpTransports::default();
    let left = take(
        &mut tcp,
        now,
        &[(peer(1), CHECK), (peer(1), MEDIA), (peer(1), CHECK)],
    );
    assert!(left.is_empty());
    assert_eq!(tcp.connections.len(), 1);
    assert_eq!(tcp.take_discarded(), []);
}

#[tokio::test]
async fn media_opens_no_connection_and_counts_as_discarded_where_there_is_none() {
    let mut tcp = TcpTransports::default();
    take(
        &mut tcp,
        Instant::now(),
        &[(peer(1), MEDIA), (peer(1), MEDIA)],
    );
    assert!(tcp.connections.is_empty());
    let discarded: u64 = tcp.take_discarded().iter().map(|it| it.packets).sum();
    assert_eq!(discarded, 2);
}

#[tokio::test]
async fn datagrams_over_udp_stay_as_they_are() {
    let mut tcp = TcpTransports::default();
    let mut outbox = Outbox::default();
    outbox.push(base().address, peer(1), b"first");
    outbox.push(base(), peer(1), CHECK);
    outbox.push(base().address, peer(1), b"second");
    tcp.take(Instant::now(), &mut outbox);
    let texts: Vec<&[u8]> = outbox
        .segments
        .iter()
        .filter_map(|it| outbox.bytes.get(it.offset..it.offset + it.length))
        .collect();
    assert_eq!(texts, [b"first".as_slice(), b"second"]);
}

#[tokio::test]
async fn only_so_many_connections_are_opened_at_a_time() {
    let mut tcp = TcpTransports::default();
    let checks: Vec<_> = (1..=100).map(|port| (peer(port), CHECK)).collect();
    take(&mut tcp, Instant::now(), &checks);
    assert_eq!(tcp.connections.len(), MAX_OPENED);
}

#[tokio::test]
async fn a_connection_that_has_been_silent_is_made_again_with_the_next_check() {
    let now = Instant::now();
    let mut tcp = TcpTransports::default();
    take(&mut tcp, now, &[(peer(1), CHECK)]);
    take(
        &mut tcp,
        now + SILENT / 2,
        &[(peer(1), CHECK), (peer(1), MEDIA)],
    );
    assert_eq!(tcp.connections.first().map(|it| it.since), Some(now));
    take(&mut tcp, now + SILENT, &[(peer(1), CHECK)]);
    assert_eq!(tcp.connections.len(), 1);
    let made = tcp.connections.first().map(|it| it.since);
    assert_eq!(made, Some(now + SILENT));
    let discarded: u64 = tcp.take_discarded().iter().map(|it| it.packets).sum();
    assert_eq!(discarded, 1, "what the old one had not sent");
}

#[tokio::test]
async fn an_address_that_refuses_is_asked_after_pauses_that_grow() {
    let mut now = Instant::now();
    let mut tcp = TcpTransports::default();
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        tcp.note_failure(now, base(), peer(1));
        let pause = Duration::from_secs(seconds);
        take(
            &mut tcp,
            now + pause - Duration::from_millis(1),
            &[(peer(1), CHECK)],
        );
        assert!(tcp.connections.is_empty(), "{seconds}");
        now += pause;
        take(&mut tcp, now, &[(peer(1), CHECK)]);
        assert_eq!(tcp.connections.len(), 1, "{seconds}");
        tcp.connections.clear();
    }
}

#[tokio::test]
async fn failures_of_many_addresses_are_not_all_remembered() {
    let now = Instant::now();
    let mut tcp = TcpTransports::default();
    for port in 1..10_000 {
        tcp.note_failure(now, base(), peer(port));
    }
    assert_eq!(tcp.failures.len(), MAX_REMEMBERED);
}
