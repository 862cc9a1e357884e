//! Where a connection's output goes.

use engine::ids::ForwardId;
use std::ops::Range;

/// What a message to the other end of a forward is, when that end is in another VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// The first one: a source offers itself to a sink.
    Attach,
    /// Must arrive.
    Control,
    /// May be lost: it is said again.
    Feedback,
    /// Media. What is lost is counted by [`crate::Connection::forward_refused`].
    Packets,
    /// Must arrive, and is the last one from here.
    End,
}

/// Takes what one connection tells, in the order it happens, on the thread of its shard.
///
/// The border implements it with messages to BEAM processes, tests and benches with channels. It
/// must not block. A panic in it is treated as a panic of the connection.
pub trait Mailbox: engine::event::Sink + Send + 'static {
    /// What had arrived by now was told: a mailbox that collects packets sends them on.
    fn turn_ended(&mut self) {}

    /// Whether messages of data channels were told since it was last asked.
    fn told_messages(&mut self) -> bool {
        false
    }

    /// For the other ends of forwards, which are in other VMs: `bytes` go to [`crate::forward_in`]
    /// there, in the order of each forward. Several forwards only of what a source says, so that one
    /// copy is enough for each VM; which of the packets in it a sink takes is its range. Only for
    /// mailboxes of connections that [`crate::Connection::forward_elsewhere`] or `forward_in` was
    /// called for.
    fn forward_elsewhere(
        &mut self,
        to: &[(ForwardId, Range<usize>)],
        what: Elsewhere,
        bytes: &[u8],
    ) {
        let _ = (to, what, bytes);
    }

    /// RTP and RTCP packets that were dropped because nobody took them, so far.
    fn dropped_packets(&self) -> u64 {
        0
    }

    /// The connection's step panicked, or its engine could not be made: it is gone. Nothing but
    /// [`Self::closed`] follows.
    fn panicked(&mut self, text: &str);

    /// The connection has left its shard and its sockets are closed: the last call.
    fn closed(&mut self) {}
}
