//! Forwarding: packets that go from a received track of one connection to a sender of another,
//! without the program in between.
//!
//! The two ends know each other only by the number of their forward. [`Sources`] is the end that
//! receives: it decides which layer each forward gets, begins it at a keyframe, and hands out what
//! arrived in a turn, copied once, as a [`Burst`] that all its takers share. [`Sinks`] is the end
//! that sends: it makes one stream of what comes, whichever layer or track it is from. What one end
//! has for the other leaves as a [`ForwardOutput`]; the driver carries it.
//!
//! A gap stays a gap: a packet that is missing at the source keeps its number at the sink, so that
//! a repair finds its place, and loss is repaired on each hop by itself.

mod burst;
mod collected;
mod descriptor;
mod keyframe;
mod line;
mod rate;
mod select;
mod sink;
mod source;
mod stream;
mod track;

pub use self::burst::{Burst, ForwardedRtp, SourceClock, SourceFormat};
pub(super) use self::sink::{SinkCounters, Sinks, Way};
pub(super) use self::source::{Arrived, Sources};

use crate::error::Error;
use crate::ids::{ForwardId, Rid, SenderId, TrackId};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// Forwards of one connection, at either end. More viewers than this are not served by one
/// machine; a program that leaks forwards has to hear of it.
pub const MAX_FORWARDS: usize = 16_384;

/// What a forward is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardName {
    /// Between the two connections.
    pub id: ForwardId,
    /// For the control plane: kept and given back, never looked at.
    pub label: Bytes,
}

/// Which simulcast layer a forward gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerChoice {
    /// This one, and the best there is while it does not arrive.
    Rid(Rid),
    /// The best that fits what the sink's network carries.
    Auto,
}

/// Why a forward ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardEnd {
    /// `stop_forward/1`
    Stopped,
    /// The sink's sender takes another source now.
    Replaced,
    /// The source's transceiver was stopped: there is no such track any more.
    TrackEnded,
    /// The sink's transceiver was stopped.
    SenderStopped,
    /// The two negotiated no codec that both have.
    CodecMismatch,
    /// The connection of one end was closed, or its process ended.
    Closed,
}

impl ForwardEnd {
    /// Every reason.
    pub const ALL: &'static [Self] = &[
        Self::Stopped,
        Self::Replaced,
        Self::TrackEnded,
        Self::SenderStopped,
        Self::CodecMismatch,
        Self::Closed,
    ];

    /// The name of the atom.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Replaced => "replaced",
            Self::TrackEnded => "track_ended",
            Self::SenderStopped => "sender_stopped",
            Self::CodecMismatch => "codec_mismatch",
            Self::Closed => "closed",
        }
    }
}

/// What one end has for the other.
#[derive(Clone, Debug)]
pub enum ForwardOutput {
    /// For the end that sends.
    ToSink(ForwardId, ToSink),
    /// For the end that receives.
    ToSource(ForwardId, ToSource),
}

/// What a source says to a sink.
#[derive(Clone, Debug)]
pub enum ToSink {
    /// These packets of the burst.
    Packets(Arc<Burst>, Range<usize>),
    /// What it could use of the sink's network, in bits per second, where that decides on the
    /// layer.
    Wanted(Option<u64>),
    /// The forward has ended.
    End(ForwardEnd),
}

/// What a sink says to its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToSource {
    /// The viewer cannot go on without a keyframe.
    Keyframe,
    /// What the sink's network has for this forward, in bits per second.
    Budget(u64),
    /// The forward has ended.
    End(ForwardEnd),
}

/// What a source needs to begin.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// The received track.
    pub track: TrackId,
    /// Which layer.
    pub layer: LayerChoice,
    /// Deliver the track's packets to the controlling process as well.
    pub tap: bool,
}

/// One forward of `get_forwards/1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardInfo {
    /// Its name.
    pub name: ForwardName,
    /// The end that this connection is.
    pub end: ForwardEndpoint,
}

/// Which end of a forward a connection is, and what it knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardEndpoint {
    /// It receives.
    Source {
        /// The track.
        track: TrackId,
        /// What was asked for.
        choice: LayerChoice,
        /// The layer that goes out now; `None` without simulcast, and before the first keyframe.
        layer: Option<Rid>,
        /// Whether the controlling process gets the packets too.
        tap: bool,
    },
    /// It sends.
    Sink {
        /// The sender.
        sender: SenderId,
    },
}

/// A forward that was refused, for `?` in both ends.
type Refused<T> = Result<T, Error>;
