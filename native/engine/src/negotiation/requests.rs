//! What the application asks of transceivers and senders (W3C webrtc-pc sections 5.1, 5.2, 5.4).

use super::settings::Settings;
use super::state::{Effects, State, end_track};
use super::transceiver::Transceiver;
use super::{Change, codecs, encodings};
use crate::command::{RtpEncoding, SenderInfo, TransceiverInfo};
use crate::error::Error;
use crate::ids::{SenderId, TransceiverId};
use crate::w3c::{Codec, Direction, Kind, SignalingState, Track};

/// Transceivers of one connection: an m-line each, of which descriptions may have this many.
const MAX_TRANSCEIVERS: usize = super::parse::MAX_SECTIONS;

impl State {
    fn require_open(&self) -> Result<(), Error> {
        if self.signaling == SignalingState::Closed {
            Err(Error::InvalidState)
        } else {
            Ok(())
        }
    }

    pub fn by_sender(&mut self, id: SenderId) -> Result<&mut Transceiver, Error> {
        self.require_open()?;
        self.transceivers
            .iter_mut()
            .find(|t| t.sender.id == id)
            .ok_or(Error::InvalidSenderId)
    }

    fn by_id(&mut self, id: TransceiverId) -> Result<&mut Transceiver, Error> {
        self.require_open()?;
        self.transceiver_mut(id).ok_or(Error::InvalidTransceiverId)
    }

    fn check_track(&self, track: &Track) -> Result<(), Error> {
        let sent = |t: &Transceiver| t.sender.track.as_ref().is_some_and(|s| s.id == track.id);
        if self.transceivers.iter().any(sent) {
            return Err(Error::InvalidState);
        }
        check_streams(&track.streams)
    }

    /// Without a codec there is nothing to offer, and negotiation would be needed for ever.
    fn check_kind(settings: &Settings, kind: Kind) -> Result<(), Error> {
        if settings.codecs(kind).is_empty() {
            Err(Error::InvalidTrackType)
        } else {
            Ok(())
        }
    }

    fn check_room(&self) -> Result<(), Error> {
        if self.transceivers.len() < MAX_TRANSCEIVERS {
            Ok(())
        } else {
            Err(Error::InvalidState)
        }
    }

    pub fn add_transceiver(
        &mut self,
        settings: &Settings,
        kind: Kind,
        track: Option<Track>,
        direction: Direction,
        send_encodings: Vec<RtpEncoding>,
    ) -> Result<(TransceiverInfo, Vec<Change>), Error> {
        self.require_open()?;
        self.check_room()?;
        Self::check_kind(settings, kind)?;
        let encodings = encodings::initial(kind, send_encodings)?;
        if let Some(track) = &track {
            if track.kind != kind {
                return Err(Error::InvalidTrackType);
            }
            self.check_track(track)?;
        }
        let mut transceiver = Transceiver::new(&self.transceivers, kind, direction, encodings);
        if let Some(track) = track {
            transceiver.set_track(track);
        }
        let info = transceiver.info(settings);
        self.transceivers.push(transceiver);
        Ok((info, self.update_needed().into_iter().collect()))
    }

    pub fn add_track(
        &mut self,
        settings: &Settings,
        track: Track,
    ) -> Result<(SenderInfo, Vec<Change>), Error> {
        self.require_open()?;
        Self::check_kind(settings, track.kind)?;
        self.check_track(&track)?;
        let reusable = self.transceivers.iter().position(|t| {
            t.sender.track.is_none() && t.kind == track.kind && t.is_live() && !t.has_sent
        });
        let info = match reusable.and_then(|index| self.transceivers.get_mut(index)) {
            Some(transceiver) => {
                transceiver.set_track(track);
                transceiver.direction = Direction::of(true, transceiver.direction.receives());
                transceiver.sender_info()
            }
            None => {
                self.check_room()?;
                let (all, kind) = (&self.transceivers, track.kind);
                let encodings = encodings::single(kind);
                let mut transceiver = Transceiver::new(all, kind, Direction::Sendrecv, encodings);
                transceiver.by_add_track = true;
                transceiver.set_track(track);
                let info = transceiver.sender_info();
                self.transceivers.push(transceiver);
                info
            }
        };
        Ok((info, self.update_needed().into_iter().collect()))
    }

    pub fn remove_track(&mut self, sender: SenderId) -> Result<Vec<Change>, Error> {
        let transceiver = self.by_sender(sender)?;
        if !transceiver.is_live() || transceiver.sender.track.is_none() {
            return Ok(Vec::new());
        }
        transceiver.sender.track = None;
        transceiver.direction = Direction::of(false, transceiver.direction.receives());
        Ok(self.update_needed().into_iter().collect())
    }

    pub fn replace_track(
        &mut self,
        sender: SenderId,
        track: Option<Track>,
    ) -> Result<Vec<Change>, Error> {
        let known = self
            .by_sender(sender)?
            .sender
            .track
            .as_ref()
            .map(|track| track.id);
        if let Some(track) = &track
            && known != Some(track.id)
        {
            self.check_track(track)?;
        }
        let transceiver = self.by_sender(sender)?;
        if !transceiver.is_live() {
            return Err(Error::InvalidState);
        }
        if let Some(track) = &track {
            if track.kind != transceiver.kind {
                return Err(Error::InvalidTrackType);
            }
            if !transceiver.direction.sends() {
                return Err(Error::InvalidTransceiverDirection);
            }
        }
        transceiver.sender.track = track;
        Ok(Vec::new())
    }

    pub fn set_sender_codec(&mut self, sender: SenderId, codec: &Codec) -> Result<(), Error> {
        let transceiver = self.by_sender(sender)?;
        if !transceiver.is_live() {
            return Err(Error::InvalidState);
        }
        let sends = transceiver.direction.sends()
            && transceiver
                .association
                .current_direction
                .is_none_or(Direction::sends);
        if !sends {
            return Err(Error::InvalidTransceiverDirection);
        }
        let negotiated = transceiver.association.negotiated.as_ref();
        // The peer may have numbered what the configuration calls this its own way.
        let chosen = negotiated.and_then(|n| codecs::counterpart(&n.send_codecs, codec));
        transceiver.sender.codec = Some(chosen.ok_or(Error::InvalidCodec)?.clone());
        Ok(())
    }

    pub fn set_direction(
        &mut self,
        id: TransceiverId,
        direction: Direction,
    ) -> Result<Vec<Change>, Error> {
        let transceiver = self.by_id(id)?;
        if !transceiver.is_live() {
            return Err(Error::InvalidState);
        }
        transceiver.direction = direction;
        Ok(self.update_needed().into_iter().collect())
    }

    pub fn stop_transceiver(&mut self, id: TransceiverId) -> Result<Vec<Change>, Error> {
        let transceiver = self.by_id(id)?;
        if !transceiver.is_live() {
            return Ok(Vec::new());
        }
        let mut effects = Effects::default();
        end_track(transceiver, &mut effects);
        transceiver.direction = Direction::Inactive;
        transceiver.stopping = true;
        let mut changes = effects.into_changes();
        changes.extend(self.update_needed());
        Ok(changes)
    }

    pub fn set_codec_preferences(
        &mut self,
        settings: &Settings,
        id: TransceiverId,
        preferences: &[Codec],
    ) -> Result<Vec<Change>, Error> {
        let transceiver = self.by_id(id)?;
        let supported = settings.codecs(transceiver.kind);
        let mut chosen: Vec<Codec> = Vec::new();
        for wanted in preferences.iter().filter(|codec| !codecs::is_rtx(codec)) {
            let ours = codecs::configured(supported, wanted);
            let ours = ours.ok_or(Error::InvalidModification)?;
            if !chosen.contains(ours) {
                chosen.push(ours.clone());
            }
        }
        // Only repair formats: nothing that could be sent (W3C setCodecPreferences, step 6).
        if chosen.is_empty() && !preferences.is_empty() {
            return Err(Error::InvalidModification);
        }
        transceiver.preferences = chosen;
        Ok(self.update_needed().into_iter().collect())
    }
}

/// Stream ids stand in `a=msid` (RFC 8830 section 2: tokens).
pub(super) fn check_streams(streams: &[String]) -> Result<(), Error> {
    let is_token = |text: &String| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    };
    if streams.iter().all(is_token) {
        Ok(())
    } else {
        Err(Error::InvalidOption)
    }
}
