use super::*;
use proptest::prelude::*;
use rtc_stun::error_code::{ErrorCode, ErrorCodeAttribute};
use rtc_stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use rtc_stun::xoraddr::XorMappedAddress;

fn address(port: u16) -> SocketAddr {
    SocketAddr::new("198.51.100.7".parse().unwrap(), port)
}

/// The question that is asked now.
fn question(client: &mut Client) -> Message {
    let bytes = client.poll_transmit().expect("a request");
    let mut message = Message::new();
    message.unmarshal_binary(&bytes).unwrap();
    assert_eq!(message.typ, BINDING_REQUEST);
    message
}

fn answer(request: &Message, seen: SocketAddr) -> Vec<u8> {
    let mapped = XorMappedAddress {
        ip: seen.ip(),
        port: seen.port(),
    };
    let parts: [Box<dyn Setter>; 3] = [
        Box::new(request.transaction_id),
        Box::new(BINDING_SUCCESS),
        Box::new(mapped),
    ];
    let mut message = Message::new();
    message.build(&parts).unwrap();
    message.raw
}

fn refusal(request: &Message) -> Vec<u8> {
    let parts: [Box<dyn Setter>; 3] = [
        Box::new(request.transaction_id),
        Box::new(BINDING_ERROR),
        Box::new(ErrorCodeAttribute {
            code: ErrorCode(500),
            reason: b"busy".to_vec(),
        }),
    ];
    let mut message = Message::new();
    message.build(&parts).unwrap();
    message.raw
}

/// One that was told its address at `now`.
fn told(now: Instant) -> Client {
    let mut client = Client::new(now);
    let request = question(&mut client);
    client.handle(now, &answer(&request, address(6000)));
    assert_eq!(client.poll_event(), Some(Event::Mapped(address(6000))));
    client
}

#[test]
fn an_answer_tells_where_the_server_sees_us() {
    let now = Instant::now();
    let mut client = Client::new(now);
    assert!(client.is_asking());
    let request = question(&mut client);
    client.handle(now, &answer(&request, address(6000)));
    assert!(client.is_connected() && !client.is_asking());
    assert_eq!(client.poll_event(), Some(Event::Mapped(address(6000))));
    assert_eq!(client.poll_event(), None);
    assert_eq!(client.renew(now), Some(address(6000)));
}

#[test]
fn answers_to_other_questions_and_requests_are_none() {
    let now = Instant::now();
    let mut client = Client::new(now);
    let request = question(&mut client);
    let mut other = Message::new();
    other.transaction_id = TransactionId::new();
    client.handle(now, &answer(&other, address(6000)));
    client.handle(now, &request.raw);
    assert!(client.is_asking());
    assert_eq!(client.poll_event(), None);
    client.handle(now, &answer(&request, address(6001)));
    assert_eq!(client.poll_event(), Some(Event::Mapped(address(6001))));
}

#[test]
fn a_refusal_is_told_with_the_servers_code_and_ends_it() {
    let now = Instant::now();
    let mut client = Client::new(now);
    let request = question(&mut client);
    client.handle(now, &refusal(&request));
    let failed = Event::Failed {
        code: Some(500),
        reason: "busy".to_owned(),
    };
    assert_eq!(client.poll_event(), Some(failed));
    assert!(client.is_over());
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn a_silent_server_is_given_up_before_gathering_ends() {
    let now = Instant::now();
    let mut client = Client::new(now);
    let expires = client.poll_timeout().unwrap();
    assert!(expires > now + Duration::from_secs(4) && expires < now + Duration::from_secs(5));
    let before = expires - Duration::from_millis(1);
    assert_eq!(client.handle_timeout(before), Due::Nothing);
    assert!(client.is_asking());
    assert_eq!(client.handle_timeout(expires), Due::Nothing);
    assert!(matches!(
        client.poll_event(),
        Some(Event::Failed { code: None, .. })
    ));
    assert!(client.is_over());
}

#[test]
fn a_connection_that_never_came_about_is_told_and_not_tried_again() {
    let now = Instant::now();
    let mut client = Client::new(now);
    client.disconnected(now, "refused".to_owned());
    let failed = Event::Failed {
        code: None,
        reason: "refused".to_owned(),
    };
    assert_eq!(client.poll_event(), Some(failed));
    assert!(client.is_over());
    assert_eq!(client.poll_transmit(), None);
}

#[test]
fn the_server_is_asked_again_and_again_so_that_the_connection_is_kept() {
    let mut now = Instant::now();
    let mut client = told(now);
    for _ in 0..10 {
        assert_eq!(client.poll_timeout(), Some(now + KEEPALIVE));
        now += KEEPALIVE;
        assert_eq!(client.handle_timeout(now), Due::Ask);
        client.ask(now);
        let request = question(&mut client);
        client.handle(now, &answer(&request, address(6000)));
        assert_eq!(client.poll_event(), None);
    }
}

#[test]
fn a_new_round_of_gathering_puts_off_the_next_question() {
    let now = Instant::now();
    let mut client = told(now);
    let later = now + KEEPALIVE / 2;
    assert_eq!(client.renew(later), Some(address(6000)));
    assert_eq!(client.poll_timeout(), Some(later + KEEPALIVE));
}

#[test]
fn an_address_that_has_changed_is_told_as_such() {
    let now = Instant::now();
    let mut client = told(now);
    client.ask(now);
    let request = question(&mut client);
    client.handle(now, &answer(&request, address(7000)));
    assert_eq!(client.poll_event(), Some(Event::Moved(address(7000))));
    assert_eq!(client.renew(now), Some(address(7000)));
}

#[test]
fn a_connection_that_ends_is_made_again_after_pauses_that_grow() {
    let mut now = Instant::now();
    let mut client = told(now);
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        client.disconnected(now, "closed".to_owned());
        assert_eq!(client.poll_event(), Some(Event::Lost("closed".to_owned())));
        assert!(!client.is_connected() && !client.is_over());
        assert_eq!(client.renew(now), None);
        let again = now + Duration::from_secs(seconds);
        assert_eq!(client.poll_timeout(), Some(again));
        now = again;
        assert_eq!(client.handle_timeout(now), Due::Connect);
        client.ask(now);
        // The first answer of a connection does not show that it is of use.
        let request = question(&mut client);
        client.handle(now, &answer(&request, address(6000)));
        assert_eq!(client.poll_event(), None);
    }
    // The second one does.
    client.ask(now);
    let request = question(&mut client);
    client.handle(now, &answer(&request, address(6000)));
    client.disconnected(now, "closed".to_owned());
    assert_eq!(client.poll_timeout(), Some(now + FIRST_PAUSE));
}

#[test]
fn a_server_that_stops_answering_is_connected_to_again() {
    let now = Instant::now();
    let mut client = told(now);
    client.ask(now);
    let expires = client.poll_timeout().unwrap();
    assert_eq!(client.handle_timeout(expires), Due::Nothing);
    assert!(matches!(client.poll_event(), Some(Event::Lost(_))));
    assert_eq!(client.handle_timeout(expires + FIRST_PAUSE), Due::Connect);
}

#[test]
fn a_server_that_sends_and_sends_loses_its_connection() {
    let now = Instant::now();
    let mut client = told(now);
    let indication = [&[0, 0x11, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[0; 12]].concat();
    let mut count = 0;
    while client.is_connected() {
        client.handle(now, &indication);
        count += 1;
        assert!(count * indication.len() <= MAX_UNASKED + MAX_MESSAGE);
    }
    assert!(matches!(client.poll_event(), Some(Event::Lost(_))));
}

#[test]
fn what_was_ended_says_nothing_more() {
    let now = Instant::now();
    let mut client = told(now);
    client.ask(now);
    client.end();
    client.disconnected(now, "closed".to_owned());
    assert!(client.is_over());
    assert_eq!(client.poll_transmit(), None);
    assert_eq!(client.poll_event(), None);
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn only_short_stun_messages_are_cut_from_a_stream() {
    let message = answer(&Message::new(), address(6000));
    let followed = [&message[..], &message].concat();
    assert_eq!(message_length(&followed), Ok(Some(message.len())));
    for end in 0..message.len() {
        let length = (end >= 4).then_some(message.len());
        assert_eq!(message_length(&message[..end]), Ok(length), "{end}");
    }
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n"[..],
        b"SSH-2.0-",
        // TLS, TURN's channel data, an odd length, a huge one, no cookie.
        &[22, 3, 1, 0, 4],
        &[0x40, 0, 0, 4],
        &[1, 1, 0, 5],
        &[1, 1, 0xFF, 0xFC],
        &[1, 1, 0, 12, 0x21, 0x13],
    ] {
        assert_eq!(message_length(bytes), Err(()), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_no_message_is_long(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        is_stun in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if is_stun && bytes.len() >= 8 {
            bytes[..2].copy_from_slice(&[1, 1]);
            bytes[4..8].copy_from_slice(&MAGIC_COOKIE);
        }
        if let Ok(Some(length)) = message_length(&bytes) {
            prop_assert!((STUN_HEADER..=MAX_MESSAGE).contains(&length));
        }
        let now = Instant::now();
        let mut client = Client::new(now);
        if is_stun && bytes.len() >= 20 {
            let request = question(&mut client);
            bytes[8..20].copy_from_slice(&request.transaction_id.0);
        }
        client.handle(now, &bytes);
        prop_assert!(client.renew(now).is_none_or(|seen| seen.port() != 0));
    }
}
