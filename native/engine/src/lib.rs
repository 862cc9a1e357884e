//! A WebRTC connection as a sans-I/O state machine.
//!
//! | room | what it does |
//! |---|---|
//! | [`negotiation`] | JSEP: descriptions, transceivers, codecs; pure, no clock, no packet |
//! | [`transport`] | ICE, DTLS, SRTP: one validated, encrypted path |
//! | [`media`] | RTP and RTCP: routing, repair, feedback, reports |
//! | [`channels`] | data channels over SCTP |
//! | [`Engine`] | composes the rooms; the only thing a driver talks to |
//!
//! Rule of the house: mutate once, then drain. Every entry point takes the time, does its work,
//! and leaves datagrams in the [`outbox::Outbox`], messages in the [`event::Sink`] and requests
//! to the driver in [`Engine::poll_action`].

pub mod address;
pub mod channels;
pub mod command;
pub mod config;
pub mod error;
pub mod event;
pub mod ids;
pub mod media;
pub mod negotiation;
pub mod outbox;
pub mod plan;
pub mod stats;
pub mod transport;
pub mod w3c;

mod engine;
pub use engine::{Engine, SourceOffer};
