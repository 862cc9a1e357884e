//! STUN over TCP and TLS on real sockets: a real server (coturn) behind something that has another
//! address, as a NAT would, and servers that are none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod coturn;
mod support;

use coturn::Coturn;
use engine::command::{Command, Value};
use engine::config::{Config, IceTcp};
use engine::event::Event;
use engine::w3c::{IceServer, IceTransportPolicy, Kind};
use rtc_stun::error_code::{ErrorCode, ErrorCodeAttribute};
use rtc_stun::message::{BINDING_ERROR, BINDING_SUCCESS, Message, Setter};
use rtc_stun::xoraddr::XorMappedAddress;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use support::proxy::Proxy;
use support::{Output, Peer, config, free_tcp_port, gathering, runtime};

const PASSIVE: IceTcp = IceTcp {
    active: false,
    passive: true,
};

const NONE: [SocketAddr; 0] = [];

fn listening(urls: &[&str]) -> Config {
    let server = IceServer {
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        ..IceServer::default()
    };
    Config {
        ice_servers: vec![server],
        ice_tcp: PASSIVE,
        ..config()
    }
}

fn no_candidate_error(peer: &mut Peer) {
    for output in peer.drain() {
        match output {
            Output::Event(Event::IceCandidateError(error)) => panic!("{error:?}"),
            other => peer.put_back(other),
        }
    }
}

/// Addresses of the candidates whose line ends in this way.
fn told(sdp: &str, end: &str) -> Vec<SocketAddr> {
    let lines = sdp.lines().filter(|line| line.starts_with("a=candidate"));
    lines
        .filter(|line| line.ends_with(end))
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            SocketAddr::new(words[4].parse().unwrap(), words[5].parse().unwrap())
        })
        .collect()
}

fn base(sdp: &str) -> SocketAddr {
    let bases = told(sdp, " typ host tcptype passive");
    assert_eq!(bases.len(), 1, "{sdp}");
    bases[0]
}

fn reflexive(sdp: &str) -> Vec<SocketAddr> {
    let base = base(sdp);
    let end = format!(
        " typ srflx raddr {} rport {} tcptype passive",
        base.ip(),
        base.port()
    );
    told(sdp, &end)
}

fn coturn_behind_something(coturn: &Coturn) -> (Proxy, String) {
    let proxy = Proxy::to(([127, 0, 0, 1], coturn.port).into());
    let url = format!("stun:{}?transport=tcp", proxy.address);
    (proxy, url)
}

/// The answer to the request, made with these parts.
fn answer(request: &[u8], parts: Vec<Box<dyn Setter>>) -> Vec<u8> {
    let mut asked = Message::new();
    asked.unmarshal_binary(request).unwrap();
    let mut all: Vec<Box<dyn Setter>> = vec![Box::new(asked.transaction_id)];
    all.extend(parts);
    let mut message = Message::new();
    message.build(&all).unwrap();
    message.raw
}

fn seen_at(request: &[u8], seen: SocketAddr) -> Vec<u8> {
    let (ip, port) = (seen.ip(), seen.port());
    let mapped = Box::new(XorMappedAddress { ip, port });
    answer(request, vec![Box::new(BINDING_SUCCESS), mapped])
}

/// A server that does `serve` with each connection and the request that came over it; who
/// connected is told.
fn server(
    serve: impl Fn(&mut TcpStream, &[u8]) + Send + 'static,
) -> (String, Receiver<SocketAddr>) {
    server_on("127.0.0.1", serve)
}

fn server_on(
    address: &str,
    serve: impl Fn(&mut TcpStream, &[u8]) + Send + 'static,
) -> (String, Receiver<SocketAddr>) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let url = format!("stun:{}?transport=tcp", listener.local_addr().unwrap());
    let (sender, who) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // The test may have seen enough.
            let _ = sender.send(stream.peer_addr().unwrap());
            let mut request = [0; 20];
            if stream.read_exact(&mut request).is_ok() {
                serve(&mut stream, &request);
            }
        }
    });
    (url, who)
}

/// Until the other side ends the connection.
fn wait_for_the_end(stream: &mut TcpStream) {
    while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
}

#[test]
fn a_server_over_tcp_gives_a_passive_candidate_of_the_port_that_is_listened_on() {
    let coturn = Coturn::start(&[]);
    let (proxy, url) = coturn_behind_something(&coturn);
    let (_runtime, mut peer) = gathering(listening(&[&url]));
    let sdp = peer.offer().sdp;
    let passed = proxy.passed.lock().unwrap().clone();
    let [(from, seen)] = passed[..] else {
        panic!("{passed:?}");
    };
    assert_eq!(from, base(&sdp));
    assert_eq!(reflexive(&sdp), [seen]);
    let candidates = peer.candidates();
    let candidate = candidates.last().unwrap();
    assert!(
        candidate.candidate.contains(" typ srflx "),
        "{candidates:?}"
    );
    assert_eq!(candidate.url.as_deref(), Some(url.as_str()));
    no_candidate_error(&mut peer);

    let Ok(Value::Stats(report)) = peer.request(Command::GetStats) else {
        panic!("no statistics");
    };
    let mut locals = report
        .entries
        .iter()
        .filter(|it| it.kind == "local_candidate");
    let fields = &locals
        .find(|it| it.fields["candidate_type"] == "srflx")
        .unwrap()
        .fields;
    assert_eq!(fields["url"], url.as_str());
    assert_eq!(fields["protocol"], "tcp");
    assert_eq!(fields["tcp_type"], "passive");
    assert_eq!(fields["related_port"], from.port());
    assert!(!fields.contains_key("relay_protocol"));
}

#[test]
fn a_server_over_tls_gives_one_as_well() {
    let coturn = Coturn::start(&[]);
    let proxy = Proxy::to(([127, 0, 0, 1], coturn.tls_port).into());
    let url = format!("stuns:localhost:{}", proxy.address.port());
    let config = Config {
        ice_tls_ca_pem: Some(coturn.ca_pem.clone()),
        ..listening(&[&url])
    };
    let (_runtime, mut peer) = gathering(config);
    let sdp = peer.offer().sdp;
    let passed = proxy.passed.lock().unwrap().clone();
    let [(from, seen)] = passed[..] else {
        panic!("{passed:?}");
    };
    assert_eq!(from, base(&sdp));
    assert_eq!(reflexive(&sdp), [seen]);
    no_candidate_error(&mut peer);
}

#[test]
fn a_tls_server_that_does_not_prove_its_name_is_an_error() {
    let coturn = Coturn::start(&[]);
    let unknown = format!("stuns:localhost:{}", coturn.tls_port);
    let another = format!("stuns:127.0.0.1:{}", coturn.tls_port);
    for (url, ca_pem) in [(unknown, None), (another, Some(coturn.ca_pem.clone()))] {
        let config = Config {
            ice_tls_ca_pem: ca_pem,
            ..listening(&[&url])
        };
        let (_runtime, mut peer) = gathering(config);
        let sdp = peer.offer().sdp;
        assert_eq!(reflexive(&sdp), NONE);
        let error = peer.candidate_error();
        assert_eq!((error.url, error.error_code), (url, 701));
        assert!(
            error.error_text.contains("certificate"),
            "{}",
            error.error_text
        );
    }
}

#[test]
fn where_nothing_is_in_between_there_is_no_second_candidate_and_no_error() {
    let coturn = Coturn::start(&[]);
    let url = format!("stun:127.0.0.1:{}?transport=tcp", coturn.port);
    let (_runtime, mut peer) = gathering(listening(&[&url]));
    let sdp = peer.offer().sdp;
    assert_eq!(reflexive(&sdp), NONE);
    no_candidate_error(&mut peer);
}

#[test]
fn without_passive_candidates_each_url_is_an_error_that_names_the_option() {
    for ice_tcp in [false, true].map(|active| IceTcp {
        active,
        passive: false,
    }) {
        let urls = ["stun:127.0.0.1?transport=tcp", "stuns:127.0.0.1"];
        let config = Config {
            ice_tcp,
            ..listening(&urls)
        };
        let (_runtime, mut peer) = gathering(config);
        assert!(peer.offer().sdp.contains(" typ host"));
        for url in urls {
            let error = peer.candidate_error();
            assert_eq!((error.url.as_str(), error.error_code), (url, 701));
            assert!(error.error_text.contains("ice_tcp"), "{error:?}");
        }
    }
}

#[test]
fn a_server_is_not_asked_where_only_relays_may_be_used_or_by_a_lite_side() {
    let hidden = |config| Config {
        ice_transport_policy: IceTransportPolicy::Relay,
        ..config
    };
    let lite = |config| Config {
        ice_lite: true,
        ..config
    };
    for change in [hidden as fn(Config) -> Config, lite] {
        let (url, who) = server(|stream, _| wait_for_the_end(stream));
        let (_runtime, mut peer) = gathering(change(listening(&[&url])));
        peer.offer();
        no_candidate_error(&mut peer);
        assert!(who.try_recv().is_err());
    }
}

#[test]
fn a_port_that_nobody_listens_on_is_an_error_with_the_base() {
    let port = free_tcp_port();
    let url = format!("stun:127.0.0.1:{port}?transport=tcp");
    let (_runtime, mut peer) = gathering(listening(&[&url]));
    let sdp = peer.offer().sdp;
    assert_eq!(reflexive(&sdp), NONE);
    let error = peer.candidate_error();
    assert_eq!((error.url, error.error_code), (url, 701));
    assert_eq!(error.address.as_deref(), Some("127.0.0.1"));
    assert_eq!(error.port, Some(base(&sdp).port()));
    assert!(error.error_text.contains("refused"), "{}", error.error_text);
}

#[test]
fn a_silent_server_ends_gathering_with_an_error_and_its_connection() {
    let (ended, end) = channel();
    let (url, _who) = server(move |stream, _| {
        wait_for_the_end(stream);
        ended.send(()).unwrap();
    });
    let (_runtime, mut peer) = gathering(listening(&[&url]));
    // How long it takes is tested on the virtual clock of `gather/mappings/client/tests.rs`.
    let sdp = peer.offer().sdp;
    assert_eq!(reflexive(&sdp), NONE);
    let error = peer.candidate_error();
    assert_eq!((error.url, error.error_code), (url, 701));
    end.recv_timeout(support::PATIENCE).unwrap();
}

#[test]
fn a_refusal_is_an_error_with_the_servers_code() {
    let (url, _who) = server(|stream, request| {
        let reason = ErrorCodeAttribute {
            code: ErrorCode(420),
            reason: b"not you".to_vec(),
        };
        let parts: Vec<Box<dyn Setter>> = vec![Box::new(BINDING_ERROR), Box::new(reason)];
        stream.write_all(&answer(request, parts)).unwrap();
        wait_for_the_end(stream);
    });
    let (_runtime, mut peer) = gathering(listening(&[&url]));
    peer.offer();
    let error = peer.candidate_error();
    assert_eq!((error.url, error.error_code), (url, 420));
    assert_eq!(error.error_text, "not you");
}

#[test]
fn servers_that_are_none_cost_their_connection_and_nothing_else() {
    let flood = |stream: &mut TcpStream, message: &[u8]| {
        let many = message.repeat(1000);
        while stream.write_all(&many).is_ok() {}
    };
    type Serve = Box<dyn Fn(&mut TcpStream, &[u8]) + Send>;
    let hostile: [(&str, Serve); 5] = [
        (
            "another protocol",
            Box::new(|stream, _| {
                stream
                    .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    .unwrap();
                wait_for_the_end(stream);
            }),
        ),
        (
            "a huge length",
            Box::new(|stream, request| {
                let mut answer = seen_at(request, ([192, 0, 2, 1], 1).into());
                answer[2..4].copy_from_slice(&[0xFF, 0xFC]);
                stream.write_all(&answer).unwrap();
                wait_for_the_end(stream);
            }),
        ),
        ("bytes", Box::new(move |stream, _| flood(stream, &[0xFF]))),
        (
            "indications",
            Box::new(move |stream, request| {
                let indication = [&[0, 0x11][..], &request[2..]].concat();
                flood(stream, &indication);
            }),
        ),
        (
            "an end in the middle of the answer",
            Box::new(|stream, request| {
                let answer = seen_at(request, ([192, 0, 2, 1], 1).into());
                stream.write_all(&answer[..answer.len() - 1]).unwrap();
            }),
        ),
    ];
    for (what, serve) in hostile {
        let (ended, end) = channel();
        let (url, _who) = server(move |stream, request| {
            serve(stream, request);
            ended.send(()).unwrap();
        });
        let (_runtime, mut peer) = gathering(listening(&[&url]));
        let sdp = peer.offer().sdp;
        assert_eq!(reflexive(&sdp), NONE, "{what}");
        let error = peer.candidate_error();
        assert_eq!((error.url, error.error_code), (url, 701), "{what}");
        end.recv_timeout(support::PATIENCE).expect(what);
    }
}

#[test]
fn an_answer_in_pieces_is_one() {
    let (url, _who) = server(|stream, request| {
        stream.set_nodelay(true).unwrap();
        for byte in seen_at(request, ([192, 0, 2, 1], 6000).into()) {
            stream.write_all(&[byte]).unwrap();
        }
        wait_for_the_end(stream);
    });
    let (_runtime, mut peer) = gathering(listening(&[&url]));
    let sdp = peer.offer().sdp;
    assert_eq!(reflexive(&sdp), [SocketAddr::from(([192, 0, 2, 1], 6000))]);
}

#[test]
fn over_ipv6_it_is_the_same() {
    let seen: SocketAddr = "[2001:db8::7]:6000".parse().unwrap();
    let (url, who) = server_on("::1", move |stream, request| {
        stream.write_all(&seen_at(request, seen)).unwrap();
        wait_for_the_end(stream);
    });
    let config = Config {
        host_addresses: Some(vec![("::1".parse().unwrap(), None)]),
        ..listening(&[&url])
    };
    let (_runtime, mut peer) = gathering(config);
    let sdp = peer.offer().sdp;
    assert_eq!(who.recv_timeout(support::PATIENCE), Ok(base(&sdp)));
    assert_eq!(reflexive(&sdp), [seen]);
}

#[test]
fn a_server_may_have_a_name() {
    let (url, _who) = server(|stream, request| {
        let seen = SocketAddr::from(([192, 0, 2, 1], 6000));
        stream.write_all(&seen_at(request, seen)).unwrap();
        wait_for_the_end(stream);
    });
    let url = url.replace("127.0.0.1", "localhost");
    let (_runtime, mut peer) = gathering(listening(&[&url]));
    let sdp = peer.offer().sdp;
    assert_eq!(reflexive(&sdp).len(), 1, "{sdp}");
}

#[test]
fn an_ice_restart_tells_what_is_known_over_the_same_connection() {
    let coturn = Coturn::start(&[]);
    let (proxy, url) = coturn_behind_something(&coturn);
    let (_runtime, mut peer) = gathering(listening(&[&url]));
    let first = reflexive(&peer.offer().sdp);
    assert_eq!(first.len(), 1);
    assert_eq!(reflexive(&peer.restart_offer().sdp), first);
    assert_eq!(proxy.count.load(Ordering::Relaxed), 1);
}

#[test]
fn an_ice_restart_asks_the_servers_of_the_new_configuration() {
    let coturn = Coturn::start(&[]);
    let (_first, first_url) = coturn_behind_something(&coturn);
    let (second, second_url) = coturn_behind_something(&coturn);
    let (_runtime, mut peer) = gathering(listening(&[&first_url]));
    let before = reflexive(&peer.offer().sdp);
    let changed = listening(&[&second_url]);
    peer.request(Command::SetConfiguration {
        ice_servers: changed.ice_servers,
        ice_transport_policy: changed.ice_transport_policy,
    })
    .unwrap();
    let after = reflexive(&peer.restart_offer().sdp);
    let (_, seen) = second.passed.lock().unwrap()[0];
    assert_eq!(after, [seen]);
    assert_ne!(after, before);
}

#[test]
fn a_connection_that_the_server_ends_is_made_again_from_the_same_port() {
    let (url, who) = server(|stream, request| {
        let answer = seen_at(request, ([192, 0, 2, 1], 6000).into());
        stream.write_all(&answer).unwrap();
    });
    let (_runtime, mut peer) = gathering(listening(&[&url]));
    let sdp = peer.offer().sdp;
    for _ in 0..2 {
        let from = who.recv_timeout(support::PATIENCE).unwrap();
        assert_eq!(from, base(&sdp));
    }
    no_candidate_error(&mut peer);
}

#[test]
fn closing_ends_the_connection_and_the_next_one_on_the_port_asks_the_same_server_at_once() {
    let port = free_tcp_port();
    let coturn = Coturn::start(&[]);
    let (proxy, url) = coturn_behind_something(&coturn);
    let runtime = runtime(1);
    for count in 1..=3 {
        let config = Config {
            ice_ports: vec![port],
            ..listening(&[&url])
        };
        let mut peer = Peer::open(&runtime, config);
        peer.add_track(Kind::Audio, 1);
        let sdp = peer.offer().sdp;
        assert_eq!(base(&sdp).port(), port);
        assert_eq!(reflexive(&sdp).len(), 1, "{sdp}");
        assert_eq!(proxy.count.load(Ordering::Relaxed), count);
        peer.request(Command::Close).unwrap();
        let refused = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_port_that_is_connected_from_is_taken_for_everybody_else() {
    let port = free_tcp_port();
    let coturn = Coturn::start(&[]);
    let (_proxy, url) = coturn_behind_something(&coturn);
    let config = Config {
        ice_ports: vec![port],
        ..listening(&[&url])
    };
    let (runtime, mut first) = gathering(config.clone());
    assert_eq!(reflexive(&first.offer().sdp).len(), 1);
    let mut second = Peer::open(&runtime, config);
    second.add_track(Kind::Audio, 1);
    let sdp = second.offer().sdp;
    assert!(!sdp.contains(" tcp "), "{sdp}");
    let texts: Vec<String> = (0..3)
        .map(|_| second.candidate_error().error_text)
        .collect();
    let taken = texts.iter().filter(|it| it.contains("ice_port_range"));
    assert_eq!(taken.count(), 2, "over UDP and TCP: {texts:?}");
    assert!(texts[2].contains("no address of ours"), "{texts:?}");
    // Peers still find the first.
    TcpStream::connect(("127.0.0.1", port)).unwrap();
}
