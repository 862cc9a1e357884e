//! What the other rooms are to carry out.

use super::answer::agreed_send_rids;
use super::apply::send_rids;
use super::sdp::{Sdp, Section, Setup};
use super::settings::Settings;
use super::state::{Line, RemoteTransport, State};
use super::transceiver::{Negotiated, Transceiver};
use super::{codecs, extensions};
use crate::ids::Rid;
use crate::plan::{
    DataPlan, EncodingPlan, IceCredentials, MediaPlan, MediaSection, ReceivePlan, SendPlan,
    TransportPlan,
};
use crate::w3c::{Codec, Direction, DtlsRole, IceRole};

/// The largest message of a peer that does not say (RFC 8841 section 6.1).
const DEFAULT_MAX_MESSAGE_SIZE: u64 = 65_536;

/// What both descriptions of an m-line agree on.
pub(super) fn negotiate(
    settings: &Settings,
    transceiver: &Transceiver,
    offered: &Section,
    answered: &Section,
    we_offered: bool,
) -> Negotiated {
    let (local, remote) = if we_offered {
        (offered, answered)
    } else {
        (answered, offered)
    };
    let (ours, our_rtx) = codecs::split(&local.codecs);
    let (theirs, their_rtx) = codecs::split(&remote.codecs);
    // The answer's order is the agreed order of preference.
    let in_answer = if we_offered { &theirs } else { &ours };
    let receive_codecs = counterparts(in_answer, &ours);
    let send_codecs = counterparts(in_answer, &theirs)
        .into_iter()
        .map(|codec| {
            let ours = codecs::find(&ours, &codec);
            let feedback = ours.map_or_else(Vec::new, |o| codecs::common_feedback(&codec, o));
            Codec { feedback, ..codec }
        })
        .collect::<Vec<_>>();
    let keep = |rtx: &std::collections::BTreeMap<u8, u8>, of: &[Codec], on: bool| {
        let repairs = |apt: &u8| of.iter().any(|c| c.payload_type == *apt);
        rtx.iter()
            .filter(|(_, apt)| on && repairs(apt))
            .map(|(pt, apt)| (*pt, *apt))
            .collect()
    };
    let receive_rids = if we_offered {
        let asked = &offered.simulcast_receive;
        agreed_send_rids(&send_rids(answered), asked)
    } else {
        rids_of(&answered.simulcast_receive)
    };
    let send_rids = if we_offered {
        agreed_send_rids(&transceiver.sender.rids, &answered.simulcast_receive)
    } else {
        rids_of(&answered.simulcast_send)
    };
    Negotiated {
        receive_rtx: keep(&our_rtx, &receive_codecs, settings.inbound_rtx),
        send_rtx: keep(&their_rtx, &send_codecs, settings.outbound_rtx),
        receive_codecs,
        send_codecs,
        extensions: extensions::negotiated(offered, answered),
        ssrcs: declared_ssrcs(remote),
        reduced_size_rtcp: offered.rtcp_rsize && answered.rtcp_rsize,
        receive_rids,
        send_rids,
    }
}

fn rids_of(layers: &super::sdp::Layers) -> Vec<Rid> {
    layers
        .iter()
        .flatten()
        .map(|layer| Rid::from(layer.rid.as_str()))
        .collect()
}

/// The entries of `list` that mean the codecs of `order`, in its order, each once.
fn counterparts(order: &[Codec], list: &[Codec]) -> Vec<Codec> {
    let mut result: Vec<Codec> = Vec::with_capacity(order.len());
    for codec in order {
        if let Some(found) = codecs::find(list, codec)
            && !result
                .iter()
                .any(|known| known.payload_type == found.payload_type)
        {
            result.push(found.clone());
        }
    }
    result
}

fn declared_ssrcs(remote: &Section) -> Vec<(u32, Option<u32>)> {
    let is_repair = |ssrc: &u32| remote.repairs.iter().any(|(_, repair)| repair == ssrc);
    let repair_of = |ssrc: u32| {
        remote
            .repairs
            .iter()
            .find(|(stream, _)| *stream == ssrc)
            .map(|(_, repair)| *repair)
    };
    remote
        .ssrcs
        .keys()
        .filter(|ssrc| !is_repair(ssrc))
        .map(|ssrc| (*ssrc, repair_of(*ssrc)))
        .collect()
}

/// The data channel m-line that both accepted.
pub(super) fn data(local: &Section, remote: &Section) -> Option<DataPlan> {
    Some(DataPlan {
        local_port: local.sctp_port?,
        remote_port: remote.sctp_port?,
        remote_max_message_size: match remote.max_message_size {
            Some(0) => None,
            Some(size) => Some(size),
            None => Some(DEFAULT_MAX_MESSAGE_SIZE),
        },
    })
}

impl State {
    /// ICE and DTLS as an answer leaves them. The m-line that counts is the tagged one of the
    /// answer; what the peer left out there, it said on its own tagged one.
    pub fn settle_transport(
        &mut self,
        settings: &Settings,
        offer: &Sdp,
        answer: &Sdp,
        we_offered: bool,
    ) {
        let Some(tagged) = answer.tagged() else {
            // Every m-line was refused, so a restart that was offered did not take place.
            let before = self.stable.as_ref().and_then(|c| c.exchange.local.clone());
            if we_offered && before.is_some() {
                self.exchange.local = before;
            }
            return;
        };
        let remote = if we_offered { answer } else { offer };
        let Some(section) = remote
            .sections
            .get(tagged)
            .filter(|s| s.ufrag.is_some() && s.pwd.is_some() && !s.fingerprints.is_empty())
            .or_else(|| remote.tagged().and_then(|index| remote.sections.get(index)))
        else {
            return;
        };
        let known = self.exchange.remote.as_ref().map(|r| &r.fingerprints);
        let same_peer = known.is_none_or(|known| *known == section.fingerprints);
        if let (Some(ufrag), Some(pwd)) = (&section.ufrag, &section.pwd) {
            self.exchange.remote = Some(RemoteTransport {
                credentials: IceCredentials {
                    ufrag: ufrag.clone(),
                    pwd: pwd.clone(),
                },
                fingerprints: section.fingerprints.clone(),
                ice_lite: remote.ice_lite,
            });
        }
        match (settings.ice_lite, remote.ice_lite) {
            (false, true) => self.exchange.ice_role = Some(IceRole::Controlling),
            (true, false) => self.exchange.ice_role = Some(IceRole::Controlled),
            _ => {}
        }
        // Another role than before is another DTLS association (RFC 8842), where the peer offered
        // it, or has another certificate. An answer to `actpass` may turn the role round by
        // mistake: libdatachannel (until 2022) and Pion (until 2026) answered `active` whatever
        // was in force, and went on as before.
        let chosen = !we_offered && matches!(section.setup, Some(Setup::Active | Setup::Passive));
        if self.exchange.dtls_role.is_some() && same_peer && !chosen {
            return;
        }
        let setup = answer.sections.get(tagged).and_then(|s| s.setup);
        match (setup, we_offered) {
            (Some(Setup::Active), true) | (Some(Setup::Passive), false) => {
                self.exchange.dtls_role = Some(DtlsRole::Server);
            }
            (Some(Setup::Passive), true) | (Some(Setup::Active), false) => {
                self.exchange.dtls_role = Some(DtlsRole::Client);
            }
            _ => {}
        }
    }

    pub fn transport_plan(&self) -> Option<TransportPlan> {
        let exchange = &self.exchange;
        self.local()?;
        let remote = exchange.remote.as_ref();
        Some(TransportPlan {
            ice_role: exchange.ice_role?,
            local: exchange.local.clone()?,
            remote: remote.map(|r| r.credentials.clone()),
            remote_ice_lite: remote.is_some_and(|r| r.ice_lite),
            remote_fingerprints: remote.map(|r| r.fingerprints.clone()).unwrap_or_default(),
            dtls_role: exchange.dtls_role,
        })
    }

    pub fn media_plan(&self) -> MediaPlan {
        let sections = self
            .exchange
            .lines
            .iter()
            .filter_map(|line| self.media_section(line));
        MediaPlan {
            sections: sections.collect(),
        }
    }

    fn media_section(&self, line: &Line) -> Option<MediaSection> {
        let transceiver = self
            .transceiver(line.transceiver?)
            .filter(|t| t.is_live())?;
        if line.rejected || transceiver.association.mid.as_ref() != Some(&line.mid) {
            return None;
        }
        let association = &transceiver.association;
        let mut extensions = association
            .negotiated
            .as_ref()
            .map(|n| n.extensions.clone());
        if let Some(offered) = &association.offered {
            // What is agreed on counts over what is only offered.
            let known = extensions.get_or_insert_default();
            for (id, uri) in &offered.extensions {
                known.entry(*id).or_insert_with(|| uri.clone());
            }
        }
        Some(MediaSection {
            mid: line.mid.clone(),
            kind: transceiver.kind,
            transceiver: transceiver.id,
            extensions: extensions?,
            reduced_size_rtcp: association.reduced_size_rtcp(),
            receive: self.receive_plan(transceiver),
            send: self.send_plan(transceiver),
        })
    }

    fn receive_plan(&self, transceiver: &Transceiver) -> Option<ReceivePlan> {
        let association = &transceiver.association;
        let current = association
            .current_direction
            .is_some_and(Direction::receives);
        let negotiated = association.negotiated.as_ref().filter(|_| current);
        let mut plan = ReceivePlan {
            receiver: transceiver.receiver.id,
            track: transceiver.receiver.track,
            codecs: negotiated
                .map(|n| n.receive_codecs.clone())
                .unwrap_or_default(),
            rtx: negotiated
                .map(|n| n.receive_rtx.clone())
                .unwrap_or_default(),
            ssrcs: negotiated.map(|n| n.ssrcs.clone()).unwrap_or_default(),
            rids: negotiated
                .map(|n| n.receive_rids.clone())
                .unwrap_or_default(),
        };
        if let Some(offered) = &association.offered {
            for codec in &offered.codecs {
                if !plan
                    .codecs
                    .iter()
                    .any(|known| known.payload_type == codec.payload_type)
                {
                    plan.codecs.push(codec.clone());
                }
            }
            for (payload_type, apt) in &offered.rtx {
                plan.rtx.entry(*payload_type).or_insert(*apt);
            }
        }
        (!plan.codecs.is_empty()).then_some(plan)
    }

    fn send_plan(&self, transceiver: &Transceiver) -> Option<SendPlan> {
        let association = &transceiver.association;
        let negotiated = association.negotiated.as_ref()?;
        if !association.current_direction.is_some_and(Direction::sends) {
            return None;
        }
        let codec = transceiver.send_codec()?.clone();
        let repairs = !negotiated.send_rtx.is_empty();
        let sender = &transceiver.sender;
        let encoding = |rid: Option<Rid>, at: usize, (ssrc, repair): (u32, u32)| EncodingPlan {
            rid,
            ssrc,
            rtx_ssrc: repairs.then_some(repair),
            active: sender.settings.get(at).is_none_or(|wanted| wanted.active),
        };
        let encodings = if negotiated.send_rids.is_empty() {
            sender
                .ssrcs
                .first()
                .map(|pair| encoding(None, 0, *pair))
                .into_iter()
                .collect()
        } else {
            let layers = sender.rids.iter().zip(&sender.ssrcs).enumerate();
            layers
                .filter(|(_, (rid, _))| negotiated.send_rids.contains(rid))
                .map(|(at, (rid, pair))| encoding(Some(rid.clone()), at, *pair))
                .collect()
        };
        Some(SendPlan {
            sender: sender.id,
            track: sender.track.as_ref().map(|track| track.id),
            codec,
            codecs: negotiated.send_codecs.clone(),
            rtx: negotiated.send_rtx.clone(),
            encodings,
            cname: self.cname.clone(),
        })
    }

    /// Codecs and header extensions with the payload types and ids in use; what no m-line uses
    /// yet, as configured.
    pub fn negotiated_configuration(
        &self,
        settings: &Settings,
    ) -> (Vec<Codec>, Vec<Codec>, Vec<(u8, String)>) {
        let codecs = |kind| {
            let in_use: Vec<Codec> = self
                .transceivers
                .iter()
                .filter(|t| t.kind == kind)
                .filter_map(|t| t.association.negotiated.as_ref())
                .flat_map(|n| n.receive_codecs.iter().cloned())
                .collect();
            let configured = settings.codecs(kind).iter();
            configured
                .map(|codec| {
                    let found = codecs::counterpart(&in_use, codec);
                    found.unwrap_or(codec).clone()
                })
                .collect()
        };
        let mut header_extensions: Vec<(u8, String)> = Vec::new();
        for negotiated in self
            .transceivers
            .iter()
            .filter_map(|t| t.association.negotiated.as_ref())
        {
            for (id, uri) in &negotiated.extensions {
                if !header_extensions.iter().any(|(known, _)| known == id) {
                    header_extensions.push((*id, uri.clone()));
                }
            }
        }
        header_extensions.sort_unstable();
        (
            codecs(crate::w3c::Kind::Audio),
            codecs(crate::w3c::Kind::Video),
            header_extensions,
        )
    }
}
