use super::*;
use proptest::prelude::*;
use rtc_stun::error_code::ErrorCode;
use rtc_stun::message::{MessageType, Setter};

fn local() -> SocketAddr {
    "10.0.0.1:4000".parse().unwrap()
}

fn server() -> SocketAddr {
    "192.0.2.1:3478".parse().unwrap()
}

fn asked(now: Instant) -> (Transactions, Message) {
    let mut transactions = Transactions::default();
    transactions.begin(now, 3, local(), server());
    let request = transactions.poll_transmit().unwrap();
    assert_eq!((request.local, request.remote), (local(), server()));
    let mut message = Message::new();
    message.unmarshal_binary(&request.bytes).unwrap();
    assert_eq!(message.typ, BINDING_REQUEST);
    (transactions, message)
}

fn answer(request: &Message, kind: MessageType, attribute: Box<dyn Setter>) -> Vec<u8> {
    let mut message = Message::new();
    message
        .build(&[Box::new(request.transaction_id), Box::new(kind), attribute])
        .unwrap();
    message.raw
}

fn mapped(request: &Message) -> Vec<u8> {
    let address = XorMappedAddress {
        ip: "198.51.100.7".parse().unwrap(),
        port: 6000,
    };
    answer(request, BINDING_SUCCESS, Box::new(address))
}

#[test]
fn an_answer_brings_the_address_the_server_saw() {
    let now = Instant::now();
    let (mut transactions, request) = asked(now);
    let outcome = transactions.handle_datagram(now, local(), server(), &mapped(&request));
    let address = "198.51.100.7:6000".parse().unwrap();
    assert_eq!(
        outcome,
        Some(Outcome::Mapped {
            server: 3,
            local: local(),
            address
        })
    );
    assert!(transactions.is_empty());
    assert_eq!(transactions.poll_timeout(), None);
}

#[test]
fn an_ipv6_answer_is_read() {
    let now = Instant::now();
    let (mut transactions, request) = asked(now);
    let address = XorMappedAddress {
        ip: "2001:db8::7".parse().unwrap(),
        port: 6000,
    };
    let bytes = answer(&request, BINDING_SUCCESS, Box::new(address));
    let outcome = transactions.handle_datagram(now, local(), server(), &bytes);
    assert!(matches!(outcome, Some(Outcome::Mapped { address, .. })
        if address == "[2001:db8::7]:6000".parse::<SocketAddr>().unwrap()));
}

#[test]
fn a_mapped_address_without_xor_is_read() {
    let now = Instant::now();
    let (mut transactions, request) = asked(now);
    let mut message = Message::new();
    message.transaction_id = request.transaction_id;
    message.set_type(BINDING_SUCCESS);
    message.write_header();
    message.add(ATTR_MAPPED_ADDRESS, &[0, 1, 0x17, 0x70, 198, 51, 100, 7]);
    let outcome = transactions.handle_datagram(now, local(), server(), &message.raw);
    assert!(matches!(outcome, Some(Outcome::Mapped { address, .. })
        if address == "198.51.100.7:6000".parse::<SocketAddr>().unwrap()));
}

#[test]
fn an_answer_from_elsewhere_or_to_another_question_is_left_to_ice() {
    let now = Instant::now();
    let (mut transactions, request) = asked(now);
    let bytes = mapped(&request);
    let elsewhere: SocketAddr = "192.0.2.66:3478".parse().unwrap();
    assert_eq!(
        transactions.handle_datagram(now, local(), elsewhere, &bytes),
        None
    );
    let other_socket: SocketAddr = "10.0.0.2:4000".parse().unwrap();
    assert_eq!(
        transactions.handle_datagram(now, other_socket, server(), &bytes),
        None
    );
    let mut other_question = bytes.clone();
    other_question[10] ^= 1;
    assert_eq!(
        transactions.handle_datagram(now, local(), server(), &other_question),
        None
    );
    let reflected = request.marshal_binary().unwrap();
    assert_eq!(
        transactions.handle_datagram(now, local(), server(), &reflected),
        None
    );
    assert!(
        !transactions.is_empty(),
        "the real answer is still waited for"
    );
    assert!(
        transactions
            .handle_datagram(now, local(), server(), &bytes)
            .is_some()
    );
}

#[test]
fn a_refusal_is_an_error_with_its_code() {
    let now = Instant::now();
    let (mut transactions, request) = asked(now);
    let refusal = ErrorCodeAttribute {
        code: ErrorCode(420),
        reason: b"Unknown".to_vec(),
    };
    let bytes = answer(&request, BINDING_ERROR, Box::new(refusal));
    let outcome = transactions.handle_datagram(now, local(), server(), &bytes);
    let reason = "Unknown".to_owned();
    assert_eq!(
        outcome,
        Some(Outcome::Failed {
            server: 3,
            local: local(),
            code: Some(420),
            reason
        })
    );
}

#[test]
fn an_answer_with_an_address_of_nobody_is_an_error() {
    let now = Instant::now();
    for (ip, port) in [("0.0.0.0", 5), ("224.0.0.1", 5), ("198.51.100.7", 0)] {
        let (mut transactions, request) = asked(now);
        let address = XorMappedAddress {
            ip: ip.parse().unwrap(),
            port,
        };
        let bytes = answer(&request, BINDING_SUCCESS, Box::new(address));
        let outcome = transactions.handle_datagram(now, local(), server(), &bytes);
        assert!(
            matches!(outcome, Some(Outcome::Failed { code: None, .. })),
            "{ip}:{port}"
        );
    }
}

#[test]
fn a_silent_server_is_asked_again_with_doubled_waits_and_given_up_within_five_seconds() {
    let start = Instant::now();
    let (mut transactions, first) = asked(start);
    let mut asked_at = Vec::new();
    let mut now = start;
    while let Some(next) = transactions.poll_timeout() {
        assert!(next > now, "time must pass");
        now = next;
        transactions.handle_timeout(now);
        while let Some(request) = transactions.poll_transmit() {
            assert_eq!(
                request.bytes, first.raw,
                "a retransmission is the same request"
            );
            asked_at.push((now - start).as_millis());
        }
    }
    assert_eq!(asked_at, [500, 1500, 3500]);
    assert!(now - start <= Duration::from_secs(5));
    let outcome = transactions.poll_expired();
    assert!(matches!(
        outcome,
        Some(Outcome::Failed {
            server: 3,
            code: None,
            ..
        })
    ));
    assert!(transactions.is_empty());
}

proptest! {
    #[test]
    fn random_answers_never_panic(tail in prop::collection::vec(any::<u8>(), 0..200), kind in any::<u16>()) {
        let now = Instant::now();
        let (mut transactions, request) = asked(now);
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend_from_slice(&(tail.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&request.raw[4..20]);
        bytes.extend_from_slice(&tail);
        transactions.handle_datagram(now, local(), server(), &bytes);
        bytes[0..2].copy_from_slice(&0x0101u16.to_be_bytes());
        transactions.handle_datagram(now, local(), server(), &bytes);
    }
}
