//! "Set a session description" (W3C webrtc-pc section 4.4.1.5, RFC 9429 sections 5.9 to 5.11).

use super::extensions::{self, RID_URI};
use super::parse::parse;
use super::sdp::{Media, Sdp, Section};
use super::settings::Settings;
use super::state::{Created, Description, Effects, Line, State, stop};
use super::transceiver::{Association, Offered, Transceiver};
use super::{Change, codecs, encodings, validate};
use crate::error::Error;
use crate::ids::{Mid, Rid, TransceiverId};
use crate::w3c::{Direction, IceRole, Kind, SdpType, SessionDescription, SignalingState};
use std::sync::Arc;

impl State {
    /// `setLocalDescription`; `None` is the implicit form.
    pub fn set_local(
        &mut self,
        settings: &Settings,
        description: Option<SessionDescription>,
    ) -> Result<Vec<Change>, Error> {
        let description = description.unwrap_or_else(|| SessionDescription {
            sdp_type: self.implicit_type(),
            sdp: String::new(),
        });
        let before = self.signaling;
        let mut effects = Effects::default();
        match (description.sdp_type, before) {
            (SdpType::Rollback, SignalingState::HaveLocalOffer) => self.roll_back(&mut effects),
            (SdpType::Offer, SignalingState::Stable | SignalingState::HaveLocalOffer) => {
                let (created, text) = self.local_text_of(settings, &description)?;
                self.leave_stable();
                self.apply_local_offer(&created);
                self.pending_local = Some(applied(SdpType::Offer, text, &created));
                self.signaling = SignalingState::HaveLocalOffer;
            }
            (
                SdpType::Answer | SdpType::Pranswer,
                SignalingState::HaveRemoteOffer | SignalingState::HaveLocalPranswer,
            ) => {
                let (created, text) = self.local_text_of(settings, &description)?;
                let Some(offer) = self.pending_remote.clone() else {
                    return Err(Error::InvalidState);
                };
                self.take_credentials(&created);
                self.apply_answer(settings, &offer.sdp, &created.sdp, false, &mut effects);
                self.pending_local = Some(applied(description.sdp_type, text, &created));
                if description.sdp_type == SdpType::Answer {
                    self.note_data_refused(&offer.sdp, &created.sdp, false);
                }
                self.answered(description.sdp_type, SignalingState::HaveLocalPranswer);
            }
            _ => return Err(Error::InvalidState),
        }
        Ok(self.changes(before, effects))
    }

    /// `setRemoteDescription`.
    pub fn set_remote(
        &mut self,
        settings: &Settings,
        description: SessionDescription,
    ) -> Result<Vec<Change>, Error> {
        let before = self.signaling;
        let mut taken_back = Vec::new();
        let mut effects = Effects::default();
        match (description.sdp_type, before) {
            (SdpType::Rollback, SignalingState::HaveRemoteOffer) => self.roll_back(&mut effects),
            (
                SdpType::Offer,
                SignalingState::Stable
                | SignalingState::HaveLocalOffer
                | SignalingState::HaveRemoteOffer,
            ) => {
                // An offer in the place of a pending one, ours or theirs, first takes that back.
                self.roll_back(&mut effects);
                // Ours is a description of its own in the W3C's `setRemoteDescription`: the state
                // is told to be stable. Whether negotiation is needed is asked when the whole is
                // done, and so not here.
                if before == SignalingState::HaveLocalOffer {
                    taken_back = std::mem::take(&mut effects).into_changes();
                    taken_back.push(Change::SignalingState(self.signaling));
                }
                let (remote, made) = self.read_remote(settings, description, None)?;
                validate::check_offer_continues(&remote.sdp, &self.exchange.lines)?;
                self.leave_stable();
                self.apply_remote_offer(settings, &remote.sdp, &made, &mut effects);
                self.candidates.take_from(&remote.sdp);
                self.pending_remote = Some(Arc::new(remote));
                self.signaling = SignalingState::HaveRemoteOffer;
            }
            (
                SdpType::Answer | SdpType::Pranswer,
                SignalingState::HaveLocalOffer | SignalingState::HaveRemotePranswer,
            ) => {
                let sdp_type = description.sdp_type;
                let Some(offer) = self.pending_local.clone() else {
                    return Err(Error::InvalidState);
                };
                let (remote, _) = self.read_remote(settings, description, Some(&offer.sdp))?;
                self.apply_answer(settings, &offer.sdp, &remote.sdp, true, &mut effects);
                if sdp_type == SdpType::Answer {
                    self.note_data_refused(&offer.sdp, &remote.sdp, true);
                }
                self.candidates.take_from(&remote.sdp);
                self.pending_remote = Some(Arc::new(remote));
                self.answered(sdp_type, SignalingState::HaveRemotePranswer);
            }
            _ => return Err(Error::InvalidState),
        }
        taken_back.extend(self.changes(before, effects));
        Ok(taken_back)
    }

    fn implicit_type(&self) -> SdpType {
        match self.signaling {
            SignalingState::HaveRemoteOffer | SignalingState::HaveLocalPranswer => SdpType::Answer,
            _ => SdpType::Offer,
        }
    }

    fn answered(&mut self, sdp_type: SdpType, provisional: SignalingState) {
        if sdp_type == SdpType::Answer {
            self.settle();
        } else {
            self.signaling = provisional;
        }
    }

    /// Whether a final answer leaves no m-line for data channels where we offered one, or where
    /// there was one: channels that wait for it would wait for ever.
    fn note_data_refused(&mut self, offer: &Sdp, answer: &Sdp, we_offered: bool) {
        let before = self.stable.as_ref();
        let given_up = before.is_some_and(|checkpoint| checkpoint.exchange.data.is_some());
        let refused = offer.sections.iter().zip(&answer.sections).any(|(o, a)| {
            o.media == Media::Application
                && (a.is_rejected() || o.is_rejected())
                && (given_up || (we_offered && !o.is_rejected()))
        });
        if refused && self.exchange.data.is_none() {
            self.data_refused = true;
            self.wants_data = false;
        }
    }

    /// What to tell, in order; the last step checks again whether negotiation is needed.
    fn changes(&mut self, before: SignalingState, effects: Effects) -> Vec<Change> {
        let mut changes = effects.into_changes();
        if self.signaling != before {
            changes.push(Change::SignalingState(self.signaling));
        }
        if self.signaling == SignalingState::Stable {
            self.needed = false;
            changes.extend(self.update_needed());
        }
        changes
    }

    /// The created description that `description` is, and the text to keep. Without text it is
    /// the last created one, or one made now.
    fn local_text_of(
        &mut self,
        settings: &Settings,
        description: &SessionDescription,
    ) -> Result<(Arc<Created>, String), Error> {
        let last = match description.sdp_type {
            SdpType::Offer => self.last_offer.clone(),
            _ => self.last_answer.clone(),
        };
        let text = description.sdp.as_str();
        if text.is_empty() {
            let created = match description.sdp_type {
                SdpType::Offer => Some(self.create_offer(settings, false)),
                _ => self.create_answer(settings),
            };
            let created = created.ok_or(Error::InvalidState)?;
            let text = created.text.clone();
            return Ok((created, text));
        }
        if let Some(created) = &last
            && created.text == text
        {
            return Ok((Arc::clone(created), text.to_owned()));
        }
        let given = parse(text)?;
        let created = last.ok_or(Error::DescriptionAltered)?;
        let same = parse(&created.text).is_ok_and(|sdp| sdp.comparable() == given.comparable());
        if !same {
            return Err(Error::DescriptionAltered);
        }
        Ok((created, text.to_owned()))
    }

    fn take_credentials(&mut self, created: &Created) {
        // Without an accepted m-line nobody is told of them.
        if created.sdp.tagged().is_none() {
            return;
        }
        if self.next_credentials.as_ref() == Some(&created.credentials) {
            self.next_credentials = None;
        }
        self.exchange.local = Some(created.credentials.clone());
    }

    fn apply_local_offer(&mut self, created: &Created) {
        self.take_credentials(created);
        self.exchange.next_mid = created.next_mid;
        self.exchange.ice_role.get_or_insert(IceRole::Controlling);
        let before = std::mem::take(&mut self.exchange.lines);
        for (index, section) in created.sdp.sections.iter().enumerate() {
            self.learn(section);
            let owner = created.transceivers.get(index).copied().flatten();
            self.exchange.lines.push(Line {
                mid: before
                    .get(index)
                    .filter(|line| line.mid_is_ours && section.mid.is_none())
                    .map_or_else(|| Mid::from(section.mid()), |line| line.mid.clone()),
                mid_is_ours: section.mid.is_none(),
                ..line(section, false, owner)
            });
            let Some(transceiver) = owner.and_then(|id| self.transceiver_mut(id)) else {
                continue;
            };
            let association = &mut transceiver.association;
            association.mid = Some(Mid::from(section.mid()));
            association.line = Some(index);
            let (codecs, rtx) = codecs::split(&section.codecs);
            let receives = section.direction.receives() && !section.is_rejected();
            association.offered = receives.then(|| Offered {
                codecs,
                rtx,
                extensions: extensions::offered(section),
            });
        }
    }

    fn learn(&mut self, section: &Section) {
        self.exchange.payload_types.learn(&section.codecs);
        self.exchange.extension_ids.learn(&section.extensions);
        if let Ok(number) = section.mid().parse::<u64>() {
            self.exchange.next_mid = self.exchange.next_mid.max(number.saturating_add(1));
        }
    }

    /// Parses and checks a remote description; also tells which mids had to be made.
    fn read_remote(
        &self,
        settings: &Settings,
        description: SessionDescription,
        offer: Option<&Sdp>,
    ) -> Result<(Description, Vec<bool>), Error> {
        let SessionDescription {
            sdp_type,
            sdp: text,
        } = description;
        if text.trim().is_empty() {
            return Err(Error::EmptySdp);
        }
        let mut sdp = parse(&text)?;
        let made = validate::check(
            &mut sdp,
            sdp_type,
            settings.validation,
            &self.exchange.lines,
        )?;
        if let Some(offer) = offer {
            validate::check_answer_fits(&sdp, offer)?;
        }
        Ok((
            Description {
                sdp_type,
                text,
                sdp,
            },
            made,
        ))
    }

    fn apply_remote_offer(
        &mut self,
        settings: &Settings,
        offer: &Sdp,
        made: &[bool],
        effects: &mut Effects,
    ) {
        self.exchange.ice_role.get_or_insert(IceRole::Controlled);
        let before = std::mem::take(&mut self.exchange.lines);
        for (index, section) in offer.sections.iter().enumerate() {
            self.learn(section);
            let owner = before
                .get(index)
                .filter(|line| !line.rejected && line.mid.as_str() == section.mid())
                .and_then(|line| line.transceiver);
            let owner = match section.kind() {
                Some(_) if section.is_rejected() => {
                    if let Some(transceiver) = owner.and_then(|id| self.transceiver_mut(id))
                        && !transceiver.stopped
                    {
                        stop(transceiver, effects);
                    }
                    owner
                }
                Some(kind) => {
                    let owner = owner
                        .filter(|id| self.transceiver(*id).is_some())
                        .unwrap_or_else(|| self.claim(kind, section.direction));
                    self.propose_layers(settings, owner, section);
                    self.associate(settings, owner, index, section, effects);
                    Some(owner)
                }
                None => None,
            };
            let made = made.get(index).copied().unwrap_or(false);
            self.exchange.lines.push(line(section, made, owner));
        }
    }

    /// The transceiver for an m-line that has none: one that `addTrack` made and the offer could
    /// receive from, else a new one (RFC 9429 section 5.10).
    fn claim(&mut self, kind: Kind, offered: Direction) -> TransceiverId {
        let free = self.transceivers.iter().find(|t| {
            offered.receives()
                && t.by_add_track
                && t.kind == kind
                && t.association.line.is_none()
                && t.is_live()
        });
        if let Some(transceiver) = free {
            return transceiver.id;
        }
        let encodings = encodings::single(kind);
        let mut transceiver =
            Transceiver::new(&self.transceivers, kind, Direction::Recvonly, encodings);
        transceiver.by_remote_offer = true;
        let id = transceiver.id;
        self.transceivers.push(transceiver);
        id
    }

    fn associate(
        &mut self,
        settings: &Settings,
        owner: TransceiverId,
        index: usize,
        section: &Section,
        effects: &mut Effects,
    ) {
        let Some(transceiver) = self.transceiver_mut(owner) else {
            return;
        };
        transceiver.association.mid = Some(Mid::from(section.mid()));
        transceiver.association.line = Some(index);
        let layered = section.extensions.iter().any(|e| e.uri == RID_URI)
            && settings.extensions(transceiver.kind).contains(&RID_URI)
            && transceiver.kind == Kind::Video;
        let rids = if layered {
            send_rids(section)
        } else {
            Vec::new()
        };
        receive_remote_track(
            transceiver,
            section,
            section.direction.reversed(),
            rids,
            effects,
        );
    }

    /// What an answer, final or not, settles. `we_offered`: it is the peer's.
    fn apply_answer(
        &mut self,
        settings: &Settings,
        offer: &Sdp,
        answer: &Sdp,
        we_offered: bool,
        effects: &mut Effects,
    ) {
        self.settle_transport(settings, offer, answer, we_offered);
        self.exchange.data = None;
        for (index, (offered, answered)) in offer.sections.iter().zip(&answer.sections).enumerate()
        {
            let rejected = offered.is_rejected() || answered.is_rejected();
            if we_offered {
                self.learn(answered);
            }
            let Some(line) = self.exchange.lines.get_mut(index) else {
                continue;
            };
            line.rejected = rejected;
            let owner = line.transceiver;
            let (local, remote) = if we_offered {
                (offered, answered)
            } else {
                (answered, offered)
            };
            if offered.media == Media::Application && !rejected {
                self.exchange.data = super::plans::data(local, remote);
            }
            let Some(transceiver) = owner.and_then(|id| self.transceiver_mut(id)) else {
                continue;
            };
            if transceiver.association.line != Some(index) {
                continue;
            }
            if rejected {
                if !transceiver.stopped {
                    stop(transceiver, effects);
                }
                let association = &mut transceiver.association;
                *association = Association {
                    mid: association.mid.take(),
                    line: association.line,
                    ..Association::default()
                };
                continue;
            }
            let direction = if we_offered {
                answered.direction.reversed()
            } else {
                answered.direction
            };
            let negotiated =
                super::plans::negotiate(settings, transceiver, offered, answered, we_offered);
            if we_offered {
                let rids = negotiated.receive_rids.clone();
                receive_remote_track(transceiver, answered, direction, rids, effects);
            } else {
                mute_if_lost(transceiver, direction, effects);
            }
            transceiver.has_sent |= direction.sends();
            transceiver.association.fired_direction = Some(direction);
            transceiver.association.current_direction = Some(direction);
            transceiver.association.negotiated = Some(negotiated);
        }
    }
}

fn applied(sdp_type: SdpType, text: String, created: &Created) -> Arc<Description> {
    // Candidates that the application put into the text stay in it.
    Arc::new(Description {
        sdp_type,
        text,
        sdp: created.sdp.clone(),
    })
}

fn line(section: &Section, mid_is_ours: bool, transceiver: Option<TransceiverId>) -> Line {
    Line {
        mid: Mid::from(section.mid()),
        mid_is_ours,
        media: section.media.clone(),
        protocol: section.protocol.clone(),
        formats: section.formats.clone(),
        rejected: section.is_rejected(),
        transceiver,
    }
}

/// The layers a description says its author sends, in order.
pub(super) fn send_rids(section: &Section) -> Vec<Rid> {
    let declared = |rid: &str| section.rids.iter().any(|line| line.send && line.rid == rid);
    let layers = section.simulcast_send.iter().flatten();
    layers
        .filter(|l| declared(&l.rid))
        .map(|l| Rid::from(l.rid.as_str()))
        .collect()
}

/// The remote-track steps of a remote description. `direction` is ours.
fn receive_remote_track(
    transceiver: &mut Transceiver,
    section: &Section,
    direction: Direction,
    rids: Vec<Rid>,
    effects: &mut Effects,
) {
    if !transceiver.is_live() {
        return;
    }
    if direction.receives() {
        let fired = transceiver
            .association
            .fired_direction
            .is_some_and(Direction::receives);
        transceiver.association.streams = section.streams();
        transceiver.association.rids = rids;
        if !fired {
            effects.tracks.push(transceiver.remote_track());
        }
    } else {
        mute_if_lost(transceiver, direction, effects);
    }
    transceiver.association.fired_direction = Some(direction);
}

fn mute_if_lost(transceiver: &Transceiver, direction: Direction, effects: &mut Effects) {
    let fired = transceiver
        .association
        .fired_direction
        .is_some_and(Direction::receives);
    if fired && !direction.receives() && transceiver.is_live() {
        effects.muted.push(transceiver.receiver.track);
    }
}
