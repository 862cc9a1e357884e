//! Layers that a remote offer asks us to send: `proposedSendEncodings` (W3C webrtc-pc section
//! 4.4.1.5), as SFUs offer them to a publisher.

use super::encodings::MAX_ENCODINGS;
use super::extensions::RID_URI;
use super::identity;
use super::sdp::Section;
use super::settings::Settings;
use super::state::State;
use super::transceiver::{Sender, Unlayered};
use crate::command::EncodingSettings;
use crate::ids::{Rid, TransceiverId};
use crate::w3c::Kind;

impl State {
    /// Gives a sender the layers that the offer of its m-line asks for. One that has layers keeps
    /// its own: the answer takes of them what is asked for.
    pub fn propose_layers(&mut self, settings: &Settings, owner: TransceiverId, section: &Section) {
        let proposed = proposed(settings, section);
        let Some(transceiver) = self.transceiver(owner) else {
            return;
        };
        if proposed.is_empty() || !transceiver.sender.rids.is_empty() {
            return;
        }
        let mut ssrcs = transceiver.sender.ssrcs.clone();
        let mut numbers = Vec::new();
        while ssrcs.len() < proposed.len() {
            for _ in 0..2 {
                numbers.push(identity::ssrc(&self.transceivers, &numbers));
            }
            if let [.., ssrc, repair] = numbers.as_slice() {
                ssrcs.push((*ssrc, *repair));
            }
        }
        let Some(transceiver) = self.transceiver_mut(owner) else {
            return;
        };
        // A transceiver that this very offer made has nothing to go back to: it goes itself, or
        // keeps what it was made with.
        let made_here = transceiver.by_remote_offer && transceiver.association.mid.is_none();
        transceiver.sender.take_layers(proposed, ssrcs, !made_here);
    }
}

impl Sender {
    fn take_layers(&mut self, rids: Vec<Rid>, ssrcs: Vec<(u32, u32)>, keep_old: bool) {
        let layers = i32::try_from(rids.len()).unwrap_or_default();
        let settings = (1..=layers)
            .map(|place| EncodingSettings {
                scale_resolution_down_by: Some(f64::from(2).powi(layers - place)),
                ..EncodingSettings::default()
            })
            .collect();
        let old = Unlayered {
            ssrcs: std::mem::replace(&mut self.ssrcs, ssrcs),
            settings: std::mem::replace(&mut self.settings, settings),
        };
        self.unlayered = keep_old.then_some(old);
        self.rids = rids;
        self.transaction = None;
    }

    /// The offer is taken back.
    pub fn take_layers_back(&mut self) {
        if let Some(Unlayered { ssrcs, settings }) = self.unlayered.take() {
            self.rids.clear();
            self.ssrcs = ssrcs;
            self.settings = settings;
            self.transaction = None;
        }
    }
}

/// The rids of `a=simulcast:recv`, in its order; of alternatives the first. None where the header
/// extension is missing by which the peer could tell layers apart.
fn proposed(settings: &Settings, section: &Section) -> Vec<Rid> {
    let told_apart = section.extensions.iter().any(|e| e.uri == RID_URI)
        && settings.extensions(Kind::Video).contains(&RID_URI);
    if section.kind() != Some(Kind::Video) || !told_apart {
        return Vec::new();
    }
    // RFC 8853 section 5.2: what no `a=rid` of the direction describes does not count.
    let declared = |rid: &str| {
        section
            .rids
            .iter()
            .any(|line| !line.send && line.rid == rid)
    };
    let mut rids: Vec<Rid> = Vec::new();
    for stream in &section.simulcast_receive {
        let Some(layer) = stream.iter().find(|layer| declared(&layer.rid)) else {
            continue;
        };
        let rid = Rid::from(layer.rid.as_str());
        if rids.len() < MAX_ENCODINGS && !rids.contains(&rid) {
            rids.push(rid);
        }
    }
    rids
}
