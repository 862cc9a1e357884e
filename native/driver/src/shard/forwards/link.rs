//! The way to the other end of a forward.

use super::far::{FarBurst, Together};
use super::{ForwardMessage, wire};
use crate::SubmitError;
use crate::mailbox::Mailbox;
use crate::queue::{Queue, Submission};
use engine::media::{Burst, SourceFormat, ToSink};
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

    /// A burst from there; `None` as long as nothing was said of its format.
    pub fn whole(&mut self, burst: &FarBurst) -> Option<Arc<Burst>> {
        let Self::Elsewhere {
            format: Some(format),
        } = self
        else {
            return None;
        };
        let whole = burst.whole(format);
        *format = Arc::clone(&whole.format);
        Some(whole)
    }

    /// The packets that follow are made of this.
    pub fn learn(&mut self, said: Arc<SourceFormat>) {
        if let Self::Elsewhere { format } = self {
            *format = Some(said);
        }
    }
}

impl<M: Mailbox> Link<M> {
    /// Says something to the other end. What another VM does not take is heard of later; packets
    /// for it are said with those for others, when `together` is sent.
    pub fn tell(
        &mut self,
        message: ForwardMessage<M>,
        together: &mut Together,
        mailbox: &mut M,
    ) -> Result<(), SubmitError> {
        let format = match self {
            Self::Here(queue) => return queue.push(Submission::Forward(message)),
            Self::Elsewhere { format } => format,
        };
        if let ForwardMessage::ToSink(id, ToSink::Packets(burst, range)) = message {
            let known = format.as_ref();
            if known.is_none_or(|known| !Arc::ptr_eq(known, &burst.format)) {
                together.format(id, &burst.format);
                *format = Some(Arc::clone(&burst.format));
            }
            together.packets(id, &burst, range);
        } else if let Some((id, what, bytes)) = wire::encode(&message) {
            // After the packets before it.
            together.send(mailbox);
            mailbox.forward_elsewhere(&[(id, 0..0)], what, &bytes);
        }
        Ok(())
    }
}
