//! `getParameters`, `setParameters`, `setStreams` (W3C webrtc-pc sections 5.2 and 5.3), and whom a
//! request about senders and receivers names.

use super::requests::check_streams;
use super::state::State;
use super::transceiver::Transceiver;
use super::{Change, codecs, encodings, identity};
use crate::command::{RtpEncoding, RtpParameters};
use crate::error::Error;
use crate::ids::{ReceiverId, SenderId};
use crate::stats::{StatsEntry, StatsSelector};
use crate::w3c::{Codec, Kind};
use std::collections::BTreeMap;

/// The clock of `video/rtx` (every video payload format has it).
const VIDEO_CLOCK: u32 = 90_000;

/// Streams of one track. SDP repeats `a=msid` for each; `parse` reads no more than this either.
const MAX_STREAMS: usize = 16;

/// Whose entries a selection of statistics starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsSubject {
    kind: &'static str,
    /// `None` while there is no m-line, and so nothing to tell.
    mid: Option<String>,
}

impl StatsSubject {
    /// Whether an entry is one of them.
    pub fn is(&self, entry: &StatsEntry) -> bool {
        let of_mid = entry.fields.get("mid").and_then(|mid| mid.as_str());
        entry.kind == self.kind && self.mid.is_some() && of_mid == self.mid.as_deref()
    }
}

impl State {
    pub fn by_receiver(&self, id: ReceiverId) -> Result<&Transceiver, Error> {
        self.transceivers
            .iter()
            .find(|t| t.receiver.id == id)
            .ok_or(Error::InvalidReceiverId)
    }

    pub fn check_dtmf(&self, id: SenderId) -> Result<(), Error> {
        let transceiver = self
            .transceivers
            .iter()
            .find(|t| t.sender.id == id)
            .ok_or(Error::InvalidSenderId)?;
        // W3C webrtc-pc section 7.2: what can be sent on now.
        if transceiver.kind == Kind::Audio && transceiver.is_live() {
            Ok(())
        } else {
            Err(Error::InvalidState)
        }
    }

    pub fn stats_subject(&self, selector: StatsSelector) -> Result<StatsSubject, Error> {
        let find = |is: &dyn Fn(&Transceiver) -> bool| self.transceivers.iter().find(|t| is(t));
        let (kind, found) = match selector {
            StatsSelector::Sender(id) => (
                "outbound_rtp",
                find(&|t| t.sender.id == id).ok_or(Error::InvalidSenderId)?,
            ),
            StatsSelector::Receiver(id) => (
                "inbound_rtp",
                find(&|t| t.receiver.id == id).ok_or(Error::InvalidReceiverId)?,
            ),
            StatsSelector::Track(id) => {
                let sent = |t: &Transceiver| t.sender.track.as_ref().is_some_and(|s| s.id == id);
                match find(&sent) {
                    Some(transceiver) => ("outbound_rtp", transceiver),
                    None => (
                        "inbound_rtp",
                        find(&|t| t.receiver.track == id).ok_or(Error::InvalidTrackId)?,
                    ),
                }
            }
        };
        let mid = found.association.mid.as_ref();
        Ok(StatsSubject {
            kind,
            mid: mid.map(|mid| mid.as_str().to_owned()),
        })
    }

    pub fn sender_parameters(&mut self, id: SenderId) -> Result<RtpParameters, Error> {
        let known = self.transceivers.iter().position(|t| t.sender.id == id);
        let known = known.ok_or(Error::InvalidSenderId)?;
        let transaction_id = identity::ice_text(16);
        if let Some(transceiver) = self.transceivers.get_mut(known) {
            transceiver.sender.transaction = Some(transaction_id.clone());
        }
        let transceiver = self.transceivers.get(known).ok_or(Error::InvalidSenderId)?;
        let mut parameters = self.send_parameters(transceiver);
        parameters.transaction_id = Some(transaction_id);
        Ok(parameters)
    }

    /// All that changes are the settings of encodings (section 5.2.8).
    pub fn set_sender_parameters(
        &mut self,
        id: SenderId,
        wanted: &RtpParameters,
    ) -> Result<(), Error> {
        let transceiver = self.by_sender(id)?;
        if !transceiver.is_live() || transceiver.sender.transaction.is_none() {
            return Err(Error::InvalidState);
        }
        let at = self.transceivers.iter().position(|t| t.sender.id == id);
        let transceiver = at
            .and_then(|at| self.transceivers.get(at))
            .ok_or(Error::InvalidSenderId)?;
        let mut current = self.send_parameters(transceiver);
        current
            .transaction_id
            .clone_from(&transceiver.sender.transaction);
        if current.encodings.len() != wanted.encodings.len() {
            return Err(Error::InvalidModification);
        }
        for (encoding, new) in current.encodings.iter_mut().zip(&wanted.encodings) {
            encoding.settings = new.settings.clone();
        }
        if current != *wanted {
            return Err(Error::InvalidModification);
        }
        for encoding in &mut current.encodings {
            encodings::settle(transceiver.kind, &mut encoding.settings)?;
        }
        let kept = transceiver.layers();
        let transceiver = self.by_sender(id)?;
        for (at, encoding) in kept.into_iter().zip(current.encodings) {
            if let Some(settings) = transceiver.sender.settings.get_mut(at) {
                *settings = encoding.settings;
            }
        }
        transceiver.sender.transaction = None;
        Ok(())
    }

    pub fn receiver_parameters(&self, id: ReceiverId) -> Result<RtpParameters, Error> {
        let transceiver = self.by_receiver(id)?;
        let negotiated = transceiver.association.negotiated.as_ref();
        let mut parameters = self.shared_parameters(transceiver);
        if let Some(n) = negotiated {
            parameters.codecs = with_repairs(&n.receive_codecs, &n.receive_rtx);
        }
        Ok(parameters)
    }

    pub fn set_streams(
        &mut self,
        id: SenderId,
        mut streams: Vec<String>,
    ) -> Result<Vec<Change>, Error> {
        let transceiver = self.by_sender(id)?;
        check_streams(&streams)?;
        // Section 5.2.11: a set, in the order given.
        let mut unique = Vec::with_capacity(streams.len().min(MAX_STREAMS));
        for stream in streams.drain(..) {
            if !unique.contains(&stream) {
                unique.push(stream);
            }
            if unique.len() > MAX_STREAMS {
                return Err(Error::InvalidOption);
            }
        }
        if let Some(track) = &mut transceiver.sender.track {
            track.streams.clone_from(&unique);
        }
        transceiver.sender.streams = unique;
        Ok(self.update_needed().into_iter().collect())
    }

    fn send_parameters(&self, transceiver: &Transceiver) -> RtpParameters {
        let sender = &transceiver.sender;
        let negotiated = transceiver.association.negotiated.as_ref();
        let mut parameters = self.shared_parameters(transceiver);
        parameters.cname = Some(self.cname.clone());
        let layers = transceiver.layers().into_iter();
        parameters.encodings = layers
            .filter_map(|at| {
                Some(RtpEncoding {
                    rid: sender.rids.get(at).cloned(),
                    settings: sender.settings.get(at)?.clone(),
                })
            })
            .collect();
        if let Some(n) = negotiated {
            parameters.codecs = with_repairs(&n.send_codecs, &n.send_rtx);
        }
        parameters
    }

    fn shared_parameters(&self, transceiver: &Transceiver) -> RtpParameters {
        let association = &transceiver.association;
        let extensions = association.negotiated.iter().flat_map(|n| &n.extensions);
        RtpParameters {
            transaction_id: None,
            encodings: Vec::new(),
            header_extensions: extensions.map(|(id, uri)| (*id, uri.clone())).collect(),
            cname: None,
            reduced_size: association.reduced_size_rtcp(),
            codecs: Vec::new(),
        }
    }
}

/// Codecs, each followed by the RTX that repairs it.
fn with_repairs(of: &[Codec], rtx: &BTreeMap<u8, u8>) -> Vec<Codec> {
    let mut all = Vec::with_capacity(of.len() + rtx.len());
    for codec in of {
        all.push(codec.clone());
        let repairs = rtx.iter().filter(|(_, apt)| **apt == codec.payload_type);
        all.extend(
            repairs.map(|(payload_type, apt)| codecs::rtx(*payload_type, *apt, VIDEO_CLOCK)),
        );
    }
    all
}
