//! The border between the BEAM and the engine. No other crate knows what a term is, and nothing
//! here knows what WebRTC is.
//!
//! | module | what it does |
//! |---|---|
//! | [`nifs`] | the functions of `ExWebRTC.Native`: decode, enqueue, `:ok` |
//! | [`resource`] | the handle of a connection and the `ref` of a data channel |
//! | [`mailbox`] | what is told to the BEAM, in order |
//! | [`outlet`] | the only code that sends to the BEAM |
//! | [`delivery`] | received media: messages, batches, what waits for credit |
//! | [`flow`] | the credit, and the packets that wait for it |
//! | [`payloads`] | the memory that payloads share |
//! | [`logger`] | what the native side logs, for `Logger` |
//! | [`shared_port`] | UDP ports that connections share |
//! | [`terms`] | how each type looks as a term, both ways |
//! | [`atoms`] | every atom that is not a state or an error |
//!
//! **A call**: `ExWebRTC.PeerConnection.Server` → [`nifs`] decodes a command with [`terms::command`]
//! → the connection's shard → the engine → [`mailbox::Mailbox`] → `{:ex_webrtc_reply, id, result}`.
//!
//! **A packet**: the shard's receive batch → the engine → [`mailbox::Mailbox`] → straight to the
//! controlling process, built by [`terms::rtp`].

mod atoms;
mod delivery;
mod flow;
mod logger;
mod mailbox;
mod nifs;
mod outlet;
mod payloads;
mod resource;
mod shared_port;
mod terms;

/// Of this library alone: the BEAM has its own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

rustler::init!("Elixir.ExWebRTC.Native");
