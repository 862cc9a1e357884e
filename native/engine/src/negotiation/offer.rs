//! `createOffer` (RFC 9429 section 5.2).

use super::codecs::{self, PayloadTypes};
use super::extensions::{self, ExtensionIds};
use super::identity;
use super::sdp::{Extension, Layer, Media, Msid, RidLine, Sdp, Section, Setup, SsrcAttributes};
use super::settings::Settings;
use super::state::{Created, Line, State};
use super::transceiver::Transceiver;
use crate::ids::{Rid, TransceiverId};
use crate::plan::IceCredentials;
use crate::w3c::{Codec, Direction};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// The profile we offer (RFC 8834 section 4.2).
const RTP_PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";

/// The transport of data channels (RFC 8841).
pub(super) const DATA_PROTOCOL: &str = "UDP/DTLS/SCTP";

/// Our `a=sctp-port` (RFC 8832 section 4 names 5000).
pub(super) const SCTP_PORT: u16 = 5000;

impl State {
    /// The offer, kept as the last created one.
    pub fn create_offer(&mut self, settings: &Settings, ice_restart: bool) -> Arc<Created> {
        let credentials = self.offer_credentials(ice_restart);
        let draft = Draft::new(self, settings, &credentials);
        let (sections, transceivers, next_mid) = draft.sections();
        let group: Vec<String> = sections
            .iter()
            .filter(|s| !s.is_rejected())
            .filter_map(|s| s.mid.clone())
            .collect();
        let sdp = Sdp {
            session_id: 0,
            version: 0,
            bundle_groups: if group.is_empty() {
                Vec::new()
            } else {
                vec![group]
            },
            ice_lite: settings.ice_lite,
            trickle: true,
            sections,
        };
        let (sdp, text) = self.origin.sign(sdp);
        let created = Arc::new(Created {
            text,
            sdp,
            credentials,
            transceivers,
            next_mid,
        });
        self.last_offer = Some(Arc::clone(&created));
        created
    }

    /// The credentials in force, or new ones for the first offer and for a restart.
    fn offer_credentials(&mut self, ice_restart: bool) -> IceCredentials {
        match &self.exchange.local {
            Some(local) if !ice_restart && !self.ufrags_to_replace.contains(&local.ufrag) => {
                local.clone()
            }
            _ => self
                .next_credentials
                .get_or_insert_with(identity::credentials)
                .clone(),
        }
    }
}

/// An offer in the making.
struct Draft<'a> {
    state: &'a State,
    settings: &'a Settings,
    credentials: &'a IceCredentials,
    payload_types: PayloadTypes,
    extension_ids: ExtensionIds,
    /// Transceivers without an m-line, in the order they were made.
    waiting: VecDeque<&'a Transceiver>,
    /// Data channels without one.
    wants_data: bool,
    mids: HashSet<String>,
    next_mid: u64,
}

impl<'a> Draft<'a> {
    fn new(state: &'a State, settings: &'a Settings, credentials: &'a IceCredentials) -> Self {
        let exchange = &state.exchange;
        let waiting = state
            .transceivers
            .iter()
            .filter(|t| t.is_live() && t.association.line.is_none())
            .filter(|t| !t.wanted_codecs(settings).is_empty())
            .collect();
        let has_data = exchange
            .lines
            .iter()
            .any(|line| line.media == Media::Application && !line.rejected);
        Self {
            state,
            settings,
            credentials,
            wants_data: state.wants_data && !has_data,
            payload_types: exchange.payload_types.clone(),
            extension_ids: exchange.extension_ids.clone(),
            waiting,
            mids: exchange
                .lines
                .iter()
                .map(|line| line.mid.as_str().to_owned())
                .collect(),
            next_mid: exchange.next_mid,
        }
    }

    fn sections(mut self) -> (Vec<Section>, Vec<Option<TransceiverId>>, u64) {
        let mut sections = Vec::new();
        let mut transceivers = Vec::new();
        for (index, line) in self.state.exchange.lines.iter().enumerate() {
            let (section, transceiver) = self.known_line(index, line);
            sections.push(section);
            transceivers.push(transceiver);
        }
        while let Some(transceiver) = self.waiting.pop_front() {
            let mid = self.fresh_mid();
            sections.push(self.media(transceiver, mid, RTP_PROTOCOL));
            transceivers.push(Some(transceiver.id));
        }
        if self.wants_data {
            let mid = self.fresh_mid();
            sections.push(self.data(mid, DATA_PROTOCOL));
            transceivers.push(None);
        }
        (sections, transceivers, self.next_mid)
    }

    fn fresh_mid(&mut self) -> String {
        identity::mid(&mut self.mids, &mut self.next_mid)
    }

    /// The next offer's section for an m-line that exists (RFC 9429 section 5.2.2).
    fn known_line(&mut self, index: usize, line: &Line) -> (Section, Option<TransceiverId>) {
        let mid = line.mid.as_str().to_owned();
        match &line.media {
            Media::Application if !line.rejected => (self.data(mid, &line.protocol), None),
            Media::Rtp(_) if !line.rejected => {
                let owner = line.transceiver.and_then(|id| self.state.transceiver(id));
                match owner.filter(|t| t.is_live()) {
                    Some(owner) => (self.media(owner, mid, &line.protocol), Some(owner.id)),
                    None => (rejected(line), line.transceiver),
                }
            }
            _ => {
                let settled = self
                    .state
                    .stable_lines()
                    .get(index)
                    .is_some_and(|l| l.rejected);
                if settled && line.media == Media::Application && self.wants_data {
                    self.wants_data = false;
                    let mid = self.fresh_mid();
                    return (self.data(mid, DATA_PROTOCOL), None);
                }
                let newcomer = if settled {
                    self.waiting.pop_front()
                } else {
                    None
                };
                match newcomer {
                    Some(newcomer) => {
                        let mid = self.fresh_mid();
                        (self.media(newcomer, mid, RTP_PROTOCOL), Some(newcomer.id))
                    }
                    None => (rejected(line), None),
                }
            }
        }
    }

    fn media(&mut self, transceiver: &Transceiver, mid: String, protocol: &str) -> Section {
        let kind = transceiver.kind;
        let mut section = Section::empty(Media::Rtp(kind), protocol);
        section.mid = Some(mid);
        section.direction = transceiver.direction;
        section.rtcp_mux = true;
        section.rtcp_rsize = true;
        transport(
            &mut section,
            self.settings,
            self.credentials,
            Setup::Actpass,
        );
        section.codecs = self.codecs(transceiver);
        section.formats = section
            .codecs
            .iter()
            .map(|c| c.payload_type.to_string())
            .collect();
        for uri in self.settings.extensions(kind) {
            if let Some(id) = self.extension_ids.assign(uri) {
                section.extensions.push(Extension {
                    id: u16::from(id),
                    direction: Direction::Sendrecv,
                    uri: uri.to_owned(),
                });
            }
        }
        section.allow_mixed = section
            .extensions
            .iter()
            .any(|e| extensions::needs_mixed(e.id));
        if section.direction.sends() {
            streams(&mut section, transceiver);
            encodings(
                &mut section,
                transceiver,
                &transceiver.sender.rids,
                &self.state.cname,
            );
        }
        if section.direction.receives()
            && let Some(negotiated) = &transceiver.association.negotiated
        {
            receive_layers(&mut section, &negotiated.receive_rids);
        }
        section
    }

    /// The wanted codecs: where negotiated before, with the payload types and in the order of
    /// then (unless the application set preferences); others with payload types that are free.
    fn codecs(&mut self, transceiver: &Transceiver) -> Vec<Codec> {
        let wanted = transceiver.wanted_codecs(self.settings);
        let before: Vec<Codec> = transceiver
            .association
            .negotiated
            .as_ref()
            .map(|n| n.receive_codecs.clone())
            .unwrap_or_default();
        let mut chosen: Vec<Codec> = Vec::new();
        if transceiver.preferences.is_empty() {
            chosen.extend(before.iter().cloned());
        }
        for codec in wanted {
            let known: Vec<&Codec> = before
                .iter()
                .filter(|b| codecs::accepts(codec, b))
                .collect();
            if known.is_empty() {
                if let Some(payload_type) = self.payload_types.assign(codec) {
                    chosen.push(Codec {
                        payload_type,
                        ..codec.clone()
                    });
                }
            } else {
                chosen.extend(known.into_iter().cloned());
            }
        }
        let mut seen = HashSet::new();
        chosen.retain(|codec| seen.insert(codec.payload_type));
        if !self.settings.rtx(transceiver.kind) {
            return chosen;
        }
        let reserved = self.settings.configured_payload_types();
        let mut result = Vec::with_capacity(2 * chosen.len());
        for codec in chosen {
            let (apt, clock_rate) = (codec.payload_type, codec.clock_rate);
            result.push(codec);
            if let Some(payload_type) = self.payload_types.assign_rtx(apt, clock_rate, &reserved) {
                result.push(codecs::rtx(payload_type, apt, clock_rate));
            }
        }
        result
    }

    fn data(&self, mid: String, protocol: &str) -> Section {
        let mut section = data(protocol, self.settings);
        section.mid = Some(mid);
        transport(
            &mut section,
            self.settings,
            self.credentials,
            Setup::Actpass,
        );
        section
    }
}

/// An m-line for data channels, without its transport.
pub(super) fn data(protocol: &str, settings: &Settings) -> Section {
    let mut section = Section::empty(Media::Application, protocol);
    section.sctp_port = Some(SCTP_PORT);
    section.formats = if protocol == "DTLS/SCTP" {
        vec![SCTP_PORT.to_string()]
    } else {
        vec!["webrtc-datachannel".to_owned()]
    };
    section.max_message_size = Some(u64::from(settings.max_message_size));
    section
}

/// An m-line that is refused, or stays so.
pub(super) fn rejected(line: &Line) -> Section {
    let mut section = Section::empty(line.media.clone(), &line.protocol);
    section.port = 0;
    section.direction = Direction::Inactive;
    section.mid = (!line.mid_is_ours).then(|| line.mid.as_str().to_owned());
    section.formats = if line.formats.is_empty() {
        vec!["0".to_owned()]
    } else {
        line.formats.clone()
    };
    section
}

/// ICE and DTLS attributes.
pub(super) fn transport(
    section: &mut Section,
    settings: &Settings,
    credentials: &IceCredentials,
    setup: Setup,
) {
    section.ufrag = Some(credentials.ufrag.clone());
    section.pwd = Some(credentials.pwd.clone());
    section.fingerprints = vec![settings.fingerprint.clone()];
    section.setup = Some(setup);
}

/// `a=msid`: the streams that our track belongs to.
pub(super) fn streams(section: &mut Section, transceiver: &Transceiver) {
    let sender = &transceiver.sender;
    let track = Some(sender.msid_track.to_string());
    section.msids = sender
        .streams
        .iter()
        .map(|stream| Msid {
            stream: stream.clone(),
            track: track.clone(),
        })
        .collect();
    if section.msids.is_empty() {
        section.msids.push(Msid {
            stream: "-".to_owned(),
            track,
        });
    }
}

/// What we send: simulcast layers, or one stream with its SSRCs.
pub(super) fn encodings(
    section: &mut Section,
    transceiver: &Transceiver,
    rids: &[Rid],
    cname: &str,
) {
    if !rids.is_empty() {
        for rid in rids {
            let rid = rid.as_str().to_owned();
            section.rids.push(RidLine {
                rid: rid.clone(),
                send: true,
                restrictions: None,
            });
            section
                .simulcast_send
                .push(vec![Layer { rid, paused: false }]);
        }
        return;
    }
    let Some((ssrc, repair)) = transceiver.sender.ssrcs.first().copied() else {
        return;
    };
    let attributes = SsrcAttributes {
        cname: Some(cname.to_owned()),
        msid: section.msids.first().cloned(),
    };
    if section.codecs.iter().any(codecs::is_rtx) {
        section.repairs.push((ssrc, repair));
        section.ssrcs.insert(repair, attributes.clone());
    }
    section.ssrcs.insert(ssrc, attributes);
}

/// The peer's layers that a later offer keeps.
fn receive_layers(section: &mut Section, rids: &[Rid]) {
    for rid in rids {
        let rid = rid.as_str().to_owned();
        section.rids.push(RidLine {
            rid: rid.clone(),
            send: false,
            restrictions: None,
        });
        section
            .simulcast_receive
            .push(vec![Layer { rid, paused: false }]);
    }
}
