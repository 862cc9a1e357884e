//! Forwards between this connection and others, which only the driver knows.

use super::Engine;
use crate::error::Error;
use crate::ids::{ForwardId, SenderId};
use crate::media::{ForwardName, ForwardOutput, SourceFormat, SourceOptions, ToSink, ToSource};
use crate::w3c::Kind;
use std::sync::Arc;
use std::time::Instant;

/// What a sink needs to know of a source to say whether they fit.
#[derive(Clone, Debug)]
pub struct SourceOffer {
    /// Audio or video.
    pub kind: Kind,
    /// What the packets are made of, once negotiated.
    pub format: Option<Arc<SourceFormat>>,
}

impl Engine {
    /// Whether a received track can be forwarded so.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when closed, [`Error::InvalidTrackId`] for a track that is not
    /// received, or not any more, [`Error::InvalidLayer`], [`Error::Busy`].
    pub fn check_forward(&self, options: &SourceOptions) -> Result<SourceOffer, Error> {
        if self.is_closed() {
            return Err(Error::InvalidState);
        }
        let kind = self.negotiation.received_kind(options.track);
        Ok(SourceOffer {
            kind: kind.ok_or(Error::InvalidTrackId)?,
            format: self.media.check_source(options)?,
        })
    }

    /// Begins a forward whose sink has agreed.
    ///
    /// # Errors
    /// As [`Self::check_forward`]: things may have changed meanwhile.
    pub fn open_forward(
        &mut self,
        now: Instant,
        name: ForwardName,
        options: SourceOptions,
    ) -> Result<(), Error> {
        self.check_forward(&options)?;
        self.media.open_source(now, name, options)
    }

    /// A sender takes a source of another connection, or of this one.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when closed, [`Error::InvalidSenderId`] for a sender that is not
    /// there, or stopped, [`Error::InvalidTrackType`] for a source of the other kind,
    /// [`Error::CodecMismatch`] where both are negotiated and have no codec in common,
    /// [`Error::Busy`].
    pub fn open_forward_sink(
        &mut self,
        name: ForwardName,
        sender: SenderId,
        offer: &SourceOffer,
    ) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::InvalidState);
        }
        let kind = self.negotiation.sender_kind(sender);
        if kind.ok_or(Error::InvalidSenderId)? != offer.kind {
            return Err(Error::InvalidTrackType);
        }
        self.media.open_sink(name, sender, offer.format.as_ref())
    }

    /// What the source of a forward says. Follow a batch with one [`Self::flush`].
    pub fn forward_source_says(&mut self, now: Instant, id: ForwardId, message: &ToSink) {
        let mut out = self.transport.packet_writer(&mut self.outbox);
        self.media.source_says(now, id, message, &mut out);
    }

    /// What the sink of a forward says. Follow a batch with one [`Self::flush`].
    pub fn forward_sink_says(&mut self, now: Instant, id: ForwardId, message: ToSource) {
        self.media.sink_says(now, id, message);
    }

    /// Packets of a forward that had no room on their way to the sink.
    pub fn forward_refused(&mut self, now: Instant, id: ForwardId, packets: usize) {
        self.media.forward_refused(now, id, packets);
    }

    /// What is for the other end of a forward.
    pub fn poll_forward(&mut self) -> Option<ForwardOutput> {
        self.media.poll_forward()
    }

    /// Hands the media path its plan, and ends what the plan leaves no place for.
    pub(super) fn apply_media(&mut self, now: Instant) {
        self.media.apply(now, &self.negotiation.media_plan());
        let negotiation = &self.negotiation;
        self.media.retain_forwards(
            now,
            |track| negotiation.received_kind(track).is_some(),
            |sender| negotiation.sender_kind(sender).is_some(),
        );
    }
}
