//! A transceiver: what the application asked of it, and what descriptions made of it.

use super::codecs;
use super::identity;
use super::settings::Settings;
use crate::command::{EncodingSettings, ReceiverInfo, RtpEncoding, SenderInfo, TransceiverInfo};
use crate::ids::{Mid, ReceiverId, Rid, SenderId, TrackId, TransceiverId};
use crate::w3c::{Codec, Direction, Kind, Track};
use std::collections::BTreeMap;

/// `RTCRtpTransceiver`. The fields of its own are the application's; [`Association`] is what
/// descriptions decide, and what a rollback takes back.
#[derive(Clone, Debug)]
pub(super) struct Transceiver {
    pub id: TransceiverId,
    pub kind: Kind,
    /// The direction asked for.
    pub direction: Direction,
    /// `stop()` was called; not negotiated yet.
    pub stopping: bool,
    /// Stopped for good.
    pub stopped: bool,
    /// Made by `addTrack`: a remote offer may take it (RFC 9429 section 5.10).
    pub by_add_track: bool,
    /// Made by a remote offer: gone when that is rolled back.
    pub by_remote_offer: bool,
    /// The sender was once allowed to send: `addTrack` must not reuse it.
    pub has_sent: bool,
    /// `setCodecPreferences`; empty for the default.
    pub preferences: Vec<Codec>,
    pub sender: Sender,
    pub receiver: Receiver,
    pub association: Association,
}

/// `RTCRtpSender`.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub id: SenderId,
    pub track: Option<Track>,
    /// `[[AssociatedMediaStreamIds]]`; they outlive `replaceTrack(null)`.
    pub streams: Vec<String>,
    /// The second word of `a=msid`. It stays when the track is replaced, so that replacing needs
    /// no negotiation.
    pub msid_track: u64,
    /// The layers asked for; empty without simulcast.
    pub rids: Vec<Rid>,
    /// SSRC and RTX SSRC, one pair a layer (or one).
    pub ssrcs: Vec<(u32, u32)>,
    /// What `addTransceiver` and `setParameters` made of each of them.
    pub settings: Vec<EncodingSettings>,
    /// What it had before an offer that is not answered yet proposed layers.
    pub unlayered: Option<Unlayered>,
    /// `[[LastReturnedParameters]]`: what the next `setParameters` must bring back.
    pub transaction: Option<String>,
    /// What `set_sender_codec` chose.
    pub codec: Option<Codec>,
}

/// `[[LastStableRidlessSendEncodings]]`: the one encoding without a name, with its SSRCs.
#[derive(Clone, Debug)]
pub(super) struct Unlayered {
    pub ssrcs: Vec<(u32, u32)>,
    pub settings: Vec<EncodingSettings>,
}

/// `RTCRtpReceiver`.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    pub id: ReceiverId,
    pub track: TrackId,
    /// `ended` was told.
    pub ended: bool,
}

/// What descriptions made of a transceiver.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Association {
    /// `[[Mid]]`
    pub mid: Option<Mid>,
    /// The m-line.
    pub line: Option<usize>,
    /// `[[CurrentDirection]]`
    pub current_direction: Option<Direction>,
    /// `[[FiredDirection]]`: what the last `track` event was about.
    pub fired_direction: Option<Direction>,
    /// The streams of the remote track.
    pub streams: Vec<String>,
    /// The simulcast layers of the remote track.
    pub rids: Vec<Rid>,
    /// What our pending offer says may arrive already.
    pub offered: Option<Offered>,
    /// What the last answer settled.
    pub negotiated: Option<Negotiated>,
}

/// The receiving half of an offer of ours that has no answer yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Offered {
    pub codecs: Vec<Codec>,
    pub rtx: BTreeMap<u8, u8>,
    pub extensions: BTreeMap<u8, String>,
}

/// What offer and answer agree on for one m-line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Negotiated {
    /// What may arrive: our payload types.
    pub receive_codecs: Vec<Codec>,
    pub receive_rtx: BTreeMap<u8, u8>,
    /// What we may send: the peer's payload types.
    pub send_codecs: Vec<Codec>,
    pub send_rtx: BTreeMap<u8, u8>,
    pub extensions: BTreeMap<u8, String>,
    /// Both sides have `a=rtcp-rsize` (RFC 5506 section 5.1).
    pub reduced_size_rtcp: bool,
    /// SSRCs the peer declared, with those of their RTX streams.
    pub ssrcs: Vec<(u32, Option<u32>)>,
    /// The peer's layers, as agreed.
    pub receive_rids: Vec<Rid>,
    /// Our layers, as agreed; empty without simulcast.
    pub send_rids: Vec<Rid>,
}

impl Association {
    pub fn reduced_size_rtcp(&self) -> bool {
        self.negotiated
            .as_ref()
            .is_some_and(|n| n.reduced_size_rtcp)
    }
}

impl Transceiver {
    /// A transceiver with ids and SSRCs that no other of the connection has.
    pub fn new(
        others: &[Self],
        kind: Kind,
        direction: Direction,
        encodings: Vec<RtpEncoding>,
    ) -> Self {
        let mut taken: Vec<u64> = Vec::new();
        let mut id = || loop {
            let id = identity::id(others);
            if !taken.contains(&id) {
                taken.push(id);
                return id;
            }
        };
        let (transceiver, sender, receiver, track, msid_track) = (id(), id(), id(), id(), id());
        let mut numbers: Vec<u32> = Vec::new();
        for _ in 0..2 * encodings.len() {
            numbers.push(identity::ssrc(others, &numbers));
        }
        let ssrcs = numbers
            .chunks_exact(2)
            .filter_map(|p| Some((*p.first()?, *p.get(1)?)))
            .collect();
        let settings = encodings.iter().map(|e| e.settings.clone()).collect();
        let rids = encodings.into_iter().filter_map(|e| e.rid).collect();
        Self {
            id: TransceiverId(transceiver),
            kind,
            direction,
            stopping: false,
            stopped: false,
            by_add_track: false,
            by_remote_offer: false,
            has_sent: false,
            preferences: Vec::new(),
            sender: Sender {
                id: SenderId(sender),
                track: None,
                streams: Vec::new(),
                msid_track,
                rids,
                ssrcs,
                settings,
                unlayered: None,
                transaction: None,
                codec: None,
            },
            receiver: Receiver {
                id: ReceiverId(receiver),
                track: TrackId(track),
                ended: false,
            },
            association: Association::default(),
        }
    }

    /// Whether `id` names this transceiver or a part of it.
    pub fn names(&self, id: u64) -> bool {
        [
            self.id.0,
            self.sender.id.0,
            self.receiver.id.0,
            self.receiver.track.0,
        ]
        .contains(&id)
            || self.sender.msid_track == id
            || self
                .sender
                .track
                .as_ref()
                .is_some_and(|track| track.id.0 == id)
    }

    /// Whether we or the peer use the SSRC here.
    pub fn uses_ssrc(&self, ssrc: u32) -> bool {
        let declared = self.association.negotiated.iter().flat_map(|n| &n.ssrcs);
        self.sender
            .ssrcs
            .iter()
            .any(|(a, b)| *a == ssrc || *b == ssrc)
            || declared
                .into_iter()
                .any(|(a, b)| *a == ssrc || *b == Some(ssrc))
    }

    /// Gives the sender its track for the first time, or anew.
    pub fn set_track(&mut self, track: Track) {
        self.sender.msid_track = track.id.0;
        self.sender.streams.clone_from(&track.streams);
        self.sender.track = Some(track);
    }

    /// Whether it can still carry media after the next negotiation.
    pub fn is_live(&self) -> bool {
        !self.stopping && !self.stopped
    }

    /// The remote track as the control plane sees it.
    pub fn remote_track(&self) -> Track {
        let rids = &self.association.rids;
        Track {
            id: self.receiver.track,
            kind: self.kind,
            streams: self.association.streams.clone(),
            rids: (!rids.is_empty()).then(|| rids.clone()),
        }
    }

    /// Which of the sender's encodings there are: those asked for, less the layers that an answer
    /// did not take (W3C webrtc-pc section 4.4.1.5). Without simulcast the first is left.
    pub fn layers(&self) -> Vec<usize> {
        let sending = self
            .association
            .current_direction
            .is_some_and(Direction::sends);
        let agreed = self.association.negotiated.as_ref().filter(|_| sending);
        let taken = |at: &usize| match agreed {
            None => true,
            // The last answer was about the one stream that layers take the place of.
            Some(agreed) if agreed.send_rids.is_empty() => {
                *at == 0 || self.sender.unlayered.is_some()
            }
            Some(agreed) => {
                let rid = self.sender.rids.get(*at);
                rid.is_some_and(|rid| agreed.send_rids.contains(rid))
            }
        };
        (0..self.sender.settings.len()).filter(taken).collect()
    }

    /// The codecs to offer or to accept, in order of preference, RTX left out.
    pub fn wanted_codecs<'a>(&'a self, settings: &'a Settings) -> &'a [Codec] {
        if self.preferences.is_empty() {
            settings.codecs(self.kind)
        } else {
            &self.preferences
        }
    }

    /// The codec in use for sending.
    pub fn send_codec(&self) -> Option<&Codec> {
        let negotiated = &self.association.negotiated.as_ref()?.send_codecs;
        let chosen = self.sender.codec.as_ref();
        let chosen = chosen.and_then(|chosen| codecs::find(negotiated, chosen));
        // Tones come between packets of a codec, not instead of it.
        let media = || negotiated.iter().find(|c| !codecs::is_telephone_event(c));
        chosen.or_else(media).or_else(|| negotiated.first())
    }

    pub fn sender_info(&self) -> SenderInfo {
        SenderInfo {
            id: self.sender.id,
            track: self.sender.track.clone(),
            codec: self.send_codec().cloned(),
        }
    }

    pub fn info(&self, settings: &Settings) -> TransceiverInfo {
        let negotiated = self.association.negotiated.as_ref();
        TransceiverInfo {
            id: self.id,
            kind: self.kind,
            direction: self.direction,
            current_direction: self.association.current_direction,
            mid: self
                .association
                .mid
                .as_ref()
                .map(|mid| mid.as_str().to_owned()),
            stopping: self.stopping,
            stopped: self.stopped,
            receiver: ReceiverInfo {
                id: self.receiver.id,
                track: self.remote_track(),
                codec: negotiated.and_then(|n| n.receive_codecs.first()).cloned(),
            },
            sender: self.sender_info(),
            header_extensions: negotiated.map_or_else(Vec::new, |n| {
                n.extensions
                    .iter()
                    .map(|(id, uri)| (*id, uri.clone()))
                    .collect()
            }),
            codecs: negotiated.map_or_else(
                || self.wanted_codecs(settings).to_vec(),
                |n| n.receive_codecs.clone(),
            ),
        }
    }
}
