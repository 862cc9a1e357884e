use super::*;
use crate::shard::forwards::wire::Said;
use crate::shard::forwards::{ForwardMessage, Link};
use bytes::Bytes;
use engine::command::CommandResult;
use engine::event::{Event, Sink, Warning};
use engine::ids::{RequestId, Rid, TrackId};
use engine::media::{ReceivedRtp, ToSink};
use engine::w3c::Kind;
use std::collections::BTreeMap;

type To = Vec<(ForwardId, Range<usize>)>;

fn rtp() -> ForwardedRtp {
    ForwardedRtp {
        marker: true,
        begins: true,
        payload_type: 96,
        sequence_number: 1,
        timestamp: 2,
        csrc: Bytes::new(),
        elements: Bytes::new(),
        payload: Bytes::from_static(b"payload"),
    }
}

fn empty_format() -> SourceFormat {
    SourceFormat {
        kind: Kind::Video,
        codecs: Vec::new(),
        extensions: BTreeMap::new(),
        rids: Vec::new(),
    }
}

fn burst(packets: usize) -> Arc<Burst> {
    Arc::new(Burst {
        format: Arc::new(empty_format()),
        run: 1,
        clock: None,
        packets: vec![rtp(); packets],
    })
}

/// What a mailbox was given.
#[derive(Default)]
struct Given(Vec<(To, Elsewhere, Vec<u8>)>);

impl Sink for Given {
    fn reply(&mut self, _id: RequestId, _result: CommandResult) {}
    fn event(&mut self, _event: Event) {}
    fn rtp(&mut self, _track: TrackId, _rid: Option<&Rid>, _packet: &ReceivedRtp<'_>) {}
    fn warning(&mut self, _warning: Warning) {}
}

impl Mailbox for Given {
    fn forward_elsewhere(
        &mut self,
        to: &[(ForwardId, Range<usize>)],
        what: Elsewhere,
        bytes: &[u8],
    ) {
        self.0.push((to.to_vec(), what, bytes.to_vec()));
    }

    fn panicked(&mut self, _text: &str) {}
}

/// Tells sinks in another VM of packets of a burst, and what is said of it there.
fn told(
    links: &mut [(u64, Link<Given>, Range<usize>)],
    burst: &Arc<Burst>,
) -> Vec<(To, Elsewhere, Said)> {
    let (mut together, mut given) = (Together::default(), Given::default());
    for (id, link, range) in links {
        let packets = ToSink::Packets(Arc::clone(burst), range.clone());
        let message = ForwardMessage::ToSink(ForwardId(*id), packets);
        link.tell(message, &mut together, &mut given).unwrap();
    }
    together.send(&mut given);
    let said =
        |(to, what, bytes): (_, _, Vec<u8>)| (to, what, Said::decode(&bytes.into()).unwrap());
    given.0.into_iter().map(said).collect()
}

#[test]
fn what_is_for_many_sinks_is_said_once_and_the_format_before_the_packets() {
    let burst = burst(3);
    let mut links = [(1, Link::elsewhere(), 0..3), (2, Link::elsewhere(), 1..3)];
    let first = told(&mut links, &burst);
    let [
        (to, Elsewhere::Control, Said::Format(format)),
        (both, Elsewhere::Packets, _),
    ] = &first[..]
    else {
        panic!("{} messages", first.len());
    };
    assert_eq!(**format, *burst.format);
    assert_eq!(to.len(), 2);
    assert_eq!(both[..], [(ForwardId(1), 0..3), (ForwardId(2), 1..3)]);

    // A third one, from the middle on: only that one has to hear of the format, and nobody of what
    // nobody takes.
    let mut links = Vec::from(links);
    links.push((3, Link::elsewhere(), 2..3));
    for (_, _, range) in &mut links {
        range.start = range.start.max(1);
    }
    let then = told(&mut links, &burst);
    let [
        (to, Elsewhere::Control, _),
        (all, Elsewhere::Packets, Said::Packets(burst)),
    ] = &then[..]
    else {
        panic!("{} messages", then.len());
    };
    assert_eq!(to[..], [(ForwardId(3), 0..0)]);
    assert_eq!(burst.len(), 2);
    let ranges = all.iter().map(|(_, range)| range.clone());
    assert_eq!(ranges.collect::<Vec<_>>(), [0..2, 0..2, 1..2]);
}

#[test]
fn the_sinks_of_a_vm_take_one_burst_with_one_format() {
    let said = |format: SourceFormat| Said::decode(&wire::encode_format(&format).into()).unwrap();
    let learn = |link: &mut Link<()>, said: Said| match said {
        Said::Format(format) => link.learn(format),
        _ => panic!("no format"),
    };
    let burst = FarBurst::new(7, None, vec![rtp()]);
    let mut links = [Link::<()>::elsewhere(), Link::elsewhere()];
    assert!(links[0].whole(&burst).is_none());
    for link in &mut links {
        learn(link, said(empty_format()));
    }
    let [one, other] = links.each_mut().map(|link| link.whole(&burst).unwrap());
    assert!(Arc::ptr_eq(&one, &other));

    // Which stays so for the bursts after it, until one has another format.
    let burst = FarBurst::new(7, None, vec![rtp()]);
    let next = links[1].whole(&burst).unwrap();
    assert!(Arc::ptr_eq(&next.format, &one.format));
    let audio = SourceFormat {
        kind: Kind::Audio,
        ..empty_format()
    };
    learn(&mut links[1], said(audio.clone()));
    assert_eq!(*links[1].whole(&burst).unwrap().format, audio);
    assert_eq!(*links[0].whole(&burst).unwrap().format, empty_format());
}
