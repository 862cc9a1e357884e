use super::*;
use engine::command::Property;
use engine::ids::ForwardId;
use engine::media::{Burst, ForwardEnd, SourceFormat};
use engine::w3c::{DataKind, Kind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn request(id: u64) -> Submission<()> {
    Submission::Request(RequestId(id), Command::Get(Property::ConnectionState))
}

fn packet(sequence_number: u16) -> Submission<()> {
    Submission::Rtp(TrackId(1), outgoing(sequence_number))
}

fn outgoing(sequence_number: u16) -> OutgoingRtp {
    OutgoingRtp {
        marker: false,
        payload_type: 96,
        sequence_number,
        timestamp: 0,
        ssrc: 1,
        csrc: Vec::new(),
        extensions: Vec::new(),
        payload: Bytes::from_static(b"payload"),
        padding_size: 0,
        rtx: false,
    }
}

fn message() -> Submission<()> {
    Submission::Data(OutgoingData {
        channel: engine::ids::ChannelId(1),
        kind: DataKind::String,
        payload: Bytes::new(),
        notify: None,
    })
}

fn take(queue: &Queue<()>) -> (Poll<Taken>, VecDeque<Submission<()>>) {
    let mut burst = VecDeque::new();
    let taken = queue.poll_take(&Context::from_waker(Waker::noop()), &mut burst);
    (taken, burst)
}

/// A queue whose task sleeps, and how often it was woken.
fn slept_on() -> (Queue<()>, Arc<Wakes>) {
    let queue = Queue::new();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut burst = VecDeque::new();
    let taken = queue.poll_take(&Context::from_waker(&waker), &mut burst);
    assert_eq!(taken, Poll::Pending);
    (queue, wakes)
}

#[test]
fn a_burst_keeps_its_order_across_kinds() {
    let queue = Queue::new();
    queue.push(request(1)).unwrap();
    queue.push(packet(2)).unwrap();
    queue.push(message()).unwrap();
    queue.push(request(4)).unwrap();

    let (taken, burst) = take(&queue);
    assert_eq!(taken, Poll::Ready(Taken::Burst));
    let kinds: Vec<_> = burst
        .iter()
        .map(|submission| match submission {
            Submission::Request(id, _) => format!("request {id}"),
            Submission::Rtp(_, packet) => format!("packet {}", packet.sequence_number),
            Submission::Data(_) => "message".to_owned(),
            _ => "other".to_owned(),
        })
        .collect();
    assert_eq!(kinds, ["request 1", "packet 2", "message", "request 4"]);
    assert_eq!(take(&queue).0, Poll::Pending);
}

#[test]
fn a_burst_wakes_a_sleeping_task_once() {
    let (queue, wakes) = slept_on();

    for id in 0..100 {
        queue.push(request(id)).unwrap();
    }
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);

    // Until it sleeps again, it needs no waking.
    assert_eq!(take(&queue).0, Poll::Ready(Taken::Burst));
    queue.push(request(100)).unwrap();
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
}

#[test]
fn too_many_requests_are_busy_until_the_shard_has_taken_them() {
    let queue = Queue::new();
    for id in 0..MAX_WAITING_REQUESTS {
        queue.push(request(id as u64)).unwrap();
    }
    assert_eq!(queue.push(request(0)), Err(SubmitError::Busy));
    assert_eq!(
        queue.push(packet(0)),
        Ok(()),
        "media has a bound of its own"
    );
    assert_eq!(take(&queue).0, Poll::Ready(Taken::Burst));
    assert_eq!(queue.push(request(0)), Ok(()));
}

#[test]
fn the_newest_packets_are_dropped_and_counted() {
    let queue = Queue::new();
    for sequence_number in 0..MAX_WAITING_PACKETS {
        queue.push(packet(sequence_number as u16)).unwrap();
    }
    assert_eq!(queue.push(packet(9)), Err(SubmitError::Busy));
    assert_eq!(
        queue.push(Submission::Rtcp(Bytes::new())),
        Err(SubmitError::Busy)
    );
    assert_eq!(queue.dropped_packets(), 2);
    assert_eq!(
        queue.push(request(0)),
        Ok(()),
        "requests have a bound of their own"
    );
    let (_, burst) = take(&queue);
    assert!(matches!(burst.front(), Some(Submission::Rtp(_, first)) if first.sequence_number == 0));
    assert_eq!(burst.len(), MAX_WAITING_PACKETS + 1);
    assert_eq!(queue.push(packet(9)), Ok(()), "there is room again");
}

#[test]
fn packets_of_one_call_wake_once_and_drop_the_newest() {
    let (queue, wakes) = slept_on();
    queue.push_packets([]).unwrap();
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);

    let count = MAX_WAITING_PACKETS as u16 + 3;
    let packets = (0..count).map(|number| (TrackId(1), outgoing(number)));
    assert_eq!(queue.push_packets(packets), Err(SubmitError::Busy));
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert_eq!(queue.dropped_packets(), 3);
    assert_eq!(queue.push(packet(0)), Err(SubmitError::Busy));
    let (_, burst) = take(&queue);
    let numbers: Vec<u16> = burst
        .iter()
        .map(|submission| match submission {
            Submission::Rtp(_, packet) => packet.sequence_number,
            _ => panic!("only packets were pushed"),
        })
        .collect();
    let expected: Vec<u16> = (0..MAX_WAITING_PACKETS as u16).collect();
    assert_eq!(numbers, expected);
    queue.push_packets([(TrackId(1), outgoing(0))]).unwrap();
    queue.close();
    assert_eq!(queue.push_packets([]), Err(SubmitError::Closed));
}

#[test]
fn a_hundred_thousand_messages_fit_and_no_count_of_them_is_unbounded() {
    let queue = Queue::new();
    for _ in 0..MAX_WAITING_MESSAGES {
        queue.push(message()).unwrap();
    }
    const { assert!(MAX_WAITING_MESSAGES >= 100_000) };
    assert_eq!(queue.push(message()), Err(SubmitError::Busy));
    assert_eq!(queue.dropped_packets(), 0);
}

#[test]
fn a_closed_queue_takes_nothing_and_wakes_the_task() {
    let (queue, wakes) = slept_on();

    queue.close();
    queue.close();
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert!(queue.is_closed());
    assert_eq!(queue.push(request(1)), Err(SubmitError::Closed));
    assert_eq!(take(&queue).0, Poll::Ready(Taken::Closed));
}

#[test]
fn what_waited_at_the_close_can_still_be_answered() {
    let queue = Queue::new();
    queue.push(request(7)).unwrap();
    queue.close();
    let rest = queue.take_rest();
    assert!(matches!(
        rest.front(),
        Some(Submission::Request(RequestId(7), _))
    ));
    assert_eq!(rest.len(), 1);
}

fn forwarded(packets: usize) -> Submission<()> {
    let format = SourceFormat {
        kind: Kind::Video,
        codecs: Vec::new(),
        extensions: BTreeMap::new(),
        rids: Vec::new(),
    };
    let burst = Burst {
        format: Arc::new(format),
        run: 1,
        clock: None,
        packets: Vec::new(),
    };
    let message = ToSink::Packets(Arc::new(burst), 0..packets);
    Submission::Forward(ForwardMessage::ToSink(ForwardId(1), message))
}

fn forward_end() -> Submission<()> {
    let message = ToSink::End(ForwardEnd::Stopped);
    Submission::Forward(ForwardMessage::ToSink(ForwardId(1), message))
}

#[test]
fn forwarded_packets_have_a_bound_of_their_own_counted_by_the_packet() {
    let queue = Queue::new();
    for _ in 0..MAX_WAITING_FORWARDED / 64 {
        queue.push(forwarded(64)).unwrap();
    }
    assert_eq!(queue.push(forwarded(1)), Err(SubmitError::Busy));
    assert_eq!(queue.dropped_packets(), 0, "counted with the forward");
    // Neither the program's packets nor the end of a forward are kept out.
    queue.push(packet(1)).unwrap();
    queue.push(forward_end()).unwrap();
    assert_eq!(take(&queue).0, Poll::Ready(Taken::Burst));
    queue.push(forwarded(64)).unwrap();
}

#[test]
fn what_the_ends_of_forwards_ask_for_is_bounded() {
    let keyframe =
        || Submission::<()>::Forward(ForwardMessage::ToSource(ForwardId(1), ToSource::Keyframe));
    let queue = Queue::new();
    for _ in 0..MAX_WAITING_FEEDBACK {
        queue.push(keyframe()).unwrap();
    }
    assert_eq!(queue.push(keyframe()), Err(SubmitError::Busy));
    queue.push(request(1)).unwrap();
}
