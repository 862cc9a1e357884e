//! JSEP (RFC 8829, RFC 9429) as a pure state machine: SDP in and out, transceivers, codecs.
//!
//! No socket, no clock, no packet. Every public function either succeeds and returns what
//! changed, or fails and changes nothing.
//!
//! | file | what it does |
//! |---|---|
//! | `settings` | the configuration as SDP sees it |
//! | `sdp`, `parse`, `write` | the typed view of a description, from text and to text |
//! | `validate` | the checks of section 4 of the contract |
//! | `codecs`, `extensions` | matching, and the tables of payload types and ids |
//! | `state` | all that changes: what a rollback takes back, and what it does not |
//! | `transceiver`, `requests` | transceivers, and what the application asks of them |
//! | `parameters` | `getParameters`, `setParameters`, and whom a request names |
//! | `encodings` | what is checked and filled in of `sendEncodings` |
//! | `offer`, `answer` | creating descriptions |
//! | `apply` | setting them |
//! | `needed` | `negotiationneeded` |
//! | `candidates` | ICE candidates in and beside descriptions |
//! | `plans` | what the other rooms are to carry out |

mod answer;
mod apply;
mod candidates;
mod codecs;
mod encodings;
mod extensions;
mod identity;
mod needed;
mod offer;
mod parameters;
mod parse;
mod plans;
mod proposed;
mod requests;
mod sdp;
mod settings;
mod state;
mod transceiver;
mod validate;
mod write;

#[cfg(test)]
mod tests;

use crate::command::{RtpEncoding, RtpParameters, SenderInfo, TransceiverInfo};
use crate::config::Config;
use crate::error::Error;
use crate::ids::{ReceiverId, SenderId, TrackId, TransceiverId};
use crate::plan::{DataPlan, Fingerprint, IceCredentials, MediaPlan, TransportPlan};
use crate::stats::StatsSelector;
use crate::w3c::{
    Codec, Direction, IceCandidateInit, Kind, SdpType, SessionDescription, SignalingState, Track,
};
use settings::Settings;
use state::State;

pub(crate) use codecs::matches as same_codec;
pub use parameters::StatsSubject;

/// The negotiation of one connection.
#[derive(Debug)]
pub struct Negotiation {
    settings: Settings,
    state: State,
}

/// What a description that was applied (or a closing) means for the controlling process,
/// in the order it must be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A remote track appeared.
    Track(Track),
    /// A remote track stopped sending.
    TrackMuted(TrackId),
    /// A remote track ended for good.
    TrackEnded(TrackId),
    /// The signaling state changed.
    SignalingState(SignalingState),
    /// `negotiationneeded` fires.
    NegotiationNeeded,
}

/// A remote candidate that belongs to the transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteCandidate {
    /// The `candidate-attribute` without the `a=` (RFC 8839 section 5.1).
    pub attribute: String,
    /// The generation it belongs to, if the peer said so.
    pub ufrag: Option<String>,
}

impl Negotiation {
    /// A fresh negotiation. `fingerprint` is our certificate's.
    pub fn new(config: &Config, fingerprint: Fingerprint) -> Self {
        Self {
            settings: Settings::new(config, fingerprint),
            state: State::new(),
        }
    }

    /// The signaling state.
    pub fn signaling_state(&self) -> SignalingState {
        self.state.signaling
    }

    /// `createOffer`. Free of side effects but for what a later `set_local` of it needs.
    pub fn create_offer(&mut self, ice_restart: bool) -> Result<SessionDescription, Error> {
        match self.state.signaling {
            SignalingState::Stable | SignalingState::HaveLocalOffer => {
                let created = self.state.create_offer(&self.settings, ice_restart);
                Ok(created.description(SdpType::Offer))
            }
            _ => Err(Error::InvalidState),
        }
    }

    /// `createAnswer`.
    pub fn create_answer(&mut self) -> Result<SessionDescription, Error> {
        match self.state.signaling {
            SignalingState::HaveRemoteOffer | SignalingState::HaveLocalPranswer => {
                let created = self.state.create_answer(&self.settings);
                Ok(created
                    .ok_or(Error::InvalidState)?
                    .description(SdpType::Answer))
            }
            _ => Err(Error::InvalidState),
        }
    }

    /// `setLocalDescription`; `None` is the implicit form.
    pub fn set_local(
        &mut self,
        description: Option<SessionDescription>,
    ) -> Result<Vec<Change>, Error> {
        self.transact(|state, settings| state.set_local(settings, description))
    }

    /// `setRemoteDescription`.
    pub fn set_remote(&mut self, description: SessionDescription) -> Result<Vec<Change>, Error> {
        self.transact(|state, settings| state.set_remote(settings, description))
    }

    /// Candidates that stood in remote descriptions applied since the last call.
    pub fn take_remote_candidates(&mut self) -> Vec<RemoteCandidate> {
        self.state.candidates.take_unclaimed()
    }

    /// Whether an answer since the last call left no m-line for the data channels there were.
    pub fn take_data_refused(&mut self) -> bool {
        std::mem::take(&mut self.state.data_refused)
    }

    /// `addIceCandidate`: checks it against the remote description and adds it there.
    /// `Ok(None)`: end of candidates, or a candidate of an m-line that carries no transport.
    pub fn add_remote_candidate(
        &mut self,
        candidate: Option<IceCandidateInit>,
    ) -> Result<Option<RemoteCandidate>, Error> {
        self.state.add_remote_candidate(candidate)
    }

    /// A gathered candidate: from now on part of the local description. Returns what the
    /// controlling process is told. `attribute` is the `candidate-attribute` without `a=`.
    pub fn add_local_candidate(&mut self, attribute: &str) -> Option<IceCandidateInit> {
        self.state.add_local_candidate(attribute)
    }

    /// Gathering of the current generation is complete: `a=end-of-candidates`.
    pub fn end_of_local_candidates(&mut self) {
        self.state.end_of_local_candidates();
    }

    /// `restartIce`.
    pub fn restart_ice(&mut self) -> Vec<Change> {
        if self.state.signaling == SignalingState::Closed {
            return Vec::new();
        }
        // [[LocalIceCredentialsToReplace]]: what the current and the pending description have.
        for description in [&self.state.current_local, &self.state.pending_local] {
            let sections = description.iter().flat_map(|d| &d.sdp.sections);
            for ufrag in sections.filter_map(|section| section.ufrag.as_ref()) {
                if !self.state.ufrags_to_replace.contains(ufrag) {
                    self.state.ufrags_to_replace.push(ufrag.clone());
                }
            }
        }
        self.state.update_needed().into_iter().collect()
    }

    /// `addTransceiver`.
    pub fn add_transceiver(
        &mut self,
        kind: Kind,
        track: Option<Track>,
        direction: Direction,
        send_encodings: Vec<RtpEncoding>,
    ) -> Result<(TransceiverInfo, Vec<Change>), Error> {
        self.state
            .add_transceiver(&self.settings, kind, track, direction, send_encodings)
    }

    /// `transceiver.direction = …`
    pub fn set_direction(
        &mut self,
        id: TransceiverId,
        direction: Direction,
    ) -> Result<Vec<Change>, Error> {
        self.state.set_direction(id, direction)
    }

    /// `transceiver.stop()`
    pub fn stop_transceiver(&mut self, id: TransceiverId) -> Result<Vec<Change>, Error> {
        self.state.stop_transceiver(id)
    }

    /// `transceiver.setCodecPreferences(…)`
    pub fn set_codec_preferences(
        &mut self,
        id: TransceiverId,
        codecs: Vec<Codec>,
    ) -> Result<Vec<Change>, Error> {
        self.state
            .set_codec_preferences(&self.settings, id, &codecs)
    }

    /// `addTrack`
    pub fn add_track(&mut self, track: Track) -> Result<(SenderInfo, Vec<Change>), Error> {
        self.state.add_track(&self.settings, track)
    }

    /// `sender.replaceTrack(…)`
    pub fn replace_track(
        &mut self,
        sender: SenderId,
        track: Option<Track>,
    ) -> Result<Vec<Change>, Error> {
        self.state.replace_track(sender, track)
    }

    /// `removeTrack`
    pub fn remove_track(&mut self, sender: SenderId) -> Result<Vec<Change>, Error> {
        self.state.remove_track(sender)
    }

    /// Chooses which negotiated codec a sender uses.
    pub fn set_sender_codec(&mut self, sender: SenderId, codec: Codec) -> Result<(), Error> {
        self.state.set_sender_codec(sender, &codec)
    }

    /// `sender.getParameters()`
    pub fn sender_parameters(&mut self, sender: SenderId) -> Result<RtpParameters, Error> {
        self.state.sender_parameters(sender)
    }

    /// `sender.setParameters(…)`
    pub fn set_sender_parameters(
        &mut self,
        sender: SenderId,
        parameters: &RtpParameters,
    ) -> Result<(), Error> {
        self.state.set_sender_parameters(sender, parameters)
    }

    /// `receiver.getParameters()`
    pub fn receiver_parameters(&self, receiver: ReceiverId) -> Result<RtpParameters, Error> {
        self.state.receiver_parameters(receiver)
    }

    /// `sender.setStreams(…)`
    pub fn set_streams(
        &mut self,
        sender: SenderId,
        streams: Vec<String>,
    ) -> Result<Vec<Change>, Error> {
        self.state.set_streams(sender, streams)
    }

    /// Whether there is such a receiver.
    pub fn check_receiver(&self, receiver: ReceiverId) -> Result<(), Error> {
        self.state.by_receiver(receiver).map(drop)
    }

    /// Whether a sender may send tones: it is one of audio and not stopped.
    pub fn check_dtmf(&self, sender: SenderId) -> Result<(), Error> {
        self.state.check_dtmf(sender)
    }

    /// Whose statistics a selector asks for.
    pub fn stats_subject(&self, selector: StatsSelector) -> Result<StatsSubject, Error> {
        self.state.stats_subject(selector)
    }

    /// The first data channel makes an m-line wanted, as does the first after a refusal.
    pub fn want_data_channels(&mut self) -> Vec<Change> {
        self.state.wants_data = true;
        self.state.update_needed().into_iter().collect()
    }

    /// `negotiationneeded`, if it is due: call after a request that may have made it so.
    pub fn negotiation_needed(&self) -> bool {
        self.state.needed
    }

    /// `getTransceivers`, in m-line order; ones without an m-line yet behind, as created.
    pub fn transceivers(&self) -> Vec<TransceiverInfo> {
        let mut all: Vec<_> = self.state.transceivers.iter().collect();
        // Stable: those without an m-line stay in the order they were made.
        all.sort_by_key(|t| t.association.line.unwrap_or(usize::MAX));
        all.into_iter().map(|t| t.info(&self.settings)).collect()
    }

    /// `localDescription` and its parts, with the candidates gathered so far.
    pub fn current_local_description(&self) -> Option<SessionDescription> {
        self.state
            .current_local
            .as_deref()
            .map(|d| self.state.local_text(d))
    }

    /// See [`Self::current_local_description`].
    pub fn pending_local_description(&self) -> Option<SessionDescription> {
        self.state
            .pending_local
            .as_deref()
            .map(|d| self.state.local_text(d))
    }

    /// `remoteDescription` and its parts, with the candidates added so far.
    pub fn current_remote_description(&self) -> Option<SessionDescription> {
        self.state
            .current_remote
            .as_deref()
            .map(|d| self.state.remote_text(d))
    }

    /// See [`Self::current_remote_description`].
    pub fn pending_remote_description(&self) -> Option<SessionDescription> {
        self.state
            .pending_remote
            .as_deref()
            .map(|d| self.state.remote_text(d))
    }

    /// `canTrickleIceCandidates`; `None` before a remote description.
    pub fn can_trickle(&self) -> Option<bool> {
        self.state
            .remote()
            .map(|description| description.sdp.trickle)
    }

    /// Whether neither side will tell more candidates of the generation in force.
    pub fn all_candidates_known(&self) -> bool {
        self.state.all_candidates_known()
    }

    /// ICE and DTLS as they should be now; `None` before the first local description.
    pub fn transport_plan(&self) -> Option<TransportPlan> {
        self.state.transport_plan()
    }

    /// The media path as it should be now.
    pub fn media_plan(&self) -> MediaPlan {
        self.state.media_plan()
    }

    /// Data channels as they should be now; `None` while not negotiated, or rejected.
    pub fn data_plan(&self) -> Option<DataPlan> {
        self.state.exchange.data.clone()
    }

    /// The credentials that gathered candidates carry as `ufrag`.
    pub fn local_credentials(&self) -> Option<IceCredentials> {
        self.state.exchange.local.clone()
    }

    /// Codecs (audio, video) and header extensions with the payload types and ids in use.
    pub fn negotiated_configuration(&self) -> (Vec<Codec>, Vec<Codec>, Vec<(u8, String)>) {
        self.state.negotiated_configuration(&self.settings)
    }

    /// The kind of a received track whose transceiver is not stopped.
    pub fn received_kind(&self, track: TrackId) -> Option<Kind> {
        let mut transceivers = self.state.transceivers.iter();
        let found = transceivers.find(|t| t.receiver.track == track && t.is_live());
        found.map(|t| t.kind)
    }

    /// The kind of a sender whose transceiver is not stopped.
    pub fn sender_kind(&self, sender: SenderId) -> Option<Kind> {
        let mut transceivers = self.state.transceivers.iter();
        let found = transceivers.find(|t| t.sender.id == sender && t.is_live());
        found.map(|t| t.kind)
    }

    /// Whether a sender has this track, negotiated or not.
    pub fn sends_track(&self, track: TrackId) -> bool {
        self.state
            .transceivers
            .iter()
            .any(|t| t.sender.track.as_ref().is_some_and(|sent| sent.id == track))
    }

    /// `close()`: transceivers stop, the state is closed, nothing can be changed any more.
    pub fn close(&mut self) {
        self.state.signaling = SignalingState::Closed;
        self.state.needed = false;
        self.state.exchange.data = None;
        for transceiver in &mut self.state.transceivers {
            let mut unheard = state::Effects::default();
            state::stop(transceiver, &mut unheard);
        }
    }

    /// Runs `change` on a copy of the state and keeps it only if that succeeds.
    fn transact<T>(
        &mut self,
        change: impl FnOnce(&mut State, &Settings) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut state = self.state.clone();
        let result = change(&mut state, &self.settings)?;
        self.state = state;
        Ok(result)
    }
}
