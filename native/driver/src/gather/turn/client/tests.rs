use super::super::channels::{FORGET_AFTER, MAX_PEERS, REBIND_AFTER};
use super::*;
use rtc_stun::attributes::{ATTR_CHANNEL_NUMBER, ATTR_ERROR_CODE, ATTR_USERNAME};
use rtc_stun::message::{CLASS_ERROR_RESPONSE, MessageType, Setter};
use rtc_stun::textattrs::TextAttribute;

const USERNAME: &str = "user";
const CREDENTIAL: &str = "secret";
const REALM: &str = "example.org";
const SECOND: Duration = Duration::from_secs(1);

fn relayed() -> SocketAddr {
    "192.0.2.1:50000".parse().unwrap()
}

fn mapped() -> SocketAddr {
    "198.51.100.1:4000".parse().unwrap()
}

fn peer() -> SocketAddr {
    "203.0.113.9:7000".parse().unwrap()
}

fn client(now: Instant) -> Client {
    let provider = rtc_crypto::default_provider().unwrap();
    Client::new(
        now,
        provider,
        USERNAME.to_owned(),
        CREDENTIAL.to_owned(),
        false,
        false,
    )
}

fn key() -> Vec<u8> {
    MessageIntegrity::long_term_integrity_key(
        USERNAME.to_owned(),
        REALM.to_owned(),
        CREDENTIAL.to_owned(),
        rtc_crypto::default_provider().unwrap().crypto(),
    )
    .unwrap()
}

/// The client's next message, which must be this request.
fn request(client: &mut Client, method: Method) -> Message {
    let mut message = Message::new();
    message
        .unmarshal_binary(&client.poll_transmit().expect("a request"))
        .unwrap();
    assert_eq!(message.typ.method, method);
    message
}

/// A request with credentials and this nonce.
fn authentic(client: &mut Client, method: Method, nonce: &str) -> Message {
    let mut message = request(client, method);
    let provider = rtc_crypto::default_provider().unwrap();
    MessageIntegrity::check(&mut message, &key(), provider.crypto()).unwrap();
    assert_eq!(message.get(ATTR_NONCE).unwrap(), nonce.as_bytes());
    assert_eq!(message.get(ATTR_USERNAME).unwrap(), USERNAME.as_bytes());
    message
}

fn refusal(request: &Message, code: u16, nonce: Option<&str>) -> Vec<u8> {
    let mut message = Message::new();
    message.transaction_id = request.transaction_id;
    message.set_type(MessageType::new(request.typ.method, CLASS_ERROR_RESPONSE));
    message.write_header();
    let [hundreds, rest] = [code / 100, code % 100].map(|it| u8::try_from(it).unwrap());
    message.add(ATTR_ERROR_CODE, &[0, 0, hundreds, rest, b'n', b'o']);
    if let Some(nonce) = nonce {
        for (attribute, text) in [(ATTR_NONCE, nonce), (ATTR_REALM, REALM)] {
            TextAttribute::new(attribute, text.to_owned())
                .add_to(&mut message)
                .unwrap();
        }
    }
    message.raw
}

fn success(request: &Message, lifetime: Option<u32>, key: &[u8]) -> Vec<u8> {
    let mut message = Message::new();
    message.transaction_id = request.transaction_id;
    message.set_type(MessageType::new(request.typ.method, CLASS_SUCCESS_RESPONSE));
    message.write_header();
    if let Some(lifetime) = lifetime {
        message.add(ATTR_LIFETIME, &lifetime.to_be_bytes());
    }
    if request.typ.method == METHOD_ALLOCATE {
        for (attribute, address) in [
            (ATTR_XOR_RELAYED_ADDRESS, relayed()),
            (ATTR_XORMAPPED_ADDRESS, mapped()),
        ] {
            XorMappedAddress {
                ip: address.ip(),
                port: address.port(),
            }
            .add_to_as(&mut message, attribute)
            .unwrap();
        }
    }
    let provider = rtc_crypto::default_provider().unwrap();
    MessageIntegrity::new_raw_integrity_with_provider(key, provider.crypto())
        .add_to(&mut message)
        .unwrap();
    message.raw
}

/// Past the 401 that every allocation begins with.
fn challenged(now: Instant) -> (Client, Message) {
    let mut client = client(now);
    let first = request(&mut client, METHOD_ALLOCATE);
    assert!(!first.contains(ATTR_USERNAME));
    client.handle(now, &refusal(&first, 401, Some("one")));
    let second = authentic(&mut client, METHOD_ALLOCATE, "one");
    (client, second)
}

fn allocated(now: Instant, lifetime: u32) -> Client {
    let (mut client, request) = challenged(now);
    client.handle(now, &success(&request, Some(lifetime), &key()));
    assert_eq!(
        client.poll_event(),
        Some(Event::Allocated {
            relayed: relayed(),
            mapped: Some(mapped())
        })
    );
    client
}

/// With a channel to the peer, whose number is returned.
fn bound(now: Instant) -> (Client, u16) {
    let mut client = allocated(now, 600);
    assert!(!client.send(now, peer(), b"first", &mut Vec::new()));
    let bind = authentic(&mut client, METHOD_CHANNEL_BIND, "one");
    let number = bind.get(ATTR_CHANNEL_NUMBER).unwrap();
    let channel = u16::from_be_bytes([number[0], number[1]]);
    client.handle(now, &success(&bind, None, &key()));
    let first = client.poll_transmit().unwrap();
    assert_eq!(wire::channel_data(&first), Some((channel, 4..9)));
    assert_eq!(&first[4..9], b"first");
    (client, channel)
}

#[test]
fn an_allocation_is_asked_for_again_with_the_realm_of_the_challenge() {
    let now = Instant::now();
    let mut client = allocated(now, 600);
    assert!(!client.is_asking());
    assert_eq!(client.poll_transmit(), None);
}

#[test]
fn credentials_that_the_server_does_not_take_are_an_error_with_its_code() {
    let now = Instant::now();
    let (mut client, second) = challenged(now);
    client.handle(now, &refusal(&second, 401, Some("two")));
    assert_eq!(
        client.poll_event(),
        Some(Event::Failed {
            code: Some(401),
            reason: "no".to_owned()
        })
    );
    assert!(client.is_over());
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn a_server_without_room_is_an_error_with_its_code() {
    for code in [403, 486, 508] {
        let now = Instant::now();
        let (mut client, second) = challenged(now);
        client.handle(now, &refusal(&second, code, None));
        assert!(
            matches!(client.poll_event(), Some(Event::Failed { code: Some(told), .. }) if told == code)
        );
    }
}

#[test]
fn a_stale_nonce_is_replaced_a_few_times_at_most() {
    let now = Instant::now();
    let (mut client, mut last) = challenged(now);
    for nonce in ["two", "three"] {
        client.handle(now, &refusal(&last, 438, Some(nonce)));
        last = authentic(&mut client, METHOD_ALLOCATE, nonce);
    }
    client.handle(now, &refusal(&last, 438, Some("four")));
    assert!(matches!(
        client.poll_event(),
        Some(Event::Failed {
            code: Some(438),
            ..
        })
    ));
}

#[test]
fn an_allocation_left_behind_on_our_address_is_given_back_first() {
    let now = Instant::now();
    let (mut client, second) = challenged(now);
    client.handle(now, &refusal(&second, 437, None));
    let displace = authentic(&mut client, METHOD_REFRESH, "one");
    assert_eq!(displace.get(ATTR_LIFETIME).unwrap(), [0; 4]);
    client.handle(now, &success(&displace, Some(0), &key()));
    let again = authentic(&mut client, METHOD_ALLOCATE, "one");
    client.handle(now, &refusal(&again, 437, None));
    assert!(matches!(
        client.poll_event(),
        Some(Event::Failed {
            code: Some(437),
            ..
        })
    ));
}

#[test]
fn a_success_that_does_not_know_the_password_changes_nothing() {
    let now = Instant::now();
    let (mut client, second) = challenged(now);
    let forged = success(&second, Some(600), b"another key 1234");
    assert_eq!(client.handle(now, &forged), Incoming::Consumed);
    assert_eq!(client.poll_event(), None);
    assert!(client.is_asking());
    client.handle(now, &success(&second, Some(600), &key()));
    assert!(matches!(client.poll_event(), Some(Event::Allocated { .. })));
}

#[test]
fn a_silent_server_is_asked_again_and_given_up_in_under_five_seconds() {
    let start = Instant::now();
    let mut client = client(start);
    let mut sent = 0;
    let mut now = start;
    while client.is_asking() {
        while client.poll_transmit().is_some() {
            sent += 1;
        }
        now = client.poll_timeout().unwrap();
        client.handle_timeout(now);
    }
    assert_eq!(sent, 4);
    assert!(now - start < 5 * SECOND);
    assert!(matches!(
        client.poll_event(),
        Some(Event::Failed { code: None, .. })
    ));
}

#[test]
fn over_a_stream_nothing_is_repeated() {
    let start = Instant::now();
    let provider = rtc_crypto::default_provider().unwrap();
    let mut client = Client::new(
        start,
        provider,
        USERNAME.to_owned(),
        CREDENTIAL.to_owned(),
        true,
        false,
    );
    client.poll_transmit().unwrap();
    client.handle_timeout(start + 4 * SECOND);
    assert_eq!(client.poll_transmit(), None);
    assert!(client.is_asking());
}

#[test]
fn data_flows_both_ways_over_a_channel() {
    let now = Instant::now();
    let (mut client, channel) = bound(now);
    let mut out = Vec::new();
    assert!(client.send(now, peer(), b"hello", &mut out));
    assert_eq!(wire::channel_data(&out), Some((channel, 4..9)));
    assert_eq!(client.handle(now, &out), Incoming::Data(peer(), 4..9));
    // A channel that was never bound.
    assert_eq!(client.handle(now, b"\x4f\xff\x00\x01x"), Incoming::Consumed);
}

#[test]
fn a_peer_that_the_server_forbids_is_left_alone_for_a_while() {
    let now = Instant::now();
    let mut client = allocated(now, 600);
    client.send(now, peer(), b"check", &mut Vec::new());
    let bind = authentic(&mut client, METHOD_CHANNEL_BIND, "one");
    client.handle(now, &refusal(&bind, 403, None));
    assert!(!client.send(now + SECOND, peer(), b"check", &mut Vec::new()));
    assert_eq!(client.poll_transmit(), None);
    client.send(now + FORBIDDEN_FOR, peer(), b"check", &mut Vec::new());
    request(&mut client, METHOD_CHANNEL_BIND);
}

#[test]
fn a_channel_in_use_is_bound_again_before_its_permission_ends() {
    let now = Instant::now();
    let (mut client, channel) = bound(now);
    client.send(now + SECOND, peer(), b"x", &mut Vec::new());
    let due = client.poll_timeout().unwrap();
    assert!(due - now < Duration::from_secs(300));
    client.handle_timeout(due);
    let bind = authentic(&mut client, METHOD_CHANNEL_BIND, "one");
    assert_eq!(
        bind.get(ATTR_CHANNEL_NUMBER).unwrap()[..2],
        channel.to_be_bytes()
    );
    // Meanwhile the old binding is good.
    assert!(client.send(due, peer(), b"x", &mut Vec::new()));
    client.handle(due, &refusal(&bind, 438, Some("two")));
    let again = authentic(&mut client, METHOD_CHANNEL_BIND, "two");
    client.handle(due, &success(&again, None, &key()));
    assert!(client.send(due, peer(), b"x", &mut Vec::new()));
}

#[test]
fn a_channel_that_nobody_uses_is_let_go_and_bound_with_its_number_when_needed() {
    let now = Instant::now();
    let (mut client, channel) = bound(now);
    client.handle_timeout(now + REBIND_AFTER);
    assert_eq!(client.poll_transmit(), None);
    assert!(!client.send(now + REBIND_AFTER, peer(), b"x", &mut Vec::new()));
    let bind = authentic(&mut client, METHOD_CHANNEL_BIND, "one");
    assert_eq!(
        bind.get(ATTR_CHANNEL_NUMBER).unwrap()[..2],
        channel.to_be_bytes()
    );
}

#[test]
fn an_allocation_is_renewed_for_ever() {
    let mut now = Instant::now();
    let mut client = allocated(now, 600);
    for _ in 0..10 {
        let due = client.poll_timeout().unwrap();
        assert_eq!(due - now, 540 * SECOND);
        now = due;
        client.handle_timeout(now);
        let refresh = authentic(&mut client, METHOD_REFRESH, "one");
        client.handle(now, &success(&refresh, Some(600), &key()));
    }
    assert_eq!(client.poll_event(), None);
}

#[test]
fn an_allocation_whose_server_is_gone_is_lost_when_it_ends() {
    let start = Instant::now();
    let mut client = allocated(start, 600);
    let mut now = start;
    let mut asked = 0;
    while !client.is_over() {
        while client.poll_transmit().is_some() {
            asked += 1;
        }
        now = client.poll_timeout().unwrap();
        client.handle_timeout(now);
    }
    assert_eq!(now - start, 600 * SECOND);
    assert!((5..60).contains(&asked), "{asked}");
    assert!(matches!(client.poll_event(), Some(Event::Lost(_))));
}

#[test]
fn an_absurd_lifetime_keeps_nobody_busy() {
    for lifetime in [1, u32::MAX] {
        let now = Instant::now();
        let client = allocated(now, lifetime);
        let wait = client.poll_timeout().unwrap() - now;
        assert!(wait >= SECOND && wait <= MAX_LIFETIME, "{wait:?}");
    }
}

#[test]
fn peers_are_bounded() {
    let now = Instant::now();
    let mut client = allocated(now, 600);
    for port in 1..2000_u16 {
        let address = SocketAddr::new(peer().ip(), port);
        client.send(now, address, b"check", &mut Vec::new());
    }
    assert_eq!(client.peers.len(), MAX_PEERS);
    client.handle_timeout(now + MAX_WAIT);
    client.handle_timeout(now + MAX_WAIT + FORGET_AFTER);
    assert_eq!(client.peers.len(), 0);
}

#[test]
fn releasing_gives_the_allocation_back() {
    let now = Instant::now();
    let mut client = allocated(now, 600);
    let mut message = Message::new();
    message
        .unmarshal_binary(&client.release().unwrap())
        .unwrap();
    assert_eq!(message.typ.method, METHOD_REFRESH);
    assert_eq!(message.get(ATTR_LIFETIME).unwrap(), [0; 4]);
    assert_eq!(client.release(), None);
}
