//! Shard threads that own engines, their sockets, timers and candidate gathering.
//!
//! | module | what it does |
//! |---|---|
//! | [`Runtime`] | the shard threads, and which one takes a new connection |
//! | [`Connection`] | the handle: submits from any thread, closes when the last one is dropped |
//! | `queue` | bounded way from the handles of a connection to its shard |
//! | `shard` | the event loop: one task per connection, its sockets, its timer |
//! | `mux` | UDP ports that connections of all shards share |
//! | `gather` | candidates: host, server-reflexive, relayed, `.local` names |
//! | `stream` | TCP and TLS, cut into messages |
//! | `tcp` | ICE-TCP: listeners, and the connections of candidate pairs |
//! | `panic_guard` | what a panic in one connection's step does, and what it does not |
//!
//! A connection lives on one shard for all its life and is owned by its task there: an
//! [`engine::Engine`], its sockets and its [`Mailbox`], by value. The only thing that two threads
//! share is the queue, and the inbox of a connection on a shared port.

// Tests may stop at what they did not expect.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod connection;
mod gather;
mod mailbox;
mod mux;
mod panic_guard;
mod queue;
mod runtime;
mod shard;
mod stream;
mod tcp;

pub use connection::{Connection, SubmitError, forward_in};
pub use gather::interfaces::{host_addresses, known_host_addresses};
pub use mailbox::{Elsewhere, Mailbox};
pub use mux::{PortLease, PortStats};
pub use runtime::{OpenError, Runtime, RuntimeOptions};
