//! The way from the handles of a connection to its shard: bounded, ordered, one wake-up a burst.

use crate::connection::SubmitError;
use crate::shard::forwards::ForwardMessage;
use crate::shard::forwards::far::FarMessage;
use bytes::Bytes;
use engine::command::{Command, OutgoingData, OutgoingRtp};
use engine::ids::{RequestId, Rid, TrackId};
use engine::media::{ToSink, ToSource};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Requests that may wait in one connection. A process has a handful open at a time; a program
/// that piles up this many has to hear that nobody answers.
pub const MAX_WAITING_REQUESTS: usize = 1024;

/// RTP and RTCP packets that may wait in one connection: 50 ms of 80,000 packets a second. Media
/// that waited longer is better not sent at all.
pub const MAX_WAITING_PACKETS: usize = 4096;

/// Forwarded packets that may wait in one connection, for the same reason as many. They have a
/// bound of their own: a program that floods does not push out what is forwarded, nor that the
/// program.
pub const MAX_WAITING_FORWARDED: usize = 4096;

/// Keyframe requests and bitrates that the ends of forwards may have told each other: said again
/// when they are dropped.
const MAX_WAITING_FEEDBACK: usize = 4096;

/// Data channel messages that may wait in one connection. Their bytes are bounded by each
/// channel's account; this bounds the empty ones and the memory around the small ones.
pub const MAX_WAITING_MESSAGES: usize = 262_144;

/// What a handle, or a resolver, hands to the connection.
pub enum Submission<M> {
    /// `Connection::request`
    Request(RequestId, Command),
    /// `Connection::send_rtp`
    Rtp(TrackId, OutgoingRtp),
    /// `Connection::send_pli`
    Pli(TrackId, Option<Rid>),
    /// `Connection::send_rtcp`
    Rtcp(Bytes),
    /// `Connection::send_data`
    Data(OutgoingData),
    /// `Connection::forward`, and what the ends of a forward say to each other.
    Forward(ForwardMessage<M>),
    /// `Connection::with_mailbox`
    Mailbox(Box<dyn FnOnce(&mut M) + Send>),
    /// A `.local` name was looked up.
    MdnsResolved(String, Option<IpAddr>),
    /// The name of an ICE server was looked up, for the gathering round `generation`.
    ServerResolved {
        /// Which round asked.
        generation: u32,
        /// Which of the round's servers.
        server: usize,
        /// Its addresses, or what went wrong.
        addresses: Result<Vec<SocketAddr>, String>,
    },
}

impl<M> Submission<M> {
    fn is_packet(&self) -> bool {
        matches!(self, Self::Rtp(..) | Self::Pli(..) | Self::Rtcp(_))
    }
}

/// The queue of one connection.
///
/// A mutex around a deque, held for a push or a swap: the shard takes the whole burst at once,
/// an idle connection keeps no memory for it, and the bounds are exact.
pub struct Queue<M> {
    waiting: Mutex<Waiting<M>>,
    /// Set while packets are refused, so that a sender that floods does not fight the shard for
    /// the lock only to hear that again. Written under the lock.
    full: AtomicBool,
    dropped_packets: AtomicU64,
}

struct Waiting<M> {
    submissions: VecDeque<Submission<M>>,
    requests: usize,
    packets: usize,
    messages: usize,
    forwarded: usize,
    feedback: usize,
    closed: bool,
    /// Set while the connection's task sleeps; the first push of a burst takes it.
    waker: Option<Waker>,
}

/// What the shard finds in the queue.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The burst was moved out.
    Burst,
    /// The handles are gone: what was moved out is not to be carried out any more.
    Closed,
}

impl<M> Queue<M> {
    /// An empty queue, open.
    pub fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                submissions: VecDeque::new(),
                requests: 0,
                packets: 0,
                messages: 0,
                forwarded: 0,
                feedback: 0,
                closed: false,
                waker: None,
            }),
            full: AtomicBool::new(false),
            dropped_packets: AtomicU64::new(0),
        }
    }

    /// Nothing that can panic runs under the lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, Waiting<M>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends, or says why not.
    pub fn push(&self, submission: Submission<M>) -> Result<(), SubmitError> {
        if submission.is_packet() && self.full.load(Ordering::Relaxed) {
            self.dropped_packets.fetch_add(1, Ordering::Relaxed);
            return Err(SubmitError::Busy);
        }
        let waker = {
            let mut waiting = self.lock();
            if waiting.closed {
                // The submission is dropped after the lock: `submission` outlives the guard.
                return Err(SubmitError::Closed);
            }
            if let Err(error) = waiting.admit(&submission) {
                if submission.is_packet() {
                    self.full.store(true, Ordering::Relaxed);
                    self.dropped_packets.fetch_add(1, Ordering::Relaxed);
                }
                return Err(error);
            }
            waiting.submissions.push_back(submission);
            waiting.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Appends packets under one lock and with one wake-up; those that have no room are dropped
    /// and counted.
    pub fn push_packets(
        &self,
        packets: impl IntoIterator<Item = (TrackId, OutgoingRtp)>,
    ) -> Result<(), SubmitError> {
        let mut dropped = 0;
        let waker = {
            let mut waiting = self.lock();
            if waiting.closed {
                return Err(SubmitError::Closed);
            }
            for (track, packet) in packets {
                let submission = Submission::Rtp(track, packet);
                if waiting.admit(&submission).is_ok() {
                    waiting.submissions.push_back(submission);
                } else {
                    dropped += 1;
                }
            }
            if dropped > 0 {
                self.full.store(true, Ordering::Relaxed);
            }
            if waiting.submissions.is_empty() {
                None
            } else {
                waiting.waker.take()
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        if dropped > 0 {
            self.dropped_packets.fetch_add(dropped, Ordering::Relaxed);
            return Err(SubmitError::Busy);
        }
        Ok(())
    }

    /// Closes for good; the shard finds out at once.
    pub fn close(&self) {
        let waker = {
            let mut waiting = self.lock();
            waiting.closed = true;
            self.full.store(false, Ordering::Relaxed);
            waiting.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether [`Self::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// RTP and RTCP packets refused so far.
    pub fn dropped_packets(&self) -> u64 {
        self.dropped_packets.load(Ordering::Relaxed)
    }

    /// Moves everything that waits into `burst`, which must be empty; the task is woken by the
    /// next push otherwise.
    pub fn poll_take(&self, cx: &Context<'_>, burst: &mut VecDeque<Submission<M>>) -> Poll<Taken> {
        debug_assert!(
            burst.is_empty(),
            "a burst is finished before the next one is taken"
        );
        let mut waiting = self.lock();
        if waiting.submissions.is_empty() && !waiting.closed {
            match &mut waiting.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        std::mem::swap(&mut waiting.submissions, burst);
        waiting.requests = 0;
        waiting.packets = 0;
        waiting.messages = 0;
        waiting.forwarded = 0;
        waiting.feedback = 0;
        self.full.store(false, Ordering::Relaxed);
        Poll::Ready(if waiting.closed {
            Taken::Closed
        } else {
            Taken::Burst
        })
    }

    /// Moves out what waits, for a connection that has ended.
    pub fn take_rest(&self) -> VecDeque<Submission<M>> {
        std::mem::take(&mut self.lock().submissions)
    }
}

impl<M> Waiting<M> {
    /// Counts a submission against the bound of its kind (`docs/architecture.md`, overflow).
    fn admit(&mut self, submission: &Submission<M>) -> Result<(), SubmitError> {
        let (count, bound, weight) = match submission {
            Submission::Request(..)
            | Submission::Mailbox(_)
            | Submission::Forward(ForwardMessage::Open(_)) => {
                (&mut self.requests, MAX_WAITING_REQUESTS, 1)
            }
            Submission::Rtp(..) | Submission::Pli(..) | Submission::Rtcp(_) => {
                (&mut self.packets, MAX_WAITING_PACKETS, 1)
            }
            Submission::Data(_) => (&mut self.messages, MAX_WAITING_MESSAGES, 1),
            Submission::Forward(
                ForwardMessage::ToSink(_, ToSink::Packets(_, range))
                | ForwardMessage::Far(_, FarMessage::Packets(_, range)),
            ) => (&mut self.forwarded, MAX_WAITING_FORWARDED, range.len()),
            Submission::Forward(
                ForwardMessage::ToSink(_, ToSink::Wanted(_))
                | ForwardMessage::Far(_, FarMessage::Refused(_))
                | ForwardMessage::ToSource(_, ToSource::Keyframe | ToSource::Budget(_)),
            ) => (&mut self.feedback, MAX_WAITING_FEEDBACK, 1),
            // Once for each forward, of which there are as many as requests were taken.
            Submission::Forward(
                ForwardMessage::Attach(_)
                | ForwardMessage::Attached(..)
                // A format as often as its source is negotiated.
                | ForwardMessage::Far(_, FarMessage::Format(_) | FarMessage::Gone)
                | ForwardMessage::ToSink(_, ToSink::End(_))
                | ForwardMessage::ToSource(_, ToSource::End(_)),
            ) => return Ok(()),
            // Answers to questions that the connection asked: bounded where it asks.
            Submission::MdnsResolved(..) | Submission::ServerResolved { .. } => return Ok(()),
        };
        if *count < bound {
            *count += weight;
            return Ok(());
        }
        Err(SubmitError::Busy)
    }
}

#[cfg(test)]
mod tests;
