//! TCP and TLS connections of a connection's task: polled by it, cut into messages, bounded.

mod connect;
mod send_queue;

pub use connect::{Security, connect, connect_from, connect_over};
pub use send_queue::{GivenUp, Worth};

use send_queue::SendQueue;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Read at a time, and in one turn at most [`READS`] times.
const READ: usize = 16 << 10;
const READS: usize = 16;

/// What TCP and TLS have in common.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> ByteStream for T {}

/// A stream that was opened, with the address it has on our side.
pub struct Opened {
    /// Our side.
    pub local: SocketAddr,
    /// The bytes.
    pub io: Box<dyn ByteStream>,
}

/// A stream on its way.
pub type Opening = Pin<Box<dyn Future<Output = io::Result<Opened>>>>;

/// How a stream is cut into messages: the length of the one at the front, header and padding
/// included, once it can be told. `Err` ends the stream.
pub type Framing = fn(&[u8]) -> Result<Option<usize>, ()>;

enum State {
    Opening(Opening),
    Open(Box<dyn ByteStream>),
    Closed,
}

/// See the module.
pub struct Stream {
    state: State,
    framing: Framing,
    local: Option<SocketAddr>,
    inbound: Vec<u8>,
    outbound: SendQueue,
}

/// What a turn with a stream came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing until the task is woken.
    Idle,
    /// Something came or went.
    Worked,
    /// It is over, for this reason. Told once.
    Ended(String),
}

impl Stream {
    /// A stream that is being opened. What is written meanwhile waits.
    pub fn opening(opening: Opening, framing: Framing) -> Self {
        Self::new(State::Opening(opening), None, framing)
    }

    /// A stream that is there already.
    pub fn open(opened: Opened, framing: Framing) -> Self {
        Self::new(State::Open(opened.io), Some(opened.local), framing)
    }

    fn new(state: State, local: Option<SocketAddr>, framing: Framing) -> Self {
        Self {
            state,
            framing,
            local,
            inbound: Vec::new(),
            outbound: SendQueue::default(),
        }
    }

    /// Our side, once it is open.
    pub fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Cuts what comes from now on in another way.
    pub fn set_framing(&mut self, framing: Framing) {
        self.framing = framing;
    }

    /// Takes one message to be written, framed already and in parts; false where too much waits.
    pub fn write(&mut self, now: Instant, parts: &[&[u8]], worth: Worth) -> bool {
        !matches!(self.state, State::Closed) && self.outbound.push(now, parts, worth)
    }

    /// Gives up what was not written.
    pub fn abandon(&mut self) {
        self.outbound.clear();
    }

    /// The messages that were given up since the last call.
    pub fn take_given_up(&mut self) -> GivenUp {
        self.outbound.take_given_up()
    }

    /// Opens, writes and reads what can be; the task is woken when there is more. Every whole
    /// message is handed to `each`.
    pub fn poll(&mut self, cx: &mut Context<'_>, mut each: impl FnMut(&mut [u8])) -> Turn {
        let mut worked = false;
        if let State::Opening(opening) = &mut self.state {
            match opening.as_mut().poll(cx) {
                Poll::Pending => return Turn::Idle,
                Poll::Ready(Ok(opened)) => {
                    self.local = Some(opened.local);
                    self.state = State::Open(opened.io);
                    worked = true;
                }
                Poll::Ready(Err(error)) => return self.end(error.to_string()),
            }
        }
        let State::Open(io) = &mut self.state else {
            return Turn::Idle;
        };
        match write(io, cx, &mut self.outbound) {
            Ok(wrote) => worked |= wrote,
            Err(error) => return self.end(error.to_string()),
        }
        for _ in 0..READS {
            let State::Open(io) = &mut self.state else {
                break;
            };
            match read(io, cx, &mut self.inbound) {
                Poll::Pending => {
                    return if worked { Turn::Worked } else { Turn::Idle };
                }
                Poll::Ready(Ok(0)) => return self.end("closed by the other side".to_owned()),
                Poll::Ready(Ok(_)) => worked = true,
                Poll::Ready(Err(error)) => return self.end(error.to_string()),
            }
            if cut(self.framing, &mut self.inbound, &mut each).is_err() {
                return self.end("bytes that are no message".to_owned());
            }
        }
        // There may be more: nothing registered the task with the stream.
        cx.waker().wake_by_ref();
        Turn::Worked
    }

    fn end(&mut self, reason: String) -> Turn {
        self.state = State::Closed;
        self.inbound = Vec::new();
        self.outbound.clear();
        Turn::Ended(reason)
    }
}

fn write(
    io: &mut Box<dyn ByteStream>,
    cx: &mut Context<'_>,
    outbound: &mut SendQueue,
) -> io::Result<bool> {
    let mut worked = false;
    while !outbound.front().is_empty() {
        match Pin::new(&mut *io).poll_write(cx, outbound.front()) {
            Poll::Pending => return Ok(worked),
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(count)) => {
                outbound.advance(count);
                worked = true;
            }
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    // TLS keeps records back until it is flushed.
    match Pin::new(io).poll_flush(cx) {
        Poll::Ready(Err(error)) => Err(error),
        Poll::Ready(Ok(())) | Poll::Pending => Ok(worked),
    }
}

fn read(
    io: &mut Box<dyn ByteStream>,
    cx: &mut Context<'_>,
    inbound: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    let before = inbound.len();
    inbound.resize(before + READ, 0);
    let mut count = 0;
    let outcome = match inbound.get_mut(before..) {
        Some(room) => {
            let mut buffer = ReadBuf::new(room);
            let outcome = Pin::new(io).poll_read(cx, &mut buffer);
            count = buffer.filled().len();
            outcome
        }
        None => Poll::Pending,
    };
    inbound.truncate(before + count);
    if inbound.is_empty() {
        // An idle stream holds no memory.
        *inbound = Vec::new();
    }
    outcome.map_ok(|()| count)
}

/// Hands over the whole messages at the front.
fn cut(
    framing: Framing,
    inbound: &mut Vec<u8>,
    each: &mut impl FnMut(&mut [u8]),
) -> Result<(), ()> {
    let mut at = 0;
    while let Some(length) = framing(inbound.get(at..).unwrap_or_default())? {
        let Some(message) = inbound.get_mut(at..at + length) else {
            break;
        };
        each(message);
        at += length;
    }
    inbound.drain(..at);
    Ok(())
}

#[cfg(test)]
mod tests;
