//! Names of things: newtypes, so that a track is never mistaken for a sender.

use std::fmt;
use std::sync::Arc;

macro_rules! number_id {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

number_id! {
    /// One request of the control plane; its reply carries the same number.
    RequestId(u64);
    /// A transceiver (`RTCRtpTransceiver`). Random, below 2^59 so that it is a small integer on the BEAM.
    TransceiverId(u64);
    /// A sender (`RTCRtpSender`).
    SenderId(u64);
    /// A receiver (`RTCRtpReceiver`).
    ReceiverId(u64);
    /// A track (`MediaStreamTrack`), sent or received.
    TrackId(u64);
    /// A data channel for the life of its connection. Not the SCTP stream id, which is known late and reused.
    ChannelId(u32);
    /// A forward, between the two connections that are its ends. Random.
    ForwardId(u64);
}

macro_rules! text_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as it stands in SDP and in RTP header extensions.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

text_id! {
    /// The identification tag of an m-line (RFC 5888).
    Mid;
    /// The identifier of a simulcast layer (RFC 8851).
    Rid;
}
