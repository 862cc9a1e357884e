//! The way to the other end of a forward.

use super::{ForwardMessage, wire};
use crate::SubmitError;
use crate::mailbox::{Elsewhere, Mailbox};
use crate::queue::{Queue, Submission};
use engine::media::{SourceFormat, ToSink};
use std::sync::Arc;

/// Where the other end is.
pub enum Link<M> {
    /// In this VM.
    Here(Arc<Queue<M>>),
    /// In another one; the mailbox knows which.
    Elsewhere {
        /// What the source said last of its packets. Not in every burst: it is as large as one.
        format: Option<Arc<SourceFormat>>,
    },
}

impl<M> Link<M> {
    /// To another VM.
    pub const fn elsewhere() -> Self {
        Self::Elsewhere { format: None }
    }

    /// What packets from there are made of.
    pub fn format(&self) -> Option<&Arc<SourceFormat>> {
        match self {
            Self::Here(_) => None,
            Self::Elsewhere { format } => format.as_ref(),
        }
    }

    /// The packets that follow are made of this.
    pub fn learn(&mut self, said: Arc<SourceFormat>) {
        if let Self::Elsewhere { format } = self {
            *format = Some(said);
        }
    }
}

impl<M: Mailbox> Link<M> {
    /// Says something to the other end. What another VM does not take is heard of later.
    pub fn tell(&mut self, message: ForwardMessage<M>, mailbox: &mut M) -> Result<(), SubmitError> {
        let format = match self {
            Self::Here(queue) => return queue.push(Submission::Forward(message)),
            Self::Elsewhere { format } => format,
        };
        if let ForwardMessage::ToSink(id, ToSink::Packets(burst, _)) = &message {
            let known = format.as_ref();
            if known.is_none_or(|known| !Arc::ptr_eq(known, &burst.format)) {
                let bytes = wire::encode_format(*id, &burst.format);
                mailbox.forward_elsewhere(*id, Elsewhere::Control, &bytes);
                *format = Some(Arc::clone(&burst.format));
            }
        }
        if let Some((id, what, bytes)) = wire::encode(&message) {
            mailbox.forward_elsewhere(id, what, &bytes);
        }
        Ok(())
    }
}
