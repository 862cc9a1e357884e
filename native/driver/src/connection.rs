//! The handle of a connection.

use crate::mailbox::Mailbox;
use crate::queue::{Queue, Submission};
use crate::shard::forwards::far::FarMessage;
use crate::shard::forwards::wire::Said;
use crate::shard::forwards::{ForwardMessage, Link, Opening};
use bytes::Bytes;
use engine::command::{Command, OutgoingData, OutgoingRtp};
use engine::ids::{ForwardId, RequestId, Rid, SenderId, TrackId};
use engine::media::{ForwardName, SourceOptions};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Why a submission was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The connection's queue has no room for more of this kind.
    #[error("the connection is busy")]
    Busy,
    /// The connection is gone, or on its way out.
    #[error("the connection is closed")]
    Closed,
}

/// A connection as the rest of the program sees it.
///
/// Clones name the same connection. Every method only enqueues: it never blocks on the shard and
/// can be called from any thread, also from a destructor on a BEAM scheduler. What one thread
/// submits, of whatever kind, is carried out in that order.
///
/// When the last clone is dropped, the connection closes.
pub struct Connection<M: Mailbox> {
    handle: Arc<Handle<M>>,
}

/// Its drop is "the last clone was dropped": the shard's side shares the queue, never the handle.
struct Handle<M: Mailbox> {
    queue: Arc<Queue<M>>,
}

impl<M: Mailbox> Drop for Handle<M> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl<M: Mailbox> Clone for Connection<M> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
        }
    }
}

impl<M: Mailbox> fmt::Debug for Connection<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl<M: Mailbox> Connection<M> {
    pub(crate) fn new(queue: Arc<Queue<M>>) -> Self {
        Self {
            handle: Arc::new(Handle { queue }),
        }
    }

    /// Asks for something; the answer is [`engine::event::Sink::reply`] with the same `id`. Every
    /// request that was taken gets exactly one, unless the connection panics.
    ///
    /// # Errors
    /// `Busy` when too many requests wait, `Closed`.
    pub fn request(&self, id: RequestId, command: Command) -> Result<(), SubmitError> {
        self.handle.queue.push(Submission::Request(id, command))
    }

    /// Sends one RTP packet.
    ///
    /// # Errors
    /// `Busy` when the packet was dropped because too many wait (counted by
    /// [`Self::dropped_packets`]), `Closed`.
    pub fn send_rtp(&self, track: TrackId, packet: OutgoingRtp) -> Result<(), SubmitError> {
        self.handle.queue.push(Submission::Rtp(track, packet))
    }

    /// Sends RTP packets, at once and in this order.
    ///
    /// # Errors
    /// `Busy` when some of them were dropped because too many wait, `Closed`.
    pub fn send_rtp_batch(&self, packets: Vec<(TrackId, OutgoingRtp)>) -> Result<(), SubmitError> {
        self.handle.queue.push_packets(packets)
    }

    /// Forwards packets of a received track to a sender of `sink`, which may be this connection;
    /// answered like a request, when both have agreed. It ends with either, and is stopped with
    /// [`Command::StopForward`].
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn forward(
        &self,
        request: RequestId,
        name: ForwardName,
        options: SourceOptions,
        sink: &Self,
        sender: SenderId,
    ) -> Result<(), SubmitError> {
        let sink = Link::Here(Arc::clone(&sink.handle.queue));
        self.open_forward(Opening {
            request,
            name,
            options,
            sink,
            sender,
        })
    }

    /// As [`Self::forward`] with a sink in another VM, which is told by
    /// [`Mailbox::forward_elsewhere`].
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn forward_elsewhere(
        &self,
        request: RequestId,
        name: ForwardName,
        options: SourceOptions,
        sender: SenderId,
    ) -> Result<(), SubmitError> {
        self.open_forward(Opening {
            request,
            name,
            options,
            sink: Link::elsewhere(),
            sender,
        })
    }

    fn open_forward(&self, opening: Opening<M>) -> Result<(), SubmitError> {
        let open = ForwardMessage::Open(Box::new(opening));
        self.handle.queue.push(Submission::Forward(open))
    }

    /// The other end of a forward, in another VM, is gone.
    ///
    /// # Errors
    /// `Closed`
    pub fn forward_lost(&self, id: ForwardId) -> Result<(), SubmitError> {
        let lost = ForwardMessage::Far(id, FarMessage::Gone);
        self.handle.queue.push(Submission::Forward(lost))
    }

    /// So many packets were lost on their way to the other end of a forward, in another VM.
    ///
    /// # Errors
    /// `Busy` when too much of this kind waits, `Closed`.
    pub fn forward_refused(&self, id: ForwardId, packets: usize) -> Result<(), SubmitError> {
        let refused = ForwardMessage::Far(id, FarMessage::Refused(packets));
        self.handle.queue.push(Submission::Forward(refused))
    }

    /// Asks the peer for a keyframe of a received track.
    ///
    /// # Errors
    /// As [`Self::send_rtp`].
    pub fn send_pli(&self, track: TrackId, rid: Option<Rid>) -> Result<(), SubmitError> {
        self.handle.queue.push(Submission::Pli(track, rid))
    }

    /// Sends an RTCP packet, encoded.
    ///
    /// # Errors
    /// As [`Self::send_rtp`].
    pub fn send_rtcp(&self, packet: Bytes) -> Result<(), SubmitError> {
        self.handle.queue.push(Submission::Rtcp(packet))
    }

    /// Sends a data channel message, whose bytes the caller has charged to the channel's account.
    ///
    /// # Errors
    /// `Busy` when too many messages wait to be taken, `Closed`. The message was then not taken
    /// and its charge is the caller's to take back.
    pub fn send_data(&self, data: OutgoingData) -> Result<(), SubmitError> {
        self.handle.queue.push(Submission::Data(data))
    }

    /// Changes the mailbox, between the output of what was submitted before and after.
    ///
    /// # Errors
    /// `Busy` when too many requests wait, `Closed`.
    pub fn with_mailbox(
        &self,
        change: impl FnOnce(&mut M) + Send + 'static,
    ) -> Result<(), SubmitError> {
        self.handle
            .queue
            .push(Submission::Mailbox(Box::new(change)))
    }

    /// Closes the connection now, whoever else holds it. Idempotent.
    ///
    /// What is still in the queue is not carried out; requests in it are answered with `Closed`.
    pub fn shutdown(&self) {
        self.handle.queue.close();
    }

    /// Whether nothing can be submitted any more.
    pub fn is_closed(&self) -> bool {
        self.handle.queue.is_closed()
    }

    /// RTP and RTCP packets that were refused because too many waited.
    pub fn dropped_packets(&self) -> u64 {
        self.handle.queue.dropped_packets()
    }
}

/// Takes what [`Mailbox::forward_elsewhere`] was given in another VM, for each of `to`: a forward, the
/// connection here that is its end, and which of the packets are for it. A message of a forward that
/// does not exist is ignored.
///
/// Returns those that did not take it: `Busy` when packets were dropped because too many wait,
/// `Closed`. `None` for bytes that nothing can be made of.
pub fn forward_in<'a, M: Mailbox>(
    bytes: &Bytes,
    to: impl IntoIterator<Item = (ForwardId, &'a Connection<M>, Range<usize>)>,
) -> Option<Vec<(ForwardId, SubmitError)>> {
    let said = Said::decode(bytes)?;
    let told = to.into_iter().filter_map(|(id, connection, range)| {
        let message = Submission::Forward(said.message(id, range));
        let refused = connection.handle.queue.push(message).err()?;
        Some((id, refused))
    });
    Some(told.collect())
}
