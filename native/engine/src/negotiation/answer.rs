//! `createAnswer` (RFC 9429 section 5.3).

use super::codecs;
use super::extensions::{self, RID_URI};
use super::identity;
use super::offer::{data, encodings, rejected, streams, transport};
use super::sdp::{Layers, Media, RidLine, Sdp, Section, Setup};
use super::settings::Settings;
use super::state::{Created, Line, State};
use super::transceiver::Transceiver;
use crate::ids::Rid;
use crate::plan::IceCredentials;
use crate::w3c::{Codec, DtlsRole, Kind};
use std::sync::Arc;

impl State {
    /// The answer to the pending remote offer, kept as the last created one; `None` without one.
    pub fn create_answer(&mut self, settings: &Settings) -> Option<Arc<Created>> {
        let offer = Arc::clone(self.pending_remote.as_ref()?);
        let credentials = self.answer_credentials(&offer.sdp);
        let setup = self.answer_setup(&offer.sdp, settings);
        let mut sections = Vec::with_capacity(offer.sdp.sections.len());
        let mut transceivers = Vec::with_capacity(offer.sdp.sections.len());
        for (index, (offered, line)) in offer
            .sdp
            .sections
            .iter()
            .zip(&self.exchange.lines)
            .enumerate()
        {
            let bundled = offer.sdp.is_bundled(index);
            let mut section = if offered.is_rejected() || !bundled {
                rejected(line)
            } else {
                self.answer_section(offered, line, settings)
            };
            section.protocol.clone_from(&offered.protocol);
            section.mid = (!line.mid_is_ours).then(|| line.mid.as_str().to_owned());
            if section.is_rejected() {
                section.formats.clone_from(&offered.formats);
            } else {
                transport(&mut section, settings, &credentials, setup);
            }
            sections.push(section);
            transceivers.push(line.transceiver);
        }
        let sdp = Sdp {
            session_id: 0,
            version: 0,
            bundle_groups: answer_groups(&offer.sdp, &sections),
            ice_lite: settings.ice_lite,
            trickle: true,
            sections,
        };
        let (sdp, text) = self.origin.sign(sdp);
        let next_mid = self.exchange.next_mid;
        let created = Arc::new(Created {
            text,
            sdp,
            credentials,
            transceivers,
            next_mid,
        });
        self.last_answer = Some(Arc::clone(&created));
        Some(created)
    }

    /// New credentials for the first answer and where the offer restarts ICE, which is when its
    /// credentials differ from those in force (RFC 8839 section 4.4.1.1.1).
    fn answer_credentials(&mut self, offer: &Sdp) -> IceCredentials {
        let tagged = offer.tagged().and_then(|index| offer.sections.get(index));
        let restarts = match (&self.exchange.remote, tagged) {
            (Some(known), Some(section)) => {
                section.ufrag.as_ref() != Some(&known.credentials.ufrag)
                    || section.pwd.as_ref() != Some(&known.credentials.pwd)
            }
            _ => false,
        };
        match &self.exchange.local {
            Some(local) if !restarts || self.local_is_answered() => local.clone(),
            _ => self
                .next_credentials
                .get_or_insert_with(identity::credentials)
                .clone(),
        }
    }

    /// A provisional answer of ours already took the offer's credentials into account.
    fn local_is_answered(&self) -> bool {
        self.pending_local.is_some()
    }

    /// The role in force stays; else the offer's `setup` leaves it to us or not (RFC 8842
    /// section 5.3).
    fn answer_setup(&self, offer: &Sdp, settings: &Settings) -> Setup {
        let offered = offer
            .tagged()
            .and_then(|i| offer.sections.get(i))
            .and_then(|s| s.setup);
        match (offered, self.exchange.dtls_role.or(settings.dtls_role)) {
            (Some(Setup::Active), _) => Setup::Passive,
            (Some(Setup::Passive), _) => Setup::Active,
            (_, Some(DtlsRole::Server)) => Setup::Passive,
            _ => Setup::Active,
        }
    }

    fn answer_section(&self, offered: &Section, line: &Line, settings: &Settings) -> Section {
        match offered.media {
            Media::Application if is_data_section(offered) => data(&offered.protocol, settings),
            Media::Rtp(kind) if is_rtp_profile(&offered.protocol) => {
                let owner = line.transceiver.and_then(|id| self.transceiver(id));
                owner
                    .filter(|t| t.is_live() && t.kind == kind)
                    .and_then(|t| answer_media(offered, t, settings, &self.cname))
                    .unwrap_or_else(|| rejected(line))
            }
            _ => rejected(line),
        }
    }
}

/// A BUNDLE group of what is accepted, in the offer's order; none where the offer has none.
fn answer_groups(offer: &Sdp, sections: &[Section]) -> Vec<Vec<String>> {
    let Some(group) = offer.bundle_groups.first() else {
        return Vec::new();
    };
    let accepted = |mid: &&String| {
        sections
            .iter()
            .any(|s| !s.is_rejected() && s.mid.as_ref() == Some(*mid))
    };
    let group: Vec<String> = group.iter().filter(accepted).cloned().collect();
    if group.is_empty() {
        Vec::new()
    } else {
        vec![group]
    }
}

/// RFC 8841, or the form before it.
pub(super) fn is_data_section(section: &Section) -> bool {
    let format = section.formats.first().map(String::as_str);
    match section.protocol.as_str() {
        "UDP/DTLS/SCTP" | "TCP/DTLS/SCTP" => format == Some("webrtc-datachannel"),
        "DTLS/SCTP" => section.sctp_port.is_some(),
        _ => false,
    }
}

/// The profiles that mean RTP over DTLS-SRTP (RFC 9429 section 5.1.2), old spellings included.
fn is_rtp_profile(protocol: &str) -> bool {
    let profile = protocol.rsplit_once("RTP/").map(|(_, profile)| profile);
    matches!(profile, Some("SAVPF" | "SAVP" | "AVPF" | "AVP"))
}

fn answer_media(
    offered: &Section,
    transceiver: &Transceiver,
    settings: &Settings,
    cname: &str,
) -> Option<Section> {
    let kind = transceiver.kind;
    let mut section = Section::empty(Media::Rtp(kind), &offered.protocol);
    section.direction = transceiver.direction.and(offered.direction.reversed());
    section.rtcp_mux = true;
    section.rtcp_rsize = offered.rtcp_rsize;
    section.codecs = answer_codecs(offered, transceiver, settings)?;
    section.formats = section
        .codecs
        .iter()
        .map(|c| c.payload_type.to_string())
        .collect();
    section.extensions = extensions::answer(offered, &settings.extensions(kind));
    section.allow_mixed = offered.allow_mixed;
    // Also where the offer does not let us send: negotiation-needed (W3C webrtc-pc section 4.7.3)
    // looks for what the transceiver wants, and would ask for ever.
    if transceiver.direction.sends() {
        streams(&mut section, transceiver);
    }
    if section.direction.sends() {
        let rids = agreed_send_rids(&transceiver.sender.rids, &offered.simulcast_receive);
        encodings(&mut section, transceiver, &rids, cname);
    }
    if section.direction.receives() {
        take_layers(&mut section, offered);
    }
    Some(section)
}

/// The offered codecs that we have, in the offer's order (RFC 3264 section 6.1) or in that of the
/// application's preferences; `None` if there is none.
fn answer_codecs(
    offered: &Section,
    transceiver: &Transceiver,
    settings: &Settings,
) -> Option<Vec<Codec>> {
    let wanted = transceiver.wanted_codecs(settings);
    let accept = |theirs: &Codec| {
        codecs::configured(wanted, theirs).map(|ours| codecs::answer(ours, theirs))
    };
    let theirs = || offered.codecs.iter().filter(|codec| !codecs::is_rtx(codec));
    let accepted: Vec<Codec> = if transceiver.preferences.is_empty() {
        theirs().filter_map(accept).collect()
    } else {
        wanted
            .iter()
            .flat_map(|ours| {
                theirs()
                    .filter(|t| codecs::accepts(ours, t))
                    .filter_map(accept)
            })
            .collect()
    };
    if accepted.is_empty() {
        return None;
    }
    let repairs = settings.rtx(transceiver.kind);
    let mut result: Vec<Codec> = Vec::with_capacity(2 * accepted.len());
    for codec in accepted {
        let rtx = offered
            .codecs
            .iter()
            .find(|rtx| codecs::apt(rtx) == Some(codec.payload_type))
            .filter(|_| repairs)
            .map(|rtx| codecs::rtx(rtx.payload_type, codec.payload_type, rtx.clock_rate));
        if !result
            .iter()
            .any(|known| known.payload_type == codec.payload_type)
        {
            result.push(codec);
            result.extend(rtx);
        }
    }
    Some(result)
}

/// Of the layers we want to send, those that the peer asks for.
pub(super) fn agreed_send_rids(ours: &[Rid], asked: &Layers) -> Vec<Rid> {
    let is_asked = |rid: &&Rid| {
        asked
            .iter()
            .flatten()
            .any(|layer| layer.rid == rid.as_str())
    };
    ours.iter().filter(is_asked).cloned().collect()
}

/// Accepts the simulcast that the offer would send (RFC 8853 section 5.3.2). Without the rid
/// extension layers could not be told apart, so then there is none.
fn take_layers(section: &mut Section, offered: &Section) {
    if section.kind() != Some(Kind::Video)
        || !section
            .extensions
            .iter()
            .any(|e| e.uri == RID_URI && e.direction.receives())
    {
        return;
    }
    let lines: Vec<RidLine> = offered
        .rids
        .iter()
        .filter(|line| line.send && has_usable_codec(line, &section.codecs))
        .map(|line| RidLine {
            send: false,
            ..line.clone()
        })
        .collect();
    let layers: Layers = offered
        .simulcast_send
        .iter()
        .map(|stream| {
            let known = |rid: &str| lines.iter().any(|line| line.rid == rid);
            stream
                .iter()
                .filter(|layer| known(&layer.rid))
                .cloned()
                .collect::<Vec<_>>()
        })
        .filter(|stream| !stream.is_empty())
        .collect();
    let named = |rid: &str| layers.iter().flatten().any(|layer| layer.rid == rid);
    section
        .rids
        .extend(lines.into_iter().filter(|line| named(&line.rid)));
    section.simulcast_receive = layers;
}

fn has_usable_codec(line: &RidLine, codecs: &[Codec]) -> bool {
    match line.payload_types() {
        Some(allowed) => codecs.iter().any(|c| allowed.contains(&c.payload_type)),
        None => true,
    }
}
