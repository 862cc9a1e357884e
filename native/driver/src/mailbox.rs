//! Where a connection's output goes.

/// Takes what one connection tells, in the order it happens, on the thread of its shard.
///
/// The border implements it with messages to BEAM processes, tests and benches with channels. It
/// must not block. A panic in it is treated as a panic of the connection.
pub trait Mailbox: engine::event::Sink + Send + 'static {
    /// What had arrived by now was told: a mailbox that collects packets sends them on.
    fn turn_ended(&mut self) {}

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
