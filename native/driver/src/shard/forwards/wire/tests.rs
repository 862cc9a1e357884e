use super::*;
use proptest::prelude::*;
use std::fmt::{self, Write};

/// Nothing is submitted: the mailbox of the connection does not matter.
type Message = ForwardMessage<()>;

fn bytes(size: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..size).prop_map(Bytes::from)
}

fn packet() -> impl Strategy<Value = ForwardedRtp> {
    let flags = (any::<bool>(), any::<bool>());
    let numbers = (0..128_u8, any::<u16>(), any::<u32>());
    let csrc = prop::collection::vec(any::<[u8; 4]>(), 0..=15);
    (flags, numbers, csrc, bytes(80), bytes(1500)).prop_map(
        |(flags, numbers, csrc, elements, payload)| ForwardedRtp {
            marker: flags.0,
            begins: flags.1,
            payload_type: numbers.0,
            sequence_number: numbers.1,
            timestamp: numbers.2,
            csrc: csrc.concat().into(),
            elements,
            payload,
        },
    )
}

fn format() -> impl Strategy<Value = SourceFormat> {
    let codec = (0..128_u8, ".*", any::<u32>(), any::<Option<u16>>());
    let codec = (codec, any::<Option<String>>(), any::<Vec<String>>()).prop_map(
        |((payload_type, mime_type, clock_rate, channels), fmtp, feedback)| Codec {
            payload_type,
            mime_type,
            clock_rate,
            channels,
            fmtp,
            feedback,
        },
    );
    let codecs = prop::collection::vec(codec, 0..4);
    let extensions = prop::collection::btree_map(any::<u8>(), ".*", 0..4);
    let rids = prop::collection::vec("[a-z]{1,8}", 0..4);
    (any::<bool>(), codecs, extensions, rids).prop_map(|(video, codecs, extensions, rids)| {
        SourceFormat {
            kind: kind(video),
            codecs,
            extensions,
            rids: rids.iter().map(|rid| Rid::from(rid.as_str())).collect(),
        }
    })
}

/// Everything but packets, which lose their format on the way, and formats.
fn control() -> impl Strategy<Value = Message> {
    let id = any::<u64>().prop_map(ForwardId);
    let attach = (bytes(200), any::<u64>(), format(), any::<bool>()).prop_map(
        |(label, sender, format, negotiated)| {
            ForwardMessage::Attach(Box::new(Attaching {
                name: ForwardName {
                    id: ForwardId(sender / 2),
                    label,
                },
                sender: SenderId(sender),
                offer: SourceOffer {
                    kind: format.kind,
                    format: negotiated.then(|| Arc::new(format)),
                },
                source: Link::elsewhere(),
            }))
        },
    );
    let error = prop::sample::select(Error::ALL);
    let reason = || prop::sample::select(ForwardEnd::ALL);
    let attached = prop_oneof![Just(Ok(())), error.prop_map(Err)];
    let to_sink = prop_oneof![
        any::<Option<u64>>().prop_map(ToSink::Wanted),
        reason().prop_map(ToSink::End),
    ];
    let to_source = prop_oneof![
        Just(ToSource::Keyframe),
        any::<u64>().prop_map(ToSource::Budget),
        reason().prop_map(ToSource::End),
    ];
    let said = prop_oneof![
        attached.prop_map(|result| ForwardMessage::Attached(ForwardId(0), result)),
        to_sink.prop_map(|message| ForwardMessage::ToSink(ForwardId(0), message)),
        to_source.prop_map(|message| ForwardMessage::ToSource(ForwardId(0), message)),
    ];
    let said = (id, said).prop_map(|(id, message)| match message {
        ForwardMessage::Attached(_, result) => ForwardMessage::Attached(id, result),
        ForwardMessage::ToSink(_, message) => ForwardMessage::ToSink(id, message),
        ForwardMessage::ToSource(_, message) => ForwardMessage::ToSource(id, message),
        other => other,
    });
    prop_oneof![attach, said]
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self))
    }
}

/// Everything that a message says.
fn text(message: &Message) -> String {
    let mut text = String::new();
    let written = match message {
        ForwardMessage::Attach(it) => {
            write!(text, "attach {:?} {:?} {:?}", it.name, it.sender, it.offer)
        }
        ForwardMessage::Attached(id, result) => write!(text, "{id} attached {result:?}"),
        ForwardMessage::ToSink(id, message) => write!(text, "{id} to sink {message:?}"),
        ForwardMessage::ToSource(id, message) => write!(text, "{id} to source {message:?}"),
        ForwardMessage::Open(_) | ForwardMessage::Far(..) => write!(text, "of another kind"),
    };
    written.unwrap();
    text
}

fn burst(format: SourceFormat, packets: Vec<ForwardedRtp>, run: u64) -> Arc<Burst> {
    Arc::new(Burst {
        format: Arc::new(format),
        run,
        clock: Some(SourceClock { ntp: run, rtp: 7 }),
        packets,
    })
}

proptest! {
    #[test]
    fn control_messages_arrive_as_they_were_sent(message in control()) {
        let (id, what, bytes) = encode(&message).unwrap();
        prop_assert_ne!(what, Elsewhere::Packets);
        let arrived: Message = Said::decode(&bytes.into()).unwrap().message(id, 0..0);
        prop_assert_eq!(text(&arrived), text(&message));
    }

    #[test]
    fn a_refusal_and_an_end_are_the_last_message(message in control()) {
        let last = matches!(
            message,
            ForwardMessage::Attached(_, Err(_))
                | ForwardMessage::ToSink(_, ToSink::End(_))
                | ForwardMessage::ToSource(_, ToSource::End(_))
        );
        let (_, what, _) = encode(&message).unwrap();
        prop_assert_eq!(what == Elsewhere::End, last);
    }

    #[test]
    fn of_a_burst_those_packets_arrive_that_are_for_the_sink(
        format in format(),
        packets in prop::collection::vec(packet(), 1..8),
        run in any::<u64>(),
        from in any::<prop::sample::Index>(),
    ) {
        let range = from.index(packets.len())..packets.len();
        let burst = burst(format, packets, run);
        let bytes = encode_burst(&burst, range.clone());
        let said = Said::decode(&bytes.into());
        let Some(Said::Packets(arrived)) = said else {
            return Err(TestCaseError::fail("no packets"));
        };
        let arrived = arrived.whole(&burst.format);
        prop_assert_eq!((arrived.run, arrived.clock), (run, burst.clock));
        prop_assert_eq!(&arrived.packets, &burst.packets[range]);
    }

    #[test]
    fn no_sink_takes_more_of_a_burst_than_there_is(
        count in 0..4_usize,
        first in 0..6_usize,
        more in any::<usize>(),
    ) {
        let burst = FarBurst::new(1, None, vec![rtp(); count]);
        let range = first..first.saturating_add(more);
        let said = Said::Packets(Arc::new(burst));
        let message: Message = said.message(ForwardId(1), range.clone());
        let ForwardMessage::Far(_, FarMessage::Packets(_, taken)) = message else {
            return Err(TestCaseError::fail("no packets"));
        };
        prop_assert_eq!(taken.len(), count.saturating_sub(first).min(range.len()));
        prop_assert!(taken.end <= count);
    }

    #[test]
    fn a_format_arrives_as_it_was_sent(format in format()) {
        let said = Said::decode(&encode_format(&format).into());
        let Some(Said::Format(arrived)) = said else {
            return Err(TestCaseError::fail("no format"));
        };
        prop_assert_eq!(&*arrived, &format);
    }

    #[test]
    fn any_bytes_are_a_message_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Said::decode(&Bytes::from(bytes.clone()));
        // And those that look like one of this version.
        bytes.insert(0, VERSION);
        let _ = Said::decode(&bytes.into());
    }

    #[test]
    fn bytes_of_another_version_or_of_another_length_are_refused(
        message in control(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (_, _, bytes) = encode(&message).unwrap();
        let cut = Bytes::copy_from_slice(&bytes[..cut.index(bytes.len())]);
        prop_assert!(Said::decode(&cut).is_none());
        let longer = [&bytes[..], &[0]].concat();
        prop_assert!(Said::decode(&longer.into()).is_none());
        let mut other = bytes;
        other[0] = VERSION + 1;
        prop_assert!(Said::decode(&other.into()).is_none());
    }
}

fn rtp() -> ForwardedRtp {
    ForwardedRtp {
        marker: true,
        begins: true,
        payload_type: 96,
        sequence_number: 1,
        timestamp: 2,
        csrc: Bytes::from_static(&[0; 60]),
        elements: Bytes::new(),
        payload: Bytes::from_static(b"payload"),
    }
}

#[test]
fn what_no_rtp_packet_has_is_refused() {
    let wrong = [
        (true, rtp()),
        (
            false,
            ForwardedRtp {
                payload_type: 128,
                ..rtp()
            },
        ),
        (
            false,
            ForwardedRtp {
                csrc: Bytes::from_static(&[0; 3]),
                ..rtp()
            },
        ),
        (
            false,
            ForwardedRtp {
                csrc: Bytes::from_static(&[0; 64]),
                ..rtp()
            },
        ),
        (
            false,
            ForwardedRtp {
                payload: vec![0; MAX_PACKET].into(),
                ..rtp()
            },
        ),
    ];
    for (is_rtp, packet) in wrong {
        let format = SourceFormat {
            kind: Kind::Video,
            codecs: Vec::new(),
            extensions: BTreeMap::new(),
            rids: Vec::new(),
        };
        let bytes = encode_burst(&burst(format, vec![packet], 1), 0..1);
        assert_eq!(Said::decode(&bytes.into()).is_some(), is_rtp);
    }
}
