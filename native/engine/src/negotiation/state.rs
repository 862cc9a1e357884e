//! Everything that changes in the life of a negotiation.
//!
//! Functions that may fail work on a clone of it and commit when they succeed, so an error
//! leaves the connection exactly as it was.

use super::Change;
use super::candidates::Candidates;
use super::codecs::PayloadTypes;
use super::extensions::ExtensionIds;
use super::identity;
use super::sdp::{Media, Sdp};
use super::transceiver::{Association, Transceiver};
use crate::ids::TrackId;
use crate::ids::{Mid, TransceiverId};
use crate::plan::{DataPlan, Fingerprint, IceCredentials};
use crate::w3c::{DtlsRole, IceRole, SdpType, SessionDescription, SignalingState, Track};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(super) struct State {
    pub signaling: SignalingState,
    /// In the order they were made.
    pub transceivers: Vec<Transceiver>,
    /// What a rollback takes back.
    pub exchange: Exchange,
    /// What it was when the state was last stable; `None` while it is.
    pub stable: Option<Arc<Checkpoint>>,
    pub current_local: Option<Arc<Description>>,
    pub pending_local: Option<Arc<Description>>,
    pub current_remote: Option<Arc<Description>>,
    pub pending_remote: Option<Arc<Description>>,
    /// `[[LastCreatedOffer]]`, `[[LastCreatedAnswer]]`
    pub last_offer: Option<Arc<Created>>,
    pub last_answer: Option<Arc<Created>>,
    /// Credentials made for the next description that restarts ICE.
    pub next_credentials: Option<IceCredentials>,
    /// User name fragments in `[[LocalIceCredentialsToReplace]]`.
    pub ufrags_to_replace: Vec<String>,
    /// A data channel was created, and its m-line not refused since.
    pub wants_data: bool,
    /// It was refused, which nobody has been told of yet.
    pub data_refused: bool,
    /// `[[NegotiationNeeded]]`
    pub needed: bool,
    pub candidates: Candidates,
    pub origin: Origin,
    /// `CNAME` of everything we send (RFC 8834 section 4.9).
    pub cname: String,
}

/// What offers and answers made of the connection, apart from the transceivers'
/// [`Association`]s.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchange {
    pub lines: Vec<Line>,
    pub payload_types: PayloadTypes,
    pub extension_ids: ExtensionIds,
    /// The number to try for the next mid.
    pub next_mid: u64,
    /// Our credentials in force.
    pub local: Option<IceCredentials>,
    /// The peer's side of the transport in force.
    pub remote: Option<RemoteTransport>,
    pub ice_role: Option<IceRole>,
    pub dtls_role: Option<DtlsRole>,
    pub data: Option<DataPlan>,
}

/// One m-line, the same for both sides.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub mid: Mid,
    /// The peer's description had no `a=mid` here: ours have none either until we offer.
    pub mid_is_ours: bool,
    pub media: Media,
    pub protocol: String,
    pub formats: Vec<String>,
    /// Port 0 in the offer or in its answer.
    pub rejected: bool,
    pub transceiver: Option<TransceiverId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteTransport {
    pub credentials: IceCredentials,
    pub fingerprints: Vec<Fingerprint>,
    pub ice_lite: bool,
}

/// What rollback goes back to.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    pub exchange: Exchange,
    pub associations: Vec<(TransceiverId, Association)>,
}

/// A description that was applied.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub sdp_type: SdpType,
    pub text: String,
    pub sdp: Sdp,
}

/// A description that was created, with what is not in its text.
#[derive(Clone, Debug)]
pub(super) struct Created {
    pub text: String,
    pub sdp: Sdp,
    pub credentials: IceCredentials,
    /// The transceiver of each m-line.
    pub transceivers: Vec<Option<TransceiverId>>,
    pub next_mid: u64,
}

/// Our `o=` line.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub session_id: u64,
    last: Option<(u64, Sdp)>,
}

impl Origin {
    /// Prints a description, with a version of one more than the last one's if it says anything
    /// else (RFC 9429 section 5.2.2).
    pub fn sign(&mut self, mut sdp: Sdp) -> (Sdp, String) {
        sdp.session_id = self.session_id;
        sdp.version = 0;
        let version = match &self.last {
            Some((version, last)) if *last == sdp => *version,
            Some((version, _)) => version + 1,
            None => 2,
        };
        self.last = Some((version, sdp.clone()));
        sdp.version = version;
        let text = sdp.to_text();
        (sdp, text)
    }
}

/// What applying a description did to remote tracks.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub muted: Vec<TrackId>,
    pub ended: Vec<TrackId>,
    pub tracks: Vec<Track>,
}

impl Effects {
    /// In the order of the W3C's "set a session description": what went away before what came.
    pub fn into_changes(self) -> Vec<Change> {
        let muted = self.muted.into_iter().map(Change::TrackMuted);
        let ended = self.ended.into_iter().map(Change::TrackEnded);
        muted
            .chain(ended)
            .chain(self.tracks.into_iter().map(Change::Track))
            .collect()
    }
}

impl State {
    pub fn new() -> Self {
        Self {
            signaling: SignalingState::Stable,
            transceivers: Vec::new(),
            exchange: Exchange::default(),
            stable: None,
            current_local: None,
            pending_local: None,
            current_remote: None,
            pending_remote: None,
            last_offer: None,
            last_answer: None,
            next_credentials: None,
            ufrags_to_replace: Vec::new(),
            wants_data: false,
            data_refused: false,
            needed: false,
            candidates: Candidates::default(),
            origin: Origin {
                session_id: identity::session_id(),
                last: None,
            },
            cname: identity::ice_text(16).replace(['+', '/'], "-"),
        }
    }

    pub fn transceiver(&self, id: TransceiverId) -> Option<&Transceiver> {
        self.transceivers.iter().find(|t| t.id == id)
    }

    pub fn transceiver_mut(&mut self, id: TransceiverId) -> Option<&mut Transceiver> {
        self.transceivers.iter_mut().find(|t| t.id == id)
    }

    /// Remembers what to go back to, on leaving `stable`.
    pub fn leave_stable(&mut self) {
        if self.stable.is_none() {
            self.stable = Some(Arc::new(Checkpoint {
                exchange: self.exchange.clone(),
                associations: self
                    .transceivers
                    .iter()
                    .map(|t| (t.id, t.association.clone()))
                    .collect(),
            }));
        }
    }

    /// The m-lines when the state was last stable.
    pub fn stable_lines(&self) -> &[Line] {
        match &self.stable {
            Some(checkpoint) => &checkpoint.exchange.lines,
            None => &self.exchange.lines,
        }
    }

    /// Takes the pending descriptions back (RFC 9429 section 4.1.10.2).
    pub fn roll_back(&mut self, effects: &mut Effects) {
        let Some(checkpoint) = self.stable.take() else {
            return;
        };
        self.exchange = checkpoint.exchange.clone();
        self.pending_local = None;
        self.pending_remote = None;
        self.last_answer = None;
        self.last_offer = None;
        self.next_credentials = None;
        self.signaling = SignalingState::Stable;
        let mut kept = Vec::with_capacity(self.transceivers.len());
        for mut transceiver in std::mem::take(&mut self.transceivers) {
            let before = checkpoint
                .associations
                .iter()
                .find(|(id, _)| *id == transceiver.id);
            let fired = transceiver.association.fired_direction;
            transceiver.association = before.map(|(_, a)| a.clone()).unwrap_or_default();
            transceiver.sender.take_layers_back();
            let made_here = before.is_none() && transceiver.by_remote_offer;
            if made_here && transceiver.sender.track.is_none() {
                end_track(&mut transceiver, effects);
                continue;
            }
            // What the application took for its own track, the next offer may take again.
            transceiver.by_add_track |= made_here;
            transceiver.by_remote_offer &= !made_here;
            let receives = |d: Option<crate::w3c::Direction>| d.is_some_and(|d| d.receives());
            if receives(fired)
                && !receives(transceiver.association.fired_direction)
                && transceiver.is_live()
            {
                effects.muted.push(transceiver.receiver.track);
            }
            kept.push(transceiver);
        }
        self.transceivers = kept;
    }

    /// The offer was answered: pending becomes current, stopped transceivers go.
    pub fn settle(&mut self) {
        self.signaling = SignalingState::Stable;
        self.stable = None;
        self.last_offer = None;
        self.last_answer = None;
        if let Some(local) = self.pending_local.take() {
            self.current_local = Some(local);
        }
        if let Some(remote) = self.pending_remote.take() {
            self.current_remote = Some(remote);
        }
        let lines = &self.exchange.lines;
        self.transceivers.retain(|t| {
            let negotiated_away = match t.association.line.and_then(|line| lines.get(line)) {
                Some(line) => line.rejected || line.transceiver != Some(t.id),
                None => true,
            };
            t.is_live() || !negotiated_away
        });
        for transceiver in &mut self.transceivers {
            transceiver.association.offered = None;
            transceiver.sender.unlayered = None;
        }
        let described = |ufrag: &String| {
            let sections = self.current_local.iter().flat_map(|d| &d.sdp.sections);
            sections
                .into_iter()
                .any(|section| section.ufrag.as_ref() == Some(ufrag))
        };
        if !self.ufrags_to_replace.iter().any(described) {
            self.ufrags_to_replace.clear();
        }
        let generations: Vec<String> = [&self.current_remote]
            .into_iter()
            .flatten()
            .flat_map(|d| d.sdp.sections.iter().filter_map(|s| s.ufrag.clone()))
            .collect();
        self.candidates.keep_remote(&generations);
        if let Some(local) = &self.exchange.local {
            self.candidates.keep_local(&local.ufrag);
        }
    }

    /// The local description: pending before current.
    pub fn local(&self) -> Option<&Arc<Description>> {
        self.pending_local.as_ref().or(self.current_local.as_ref())
    }

    /// The remote description: pending before current.
    pub fn remote(&self) -> Option<&Arc<Description>> {
        self.pending_remote
            .as_ref()
            .or(self.current_remote.as_ref())
    }
}

/// Ends the remote track, once.
pub(super) fn end_track(transceiver: &mut Transceiver, effects: &mut Effects) {
    if !transceiver.receiver.ended {
        transceiver.receiver.ended = true;
        effects.ended.push(transceiver.receiver.track);
    }
}

/// "Stop the RTCRtpTransceiver": for good.
pub(super) fn stop(transceiver: &mut Transceiver, effects: &mut Effects) {
    end_track(transceiver, effects);
    transceiver.stopping = true;
    transceiver.stopped = true;
    transceiver.direction = crate::w3c::Direction::Inactive;
    transceiver.association.current_direction = None;
}

impl Created {
    pub fn description(&self, sdp_type: SdpType) -> SessionDescription {
        SessionDescription {
            sdp_type,
            sdp: self.text.clone(),
        }
    }
}
