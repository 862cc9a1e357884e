//! What Elixir holds of the native side: the handle of a connection, the `ref` of a channel.

use crate::flow::Credit;
use crate::mailbox::Mailbox;
use driver::Connection;
use engine::channels::SendAccount;
use engine::command::ChannelHandle;
use engine::ids::ChannelId;
use rustler::{Env, LocalPid, Monitor, Resource, ResourceArc, Term};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Numbers connections for the life of the VM, so that a channel's `ref` is not mistaken for a
/// channel of another connection.
static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(1);

/// Which connection a channel belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionNumber(u64);

impl ConnectionNumber {
    /// A number that no other connection has.
    pub fn next() -> Self {
        Self(NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed))
    }
}

/// The only way to a connection. Dropping the last one removes the connection from its shard.
pub struct Handle {
    /// Enqueues for the shard.
    pub connection: Connection<Mailbox>,
    /// Which connection it is.
    pub number: ConnectionNumber,
    /// What its controlling process takes.
    pub credit: Arc<Credit>,
}

#[rustler::resource_impl]
impl Resource for Handle {
    const IMPLEMENTS_DOWN: bool = true;

    /// The GenServer died. Other processes may hold the handle still (the fast path's table), so
    /// the connection is told instead of waiting for the last reference.
    fn down<'a>(&'a self, _env: Env<'a>, _pid: LocalPid, _monitor: Monitor) {
        self.connection.shutdown();
    }
}

/// A data channel's `ref`.
pub struct ChannelRef {
    number: ConnectionNumber,
    id: ChannelId,
    account: Arc<SendAccount>,
    /// Whether the control plane was told that the channel is open. `send_data/4` asks it, so that
    /// sending on a channel that is not open costs the connection nothing.
    open: AtomicBool,
}

#[rustler::resource_impl]
impl Resource for ChannelRef {}

impl ChannelRef {
    /// The `ref` of a channel of this connection.
    pub fn new(number: ConnectionNumber, handle: &ChannelHandle) -> Self {
        Self {
            number,
            id: handle.id,
            account: Arc::clone(&handle.account),
            open: AtomicBool::new(false),
        }
    }

    /// The channel, if it is one of this connection.
    pub fn id_in(&self, number: ConnectionNumber) -> Option<ChannelId> {
        (self.number == number).then_some(self.id)
    }

    /// The unsent bytes.
    pub fn account(&self) -> &SendAccount {
        &self.account
    }

    /// Notes what the control plane is about to be told.
    pub fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
    }

    /// Whether messages may be sent.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire) && !self.account.is_closed()
    }
}

/// Stands for a `ref` that is no channel of the connection. The engine counts channels from 0
/// and does not get here: each of the 65,535 streams would have to be reused 65,537 times.
const NO_CHANNEL: ChannelId = ChannelId(u32::MAX);

/// The channel that a `ref` means in this connection. A reference of the BEAM, or a channel of
/// another connection, is a channel that does not exist; anything else is a wrong argument.
pub fn channel_id(term: Term<'_>, number: ConnectionNumber) -> rustler::NifResult<ChannelId> {
    if let Ok(channel) = term.decode::<ResourceArc<ChannelRef>>() {
        return Ok(channel.id_in(number).unwrap_or(NO_CHANNEL));
    }
    if term.is_ref() {
        Ok(NO_CHANNEL)
    } else {
        Err(rustler::Error::BadArg)
    }
}
