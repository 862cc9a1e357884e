use super::*;
use std::task::Wake;

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

fn local() -> SocketAddr {
    ([10, 0, 0, 1], 3478).into()
}

fn remote(port: u16) -> SocketAddr {
    ([10, 0, 0, 2], port).into()
}

/// What is in the inbox, with the port it came from.
fn taken(inbox: &Inbox) -> Vec<(u16, Vec<u8>)> {
    let mut arrived = Outbox::default();
    let _ = inbox.poll_take(&Context::from_waker(Waker::noop()), &mut arrived);
    let bytes = &arrived.bytes;
    arrived
        .segments
        .iter()
        .map(|it| {
            assert_eq!(it.local, local().into());
            let datagram = bytes[it.offset..it.offset + it.length].to_vec();
            (it.remote.port(), datagram)
        })
        .collect()
}

#[test]
fn what_a_batch_brings_for_several_connections_comes_in_order_to_each() {
    let inboxes = [Arc::new(Inbox::new(0)), Arc::new(Inbox::new(1))];
    let mut run = Run::new();
    let mut expected = [Vec::new(), Vec::new()];
    for number in 0..100u16 {
        let at = usize::from(number / 3 % 2);
        let datagram = vec![number as u8; usize::from(number)];
        run.add(
            &inboxes[at],
            Sender::Known,
            local(),
            remote(number),
            &datagram,
        );
        expected[at].push((number, datagram));
    }
    assert_eq!(run.finish(), 0);
    for (inbox, expected) in inboxes.iter().zip(expected) {
        assert_eq!(taken(inbox), expected);
        assert_eq!(taken(inbox), []);
    }
}

#[test]
fn a_task_that_sleeps_is_woken_once_a_burst() {
    let inbox = Arc::new(Inbox::new(0));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut arrived = Outbox::default();
    let context = Context::from_waker(&waker);
    assert!(inbox.poll_take(&context, &mut arrived).is_pending());
    for _ in 0..3 {
        let mut run = Run::new();
        run.add(&inbox, Sender::Known, local(), remote(1), b"datagram");
        run.finish();
    }
    assert_eq!(woken.0.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(taken(&inbox).len(), 3);
}

#[test]
fn what_waits_is_bounded_in_number_and_size() {
    let inbox = Arc::new(Inbox::new(0));
    let mut dropped = 0;
    for _ in 0..3 * MAX_WAITING {
        let mut run = Run::new();
        run.add(&inbox, Sender::Known, local(), remote(1), b"x");
        dropped += run.finish();
    }
    assert_eq!(dropped, 2 * MAX_WAITING as u64);
    assert_eq!(taken(&inbox).len(), MAX_WAITING);

    let large = vec![0; 60_000];
    let mut dropped = 0;
    for _ in 0..100 {
        let mut run = Run::new();
        run.add(&inbox, Sender::Known, local(), remote(1), &large);
        dropped += run.finish();
    }
    let waiting = taken(&inbox);
    assert_eq!(waiting.len() as u64 + dropped, 100);
    assert!(waiting.len() * large.len() <= MAX_WAITING_BYTES);
}

#[test]
fn a_flood_of_strangers_keeps_nothing_out() {
    let inbox = Arc::new(Inbox::new(0));
    for _ in 0..10 * MAX_WAITING {
        let mut run = Run::new();
        run.add(&inbox, Sender::Stranger, local(), remote(6), b"check");
        run.finish();
    }
    let mut run = Run::new();
    for _ in 0..MAX_WAITING - MAX_WAITING_FOR_STRANGERS {
        run.add(&inbox, Sender::Known, local(), remote(1), b"media");
    }
    assert_eq!(run.finish(), 0);
    let of_strangers = taken(&inbox).iter().filter(|(port, _)| *port == 6).count();
    assert_eq!(of_strangers, MAX_WAITING_FOR_STRANGERS);
}

#[test]
fn a_closed_connection_takes_nothing() {
    let inbox = Arc::new(Inbox::new(0));
    inbox.close();
    let mut run = Run::new();
    run.add(&inbox, Sender::Known, local(), remote(1), b"late");
    run.finish();
    assert_eq!(taken(&inbox), []);
}

#[test]
fn a_connection_keeps_little_memory_after_a_burst() {
    let inbox = Arc::new(Inbox::new(0));
    let mut arrived = Outbox::default();
    let context = Context::from_waker(Waker::noop());
    for size in [1 << 20, 100, 100] {
        let mut run = Run::new();
        for _ in 0..3 {
            run.add(
                &inbox,
                Sender::Known,
                local(),
                remote(1),
                &vec![0; size / 4],
            );
        }
        run.finish();
        assert!(inbox.poll_take(&context, &mut arrived).is_ready());
        put_back(&mut arrived);
        assert!(arrived.bytes.capacity() <= OWN_ARENA);
        assert!(inbox.lock().datagrams.bytes.capacity() <= OWN_ARENA);
    }
}
