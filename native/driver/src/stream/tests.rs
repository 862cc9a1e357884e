use super::*;
use std::sync::{Arc, Mutex};
use std::task::Waker;

/// Gives out and takes in a few bytes at a time.
#[derive(Default)]
struct Trickle {
    give: Vec<u8>,
    taken: Arc<Mutex<Vec<u8>>>,
    over: bool,
}

impl AsyncRead for Trickle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.give.is_empty() {
            return if self.over {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        }
        let count = self.give.len().min(3);
        let given: Vec<u8> = self.give.drain(..count).collect();
        buffer.put_slice(&given);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Trickle {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(5);
        self.taken
            .lock()
            .unwrap()
            .extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// One byte of length, then that many.
fn framing(front: &[u8]) -> Result<Option<usize>, ()> {
    match front {
        [] => Ok(None),
        [255, ..] => Err(()),
        [length, ..] => Ok(Some(1 + usize::from(*length))),
    }
}

fn open(io: Trickle) -> Stream {
    let opened = Opened {
        local: "127.0.0.1:1".parse().unwrap(),
        io: Box::new(io),
    };
    Stream::open(opened, framing)
}

fn write(stream: &mut Stream, message: &[u8]) -> bool {
    stream.write(Instant::now(), &[message], Worth::Kept)
}

fn turn(stream: &mut Stream) -> (Turn, Vec<Vec<u8>>) {
    let mut messages = Vec::new();
    let turn = stream.poll(&mut Context::from_waker(Waker::noop()), |message| {
        messages.push(message.to_vec());
    });
    (turn, messages)
}

#[test]
fn messages_come_whole_however_the_bytes_are_split() {
    let mut stream = open(Trickle {
        give: b"\x05hello\x00\x03abc\x02x".to_vec(),
        ..Trickle::default()
    });
    let (worked, messages) = turn(&mut stream);
    assert_eq!(worked, Turn::Worked);
    assert_eq!(
        messages,
        [b"\x05hello".to_vec(), vec![0], b"\x03abc".to_vec()]
    );
    assert_eq!(turn(&mut stream), (Turn::Idle, Vec::new()));
}

#[test]
fn what_is_written_leaves_in_order_also_what_was_written_before_it_opened() {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let io = Trickle {
        taken: Arc::clone(&taken),
        ..Trickle::default()
    };
    let local = "127.0.0.1:1".parse().unwrap();
    let mut stream = Stream::opening(
        Box::pin(async move {
            Ok(Opened {
                local,
                io: Box::new(io),
            })
        }),
        framing,
    );
    assert!(write(&mut stream, b"\x05hello"));
    assert_eq!(stream.local(), None);
    assert_eq!(turn(&mut stream).0, Turn::Worked);
    assert_eq!(stream.local(), Some(local));
    assert!(write(&mut stream, b"\x01x"));
    turn(&mut stream);
    assert_eq!(*taken.lock().unwrap(), b"\x05hello\x01x");
}

#[test]
fn bytes_that_are_no_message_and_the_end_of_the_stream_end_it_once() {
    for give in [vec![255], Vec::new()] {
        let mut stream = open(Trickle {
            give,
            over: true,
            ..Trickle::default()
        });
        assert!(matches!(turn(&mut stream).0, Turn::Ended(_)));
        assert_eq!(turn(&mut stream).0, Turn::Idle);
        assert!(!write(&mut stream, b"\x00"));
    }
}

#[test]
fn what_nobody_takes_is_bounded() {
    let opening = Box::pin(std::future::pending());
    let mut stream = Stream::opening(opening, framing);
    let message = vec![200; 64 << 10];
    let taken = (0..100)
        .take_while(|_| write(&mut stream, &message))
        .count();
    assert_eq!(taken, send_queue::MAX_WAITING / message.len());
}
