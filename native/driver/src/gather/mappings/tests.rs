use super::*;
use crate::gather::stun::{binding_answer, binding_request};
use rtc_stun::message::TransactionId;
use std::future::poll_fn;
use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// An answer that names 192.0.2.1:6000 (RFC 8489 section 14.2).
fn answer(request: &[u8]) -> Vec<u8> {
    let attribute = [0, 0x20, 0, 8, 0, 1, 0x17 ^ 0x21, 0x70 ^ 0x12];
    let ip = [192 ^ 0x21, 0x12, 2 ^ 0xA4, 1 ^ 0x42];
    [&[1, 1, 0, 12], &request[4..20], &attribute[..], &ip].concat()
}

#[test]
fn the_answer_of_these_tests_is_one() {
    let id = TransactionId::new();
    let found = binding_answer(&answer(&binding_request(id)), id);
    assert_eq!(found, Some(Ok(seen())));
}

async fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return outcome,
        }
    }
}

fn seen() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 6000))
}

struct Asked {
    now: Instant,
    base: SocketAddr,
    tcp: TcpTransports,
    mappings: Mappings,
    listener: TcpListener,
}

impl Asked {
    /// One server is asked how it sees one base.
    async fn new() -> Self {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let mut tcp = TcpTransports::default();
        let base = tcp.listen(LOOPBACK, &[]).unwrap();
        let mut asked = Self {
            now: Instant::now(),
            base,
            tcp,
            mappings: Mappings::default(),
            listener,
        };
        asked.ask();
        asked
    }

    fn ask(&mut self) {
        let server = StunServer {
            url: "stun:server?transport=tcp".to_owned(),
            remotes: vec![self.listener.local_addr().unwrap()],
            security: Security::None,
        };
        self.mappings.ask(self.now, self.base, server, &self.tcp);
    }

    /// Serves the mappings until this is done.
    async fn until<T>(&mut self, done: impl Future<Output = T>) -> T {
        let mut done = Box::pin(done);
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(value) = done.as_mut().poll(cx) {
                    return Poll::Ready(value);
                }
                let worked = self.mappings.poll(cx, self.now);
                self.mappings.flush(self.now);
                if !worked {
                    // Requests are written in a turn of their own.
                    self.mappings.poll(cx, self.now);
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    async fn accept(&mut self) -> TcpStream {
        let listener = std::mem::replace(
            &mut self.listener,
            TcpListener::bind((LOOPBACK, 0)).await.unwrap(),
        );
        let (stream, from) = self.until(listener.accept()).await.unwrap();
        assert_eq!(from, self.base);
        self.listener = listener;
        stream
    }

    /// Answers the next request.
    async fn serve(&mut self, stream: &TcpStream) {
        let mut request = [0; 20];
        let reading = async {
            let mut count = 0;
            while count < request.len() {
                count += read(stream, &mut request[count..]).await.unwrap();
            }
        };
        self.until(reading).await;
        let answer = answer(&request);
        assert_eq!(stream.try_write(&answer).unwrap(), answer.len());
    }

    /// Waits for the first answer, which is told.
    async fn told(&mut self) -> TcpStream {
        let stream = self.accept().await;
        self.serve(&stream).await;
        self.until_answered().await;
        let event = self.mappings.poll_event();
        assert!(matches!(event, Some(MappingEvent::Mapped { address, .. })
            if address == seen()));
        stream
    }

    /// Until the answer that was sent has been read.
    async fn until_answered(&mut self) {
        poll_fn(|cx| {
            while self.mappings.poll(cx, self.now) {
                self.mappings.flush(self.now);
            }
            let waiting =
                |it: &Mapping| it.client.poll_timeout() <= Some(self.now + Duration::from_secs(5));
            if self.mappings.mappings.iter().any(waiting) {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    fn pass(&mut self, seconds: u64, selected: Option<TransportAddress>) {
        self.now += Duration::from_secs(seconds);
        self.mappings.handle_timeout(self.now, selected, &self.tcp);
        self.mappings.flush(self.now);
    }
}

#[tokio::test]
async fn a_connection_is_kept_while_ice_has_no_pair_or_one_of_its_base() {
    let mut asked = Asked::new().await;
    let stream = asked.told().await;
    let base = TransportAddress::tcp(asked.base);
    for selected in [None, Some(base), None] {
        asked.pass(30, selected);
        asked.serve(&stream).await;
        asked.until_answered().await;
        assert_eq!(asked.mappings.poll_event(), None);
    }
}

#[tokio::test]
async fn a_connection_is_not_kept_once_ice_has_chosen_another_pair() {
    let mut asked = Asked::new().await;
    let stream = asked.told().await;
    let other = TransportAddress::udp(asked.base);
    asked.pass(10, Some(other));
    assert!(!asked.mappings.is_empty(), "another may still be chosen");
    asked.pass(20, Some(other));
    assert!(asked.mappings.is_empty());
    assert_eq!(asked.mappings.poll_timeout(), None);
    // Nothing of it is left that would keep the same two ports from being connected again.
    let end = read(&stream, &mut [0; 1]).await.unwrap_err();
    assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_connection_that_has_ended_is_made_again_unless_it_is_of_no_use() {
    let mut asked = Asked::new().await;
    drop(asked.told().await);
    asked.until(async { tokio::task::yield_now().await }).await;
    // Until the end was seen.
    poll_fn(|cx| {
        while asked.mappings.poll(cx, asked.now) {
            asked.mappings.flush(asked.now);
        }
        match asked.mappings.mappings.first() {
            Some(it) if !it.client.is_connected() => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    asked.mappings.flush(asked.now);
    asked.pass(1, None);
    let stream = asked.accept().await;
    asked.serve(&stream).await;
    asked.until_answered().await;
    assert_eq!(asked.mappings.poll_event(), None, "it is known already");
}

#[tokio::test]
async fn a_new_round_is_told_what_is_known_of_its_bases_and_servers() {
    let mut asked = Asked::new().await;
    let _stream = asked.told().await;
    let (now, base) = (asked.now, asked.base);
    let url = "stun:server?transport=tcp";
    asked.mappings.announce(now, &[base], &[url, "stun:other"]);
    let event = asked.mappings.poll_event();
    assert!(matches!(event, Some(MappingEvent::Mapped { .. })));
    // It need not be asked.
    asked.ask();
    assert_eq!(asked.mappings.mappings.len(), 1);
    assert!(!asked.mappings.is_asking());

    asked.mappings.announce(now, &[base], &["stun:other"]);
    assert!(asked.mappings.is_empty(), "the server is none any more");
    asked.ask();
    asked.mappings.announce(now, &[], &[url]);
    assert!(asked.mappings.is_empty(), "nobody listens any more");
}

#[tokio::test]
async fn only_so_many_servers_are_connected_to_at_a_time() {
    let mut asked = Asked::new().await;
    for port in 1..100 {
        let server = StunServer {
            url: format!("stun:127.0.0.1:{port}?transport=tcp"),
            remotes: vec![SocketAddr::new(LOOPBACK, port)],
            security: Security::None,
        };
        let (now, base) = (asked.now, asked.base);
        asked.mappings.ask(now, base, server, &asked.tcp);
    }
    assert_eq!(asked.mappings.mappings.len(), MAX_MAPPINGS);
    let event = asked.mappings.poll_event();
    assert!(matches!(
        event,
        Some(MappingEvent::Failed { code: None, .. })
    ));
}
