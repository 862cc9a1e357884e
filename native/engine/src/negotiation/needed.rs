//! Whether negotiation is needed (W3C webrtc-pc section 4.7.3).

use super::Change;
use super::sdp::{Media, Section};
use super::state::{Description, State};
use super::transceiver::Transceiver;
use crate::w3c::{Direction, SdpType, SignalingState};

impl State {
    /// "Update the negotiation-needed flag". The event, if it fires.
    pub fn update_needed(&mut self) -> Option<Change> {
        if self.signaling != SignalingState::Stable {
            return None;
        }
        let needed = self.is_negotiation_needed();
        let fires = needed && !self.needed;
        self.needed = needed;
        fires.then_some(Change::NegotiationNeeded)
    }

    /// "Check if negotiation is needed".
    fn is_negotiation_needed(&self) -> bool {
        if !self.ufrags_to_replace.is_empty() {
            return true;
        }
        let local = self.current_local.as_deref();
        let mut lines = self.exchange.lines.iter();
        let has_data = lines.any(|line| line.media == Media::Application && !line.rejected);
        if self.wants_data && !has_data {
            return true;
        }
        self.transceivers
            .iter()
            .any(|t| self.needs_negotiation(t, local))
            || self.has_orphan()
    }

    fn needs_negotiation(&self, transceiver: &Transceiver, local: Option<&Description>) -> bool {
        if transceiver.stopping && !transceiver.stopped {
            return true;
        }
        let line = transceiver.association.line;
        let section =
            local.and_then(|description| Some((description, description.sdp.sections.get(line?)?)));
        let Some((description, section)) = section else {
            return !transceiver.stopped;
        };
        if transceiver.stopped {
            return !section.is_rejected() && !self.remote_section_is_rejected(line);
        }
        let remote = self
            .current_remote
            .as_deref()
            .and_then(|d| d.sdp.sections.get(line?));
        has_other_streams(transceiver, section)
            || has_other_direction(transceiver.direction, description.sdp_type, section, remote)
    }

    fn remote_section_is_rejected(&self, line: Option<usize>) -> bool {
        let remote = self.current_remote.as_deref();
        remote
            .and_then(|d| d.sdp.sections.get(line?))
            .is_some_and(Section::is_rejected)
    }

    /// A media m-line in use whose transceiver is gone: it must be given back.
    fn has_orphan(&self) -> bool {
        self.exchange.lines.iter().any(|line| {
            matches!(line.media, Media::Rtp(_))
                && !line.rejected
                && line
                    .transceiver
                    .and_then(|id| self.transceiver(id))
                    .is_none()
        })
    }
}

fn has_other_streams(transceiver: &Transceiver, section: &Section) -> bool {
    if !transceiver.direction.sends() {
        return false;
    }
    let mut wanted = transceiver.sender.streams.clone();
    let mut described = section.streams();
    wanted.sort_unstable();
    wanted.dedup();
    described.sort_unstable();
    section.msids.is_empty() || wanted != described
}

fn has_other_direction(
    wanted: Direction,
    sdp_type: SdpType,
    local: &Section,
    remote: Option<&Section>,
) -> bool {
    let remote = remote.map(|section| section.direction.reversed());
    if sdp_type == SdpType::Offer {
        local.direction != wanted && remote != Some(wanted)
    } else {
        local.direction != remote.map_or(wanted, |offered| wanted.and(offered))
    }
}
