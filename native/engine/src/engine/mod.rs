//! The composition: commands and datagrams in, datagrams, messages and actions out.
//!
//! `commands.rs` carries out requests, `states.rs` derives the connection state; here the rooms
//! are wired to each other.

mod commands;
mod forwarding;
mod states;

use crate::address::TransportAddress;
use crate::channels::{ChannelEvent, Channels};
use crate::command::{OutgoingData, OutgoingRtp, Value};
use crate::config::Config;
use crate::error::Error;
use crate::event::{Action, Event, IceCandidateError, Sink, Warning};
use crate::ids::{RequestId, Rid, TrackId};
use crate::media::Media;
use crate::negotiation::{Change, Negotiation};
use crate::outbox::Outbox;
use crate::transport::{Incoming, LocalCandidate, Proof, Transport, TransportEvent};
use crate::w3c::{ChannelState, DtlsState, IceGatheringState, SignalingState};
pub use forwarding::SourceOffer;
use states::States;
use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// Tracks and channels we warn about once each; past this many, warnings stop. A program that
/// sends to more unknown names than this has been told often enough.
const MAX_WARNINGS: usize = 64;

/// Rounds of [`Engine::flush`] before it leaves the rest to the next step. Every round makes
/// progress on finite queues, so this is a guard against a room that answers itself for ever.
const MAX_FLUSH_ROUNDS: usize = 64;

/// One connection. Owned by one shard; never shared.
pub struct Engine {
    config: Config,
    negotiation: Negotiation,
    transport: Transport,
    media: Media,
    channels: Channels,
    outbox: Outbox,
    actions: VecDeque<Action>,
    states: States,
    /// Counts gathering rounds; results of an older round are ignored.
    generation: u32,
    /// The user name the current round of gathering belongs to.
    gathered_ufrag: Option<String>,
    warned: HashSet<Warning>,
}

impl Engine {
    /// A new connection in state `new`/`stable`; tells both through the sink.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a certificate that can't be read, [`Error::Internal`] where
    /// the system gives no randomness.
    pub fn new(now: Instant, config: Config, sink: &mut dyn Sink) -> Result<Self, Error> {
        let transport = Transport::new(now, &config)?;
        let negotiation = Negotiation::new(&config, transport.fingerprint());
        let mut media = Media::new(now, config.features, config.deliver_rtp);
        if config.bandwidth_estimate {
            media.tell_bandwidth_estimate(now);
        }
        let channels = Channels::new(&config);
        let states = States::new();
        sink.event(Event::ConnectionStateChange(states.connection()));
        sink.event(Event::SignalingStateChange(SignalingState::Stable));
        Ok(Self {
            config,
            negotiation,
            transport,
            media,
            channels,
            outbox: Outbox::default(),
            actions: VecDeque::new(),
            states,
            generation: 0,
            gathered_ufrag: None,
            warned: HashSet::new(),
        })
    }

    /// Sends one RTP packet.
    pub fn send_rtp(
        &mut self,
        now: Instant,
        track: TrackId,
        packet: &OutgoingRtp,
        sink: &mut dyn Sink,
    ) {
        let mut out = self.transport.packet_writer(&mut self.outbox);
        if !self.media.send_rtp(now, track, packet, &mut out) {
            drop(out);
            // Before negotiation the media path knows no sender yet: that is "not connected",
            // not "unknown".
            if !self.negotiation.sends_track(track) {
                self.warn(Warning::UnknownTrack(track), sink);
            }
        }
    }

    /// Asks for a keyframe.
    pub fn send_pli(&mut self, now: Instant, track: TrackId, rid: Option<&Rid>) {
        let mut out = self.transport.packet_writer(&mut self.outbox);
        self.media.send_pli(now, track, rid, &mut out);
    }

    /// Sends RTCP of the control plane's making.
    pub fn send_rtcp(&mut self, now: Instant, packet: &[u8]) {
        let mut out = self.transport.packet_writer(&mut self.outbox);
        self.media.send_rtcp(now, packet, &mut out);
    }

    /// Sends a data channel message whose bytes are charged to its account.
    pub fn send_data(&mut self, now: Instant, data: OutgoingData, sink: &mut dyn Sink) {
        let id = data.channel;
        let open = self
            .channels
            .get(id)
            .is_some_and(|channel| channel.ready_state == ChannelState::Open);
        if !open {
            self.warn(Warning::ChannelNotOpen(id), sink);
        }
        // Sent to the room in any case: it gives the charge back and answers a waiting sender.
        self.channels.send(now, data);
    }

    /// One datagram: `local` is the base address of the socket it arrived on; see
    /// [`TransportAddress`] for what came over TCP, without its framing. Cheap per packet:
    /// follow a batch of these with one [`Self::flush`].
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        local: impl Into<TransportAddress>,
        remote: SocketAddr,
        datagram: &mut [u8],
        sink: &mut dyn Sink,
    ) {
        let incoming =
            self.transport
                .handle_datagram(now, local, remote, datagram, &mut self.outbox);
        match incoming {
            Incoming::Nothing => {}
            Incoming::Rtp(packet) => {
                let mut out = self.transport.packet_writer(&mut self.outbox);
                self.media.handle_rtp(now, packet, sink, &mut out);
            }
            Incoming::Rtcp(packet) => {
                let mut out = self.transport.packet_writer(&mut self.outbox);
                self.media.handle_rtcp(now, &packet, sink, &mut out);
            }
        }
    }

    /// Ends a batch of [`Self::handle_datagram`] and `send_*` calls: moves what the rooms have
    /// for each other (SCTP packets into DTLS, state changes into messages).
    pub fn flush(&mut self, now: Instant, sink: &mut dyn Sink) {
        self.media.finish_turn(now);
        while let Some((name, reason)) = self.media.poll_forward_end() {
            sink.event(Event::ForwardEnded(name.label, reason));
        }
        for _ in 0..MAX_FLUSH_ROUNDS {
            let mut moved = false;
            while let Some(event) = self.transport.poll_event() {
                moved = true;
                self.transport_changed(now, event, sink);
            }
            self.channels.receive(now, sink.data_credit());
            while let Some(packet) = self.transport.poll_data() {
                moved = true;
                self.channels.handle_packet(now, packet);
            }
            self.channels.pause();
            while let Some(packet) = self.channels.poll_packet(now) {
                moved = true;
                self.transport.write_data(now, &packet, &mut self.outbox);
            }
            while let Some(event) = self.channels.poll_event() {
                moved = true;
                Self::channel_changed(event, sink);
            }
            while let Some((sender, tone)) = self.media.poll_tone() {
                sink.event(Event::ToneChange(sender, tone));
            }
            if let Some(bits_per_second) = self.media.poll_bandwidth_estimate(now) {
                sink.event(Event::BandwidthEstimate(bits_per_second));
            }
            if !moved {
                return;
            }
        }
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        [
            self.transport.poll_timeout(),
            self.media.poll_timeout(),
            self.channels.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, sink: &mut dyn Sink) {
        self.transport.handle_timeout(now, &mut self.outbox);
        self.channels.handle_timeout(now);
        let mut out = self.transport.packet_writer(&mut self.outbox);
        self.media.handle_timeout(now, &mut out);
        drop(out);
        self.flush(now, sink);
    }

    /// What the driver is asked to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// From where the peer has proved itself since the last call. Nothing depends on its being
    /// called: what is not asked for is bounded.
    pub fn take_proofs(&mut self) -> Vec<Proof> {
        self.transport.take_proofs()
    }

    /// The datagrams to send now. The driver takes them and calls [`Outbox::clear`].
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The system did not take datagrams from [`Self::outbox`] after all.
    pub fn discarded(
        &mut self,
        local: impl Into<TransportAddress>,
        remote: SocketAddr,
        packets: u64,
        bytes: u64,
    ) {
        self.transport.discarded(local, remote, packets, bytes);
    }

    /// Whether the peer has proved, through ICE, that it is at the other end of a TCP connection:
    /// until then the connection may be anybody's.
    pub fn is_validated(&self, local: TransportAddress, remote: SocketAddr) -> bool {
        self.transport.is_validated(local, remote)
    }

    /// Our side of the selected pair.
    pub fn selected_base(&self) -> Option<TransportAddress> {
        self.transport.selected_base()
    }

    /// A TCP connection is gone.
    pub fn connection_lost(
        &mut self,
        now: Instant,
        local: TransportAddress,
        remote: SocketAddr,
        sink: &mut dyn Sink,
    ) {
        self.transport
            .connection_lost(now, local, remote, &mut self.outbox);
        self.flush(now, sink);
    }

    /// Packets of the program that were refused so far because too many waited: for statistics.
    pub fn packets_refused(&mut self, total: u64) {
        self.media.set_refused_packets(total);
    }

    /// Received packets that the program did not take in time, so far: for statistics.
    pub fn packets_not_taken(&mut self, total: u64) {
        self.media.set_packets_not_taken(total);
    }

    /// The gatherer found a candidate.
    pub fn local_candidate(
        &mut self,
        now: Instant,
        generation: u32,
        candidate: LocalCandidate,
        sink: &mut dyn Sink,
    ) {
        if generation != self.generation || self.is_closed() {
            return;
        }
        if let Some(attribute) = self.transport.add_local_candidate(now, &candidate)
            && let Some(mut init) = self.negotiation.add_local_candidate(&attribute)
        {
            init.url = candidate.url;
            sink.event(Event::IceCandidate(init));
        }
        self.flush(now, sink);
    }

    /// The gatherer could not use a server.
    pub fn candidate_error(
        &mut self,
        generation: u32,
        error: IceCandidateError,
        sink: &mut dyn Sink,
    ) {
        if generation == self.generation && !self.is_closed() {
            sink.event(Event::IceCandidateError(error));
        }
    }

    /// The gatherer is done.
    pub fn gathering_complete(&mut self, now: Instant, generation: u32, sink: &mut dyn Sink) {
        if generation != self.generation || self.is_closed() {
            return;
        }
        self.negotiation.end_of_local_candidates();
        self.update_candidates_known();
        self.set_gathering(IceGatheringState::Complete, sink);
        self.flush(now, sink);
    }

    /// A `.local` name was resolved, or is not to be found.
    pub fn mdns_resolved(
        &mut self,
        now: Instant,
        name: &str,
        address: Option<IpAddr>,
        sink: &mut dyn Sink,
    ) {
        self.transport.mdns_resolved(now, name, address);
        self.flush(now, sink);
    }

    /// Whether the connection is closed: nothing will come any more.
    pub fn is_closed(&self) -> bool {
        self.states.is_closed()
    }

    /// What gathering needs to know.
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn transport_changed(&mut self, now: Instant, event: TransportEvent, sink: &mut dyn Sink) {
        match event {
            TransportEvent::Ice(state) => {
                if self.states.set_ice(state) {
                    sink.event(Event::IceConnectionStateChange(state));
                }
            }
            TransportEvent::Dtls(state) => {
                if self.states.set_dtls(state) {
                    sink.event(Event::DtlsTransportStateChange(state));
                }
                match state {
                    DtlsState::Connected => self.apply_channels(now),
                    DtlsState::Closed | DtlsState::Failed => self.channels.transport_ended(),
                    DtlsState::New => self.channels.transport_replaced(),
                    DtlsState::Connecting => {}
                }
            }
        }
        if let Some(connection) = self.states.derive() {
            sink.event(Event::ConnectionStateChange(connection));
        }
    }

    fn channel_changed(event: ChannelEvent, sink: &mut dyn Sink) {
        match event {
            ChannelEvent::Opened(channel) => sink.event(Event::DataChannel(channel)),
            ChannelEvent::StateChange(handle, state) => {
                sink.event(Event::DataChannelStateChange(handle, state));
            }
            ChannelEvent::Data(handle, kind, payload) => {
                sink.event(Event::Data(handle, kind, payload));
            }
            ChannelEvent::BufferedAmountLow(handle) => {
                sink.event(Event::BufferedAmountLow(handle));
            }
            ChannelEvent::Sent(id, result) => {
                sink.reply(RequestId(id.0), result.map(|()| Value::Unit));
            }
        }
    }

    fn tell(changes: Vec<Change>, sink: &mut dyn Sink) {
        for change in changes {
            sink.event(match change {
                Change::Track(track) => Event::Track(track),
                Change::TrackMuted(track) => Event::TrackMuted(track),
                Change::TrackEnded(track) => Event::TrackEnded(track),
                Change::SignalingState(state) => Event::SignalingStateChange(state),
                Change::NegotiationNeeded => Event::NegotiationNeeded,
            });
        }
    }

    /// Hands every room the plan that negotiation has now.
    fn apply_plans(&mut self, now: Instant, sink: &mut dyn Sink) {
        self.apply_media(now);
        if let Some(plan) = self.negotiation.transport_plan() {
            self.transport.apply(now, &plan, &mut self.outbox);
            if self.gathered_ufrag.as_ref() != Some(&plan.local.ufrag) {
                self.gathered_ufrag = Some(plan.local.ufrag.clone());
                self.generation = self.generation.wrapping_add(1);
                self.set_gathering(IceGatheringState::Gathering, sink);
                self.actions.push_back(Action::Gather {
                    generation: self.generation,
                    ufrag: plan.local.ufrag,
                });
            }
        }
        for candidate in self.negotiation.take_remote_candidates() {
            // SDP that is legal as a whole may hold a candidate of a kind we don't know.
            let _ = self.add_remote(now, &candidate.attribute, candidate.ufrag.as_deref());
        }
        self.update_candidates_known();
        self.apply_channels(now);
        if self.negotiation.take_data_refused() {
            self.channels.refused();
        }
        self.flush(now, sink);
    }

    fn update_candidates_known(&mut self) {
        let known = self.negotiation.all_candidates_known();
        self.transport.set_candidates_known(known);
    }

    fn apply_channels(&mut self, now: Instant) {
        let role = match self.transport.dtls_state() {
            DtlsState::Connected => self
                .negotiation
                .transport_plan()
                .and_then(|plan| plan.dtls_role),
            _ => None,
        };
        self.channels
            .apply(now, self.negotiation.data_plan().as_ref(), role);
    }

    fn add_remote(
        &mut self,
        now: Instant,
        attribute: &str,
        ufrag: Option<&str>,
    ) -> Result<(), Error> {
        if let Some(name) = self.transport.add_remote_candidate(now, attribute, ufrag)? {
            self.actions.push_back(Action::ResolveMdns { name });
        }
        Ok(())
    }

    fn set_gathering(&mut self, state: IceGatheringState, sink: &mut dyn Sink) {
        if self.states.set_gathering(state) {
            sink.event(Event::IceGatheringStateChange(state));
        }
    }

    fn warn(&mut self, warning: Warning, sink: &mut dyn Sink) {
        if self.warned.len() < MAX_WARNINGS && self.warned.insert(warning) {
            sink.warning(warning);
        }
    }
}
