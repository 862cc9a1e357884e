use super::*;

async fn connection(now: Instant) -> Connection {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap();
    let io = tokio::net::TcpStream::connect(local).await.unwrap();
    let remote = io.local_addr().unwrap();
    let opened = Opened {
        local,
        io: Box::new(io),
    };
    Connection::accepted(now, TransportAddress::tcp(local), remote, opened)
}

#[tokio::test]
async fn a_stranger_has_fifteen_seconds_and_64_kib_to_prove_itself() {
    let now = Instant::now();
    let mut stranger = connection(now).await;
    stranger.heard = now + Duration::from_secs(14);
    assert_eq!(stranger.overdue(now + Duration::from_secs(14)), None);
    assert!(stranger.overdue(now + Duration::from_secs(15)).is_some());
    stranger.unproven_bytes = 64 << 10;
    assert_eq!(stranger.overdue(now), None);
    stranger.unproven_bytes += 1;
    assert!(stranger.overdue(now).is_some());
}

#[tokio::test]
async fn the_peers_connection_stays_as_long_as_it_is_used() {
    let now = Instant::now();
    let mut peers = connection(now).await;
    peers.proven = true;
    peers.unproven_bytes = 1 << 20;
    peers.heard = now + Duration::from_secs(1_000);
    assert_eq!(peers.overdue(now + Duration::from_secs(1_059)), None);
    assert!(peers.overdue(now + Duration::from_secs(1_060)).is_some());
}
