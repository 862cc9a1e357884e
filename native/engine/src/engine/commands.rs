//! Requests of the control plane: one arm a function of the public API.

use super::Engine;
use crate::command::{Command, CommandResult, Property, Value};
use crate::error::Error;
use crate::event::{Action, Sink};
use crate::ids::RequestId;
use crate::media::Tones;
use crate::negotiation::Change;
use crate::stats::{StatsEntry, StatsReport};
use crate::w3c::{IceCandidateInit, IceServer, IceTransportPolicy, SessionDescription};
use std::time::{Duration, Instant};

impl Engine {
    /// Carries out one command; its reply goes to the sink before this returns. Messages that the
    /// contract puts before the reply are in the sink before it, ICE messages behind it.
    pub fn handle_command(
        &mut self,
        now: Instant,
        id: RequestId,
        command: Command,
        sink: &mut dyn Sink,
    ) {
        match command {
            Command::SetLocalDescription(description) => {
                let changes = self.negotiation.set_local(description);
                self.described(now, id, changes, sink);
            }
            Command::SetRemoteDescription(description) => {
                let changes = self.negotiation.set_remote(description);
                self.described(now, id, changes, sink);
            }
            Command::Close => {
                self.close(now);
                sink.reply(id, Ok(Value::Unit));
            }
            command => {
                let result = self.carry_out(now, command, sink);
                sink.reply(id, result);
                self.flush(now, sink);
            }
        }
    }

    fn described(
        &mut self,
        now: Instant,
        id: RequestId,
        changes: Result<Vec<Change>, Error>,
        sink: &mut dyn Sink,
    ) {
        match changes {
            Ok(changes) => {
                Self::tell(changes, sink);
                sink.reply(id, Ok(Value::Unit));
                self.apply_plans(now, sink);
            }
            Err(reason) => sink.reply(id, Err(reason)),
        }
    }

    fn carry_out(&mut self, now: Instant, command: Command, sink: &mut dyn Sink) -> CommandResult {
        match command {
            Command::CreateOffer { ice_restart } => self
                .negotiation
                .create_offer(ice_restart)
                .map(Value::Description),
            Command::CreateAnswer => self.negotiation.create_answer().map(Value::Description),
            Command::AddIceCandidate(candidate) => self.add_ice_candidate(now, candidate),
            Command::RestartIce => {
                Self::tell(self.negotiation.restart_ice(), sink);
                Ok(Value::Unit)
            }
            Command::AddTransceiver {
                kind,
                track,
                direction,
                send_encodings,
            } => {
                let (info, changes) =
                    self.negotiation
                        .add_transceiver(kind, track, direction, send_encodings)?;
                self.changed(now, changes, sink);
                Ok(Value::Transceiver(Box::new(info)))
            }
            Command::SetTransceiverDirection(id, direction) => {
                let changes = self.negotiation.set_direction(id, direction)?;
                self.changed(now, changes, sink);
                Ok(Value::Unit)
            }
            Command::StopTransceiver(id) => {
                let changes = self.negotiation.stop_transceiver(id)?;
                self.changed(now, changes, sink);
                Ok(Value::Unit)
            }
            Command::SetCodecPreferences(id, codecs) => {
                let changes = self.negotiation.set_codec_preferences(id, codecs)?;
                self.changed(now, changes, sink);
                Ok(Value::Unit)
            }
            Command::GetTransceivers => Ok(Value::Transceivers(self.negotiation.transceivers())),
            Command::AddTrack(track) => {
                let (info, changes) = self.negotiation.add_track(track)?;
                self.changed(now, changes, sink);
                Ok(Value::Sender(info))
            }
            Command::ReplaceTrack(sender, track) => {
                let changes = self.negotiation.replace_track(sender, track)?;
                self.changed(now, changes, sink);
                Ok(Value::Unit)
            }
            Command::RemoveTrack(sender) => {
                let changes = self.negotiation.remove_track(sender)?;
                self.changed(now, changes, sink);
                Ok(Value::Unit)
            }
            Command::SetSenderCodec(sender, codec) => {
                self.negotiation.set_sender_codec(sender, codec)?;
                self.changed(now, Vec::new(), sink);
                Ok(Value::Unit)
            }
            Command::CreateDataChannel(options) => {
                let info = self.channels.create(now, options)?;
                Self::tell(self.negotiation.want_data_channels(), sink);
                Ok(Value::DataChannel(info))
            }
            Command::GetDataChannel(id) => {
                Ok(self.channels.get(id).map_or(Value::Nil, Value::DataChannel))
            }
            Command::CloseDataChannel(id) => {
                self.channels.close_channel(now, id);
                Ok(Value::Unit)
            }
            Command::SetBufferedAmountLowThreshold(id, bytes) => {
                self.channels.set_low_threshold(id, bytes);
                Ok(Value::Unit)
            }
            Command::Get(property) => Ok(self.get(property)),
            Command::GetStats => Ok(Value::Stats(Box::new(self.stats(now)))),
            Command::SelectStats(selector) => {
                let subject = self.negotiation.stats_subject(selector)?;
                let report = self.stats(now).select(|entry| subject.is(entry));
                Ok(Value::Stats(Box::new(report)))
            }
            Command::SetConfiguration {
                ice_servers,
                ice_transport_policy,
            } => self.set_configuration(ice_servers, ice_transport_policy),
            Command::GetSenderParameters(sender) => {
                let parameters = self.negotiation.sender_parameters(sender)?;
                Ok(Value::Parameters(Box::new(parameters)))
            }
            Command::SetSenderParameters(sender, parameters) => {
                self.negotiation
                    .set_sender_parameters(sender, &parameters)?;
                self.changed(now, Vec::new(), sink);
                Ok(Value::Unit)
            }
            Command::GetReceiverParameters(receiver) => {
                let parameters = self.negotiation.receiver_parameters(receiver)?;
                Ok(Value::Parameters(Box::new(parameters)))
            }
            Command::SetStreams(sender, streams) => {
                let changes = self.negotiation.set_streams(sender, streams)?;
                self.changed(now, changes, sink);
                Ok(Value::Unit)
            }
            Command::GetSynchronizationSources(receiver) => {
                self.negotiation.check_receiver(receiver)?;
                Ok(Value::Sources(
                    self.media.synchronization_sources(now, receiver),
                ))
            }
            Command::GetContributingSources(receiver) => {
                self.negotiation.check_receiver(receiver)?;
                Ok(Value::Sources(
                    self.media.contributing_sources(now, receiver),
                ))
            }
            Command::InsertDtmf {
                sender,
                tones,
                duration,
                inter_tone_gap,
            } => {
                self.negotiation.check_dtmf(sender)?;
                let tones = Tones {
                    text: &tones,
                    duration: Duration::from_millis(duration.into()),
                    gap: Duration::from_millis(inter_tone_gap.into()),
                };
                self.media.insert_dtmf(now, sender, &tones)?;
                Ok(Value::Unit)
            }
            Command::SetForwardLayer(id, layer) => {
                self.media.set_forward_layer(now, id, layer)?;
                Ok(Value::Unit)
            }
            Command::StopForward(id) => {
                self.media.stop_forward(now, id)?;
                Ok(Value::Unit)
            }
            Command::GetForwards => Ok(Value::Forwards(self.media.forwards())),
            Command::SetPacketLoss(percent) => {
                self.media.set_packet_loss(percent);
                Ok(Value::Unit)
            }
            Command::SetHostAddresses(addresses) => {
                self.config.host_addresses = Some(addresses);
                Ok(Value::Unit)
            }
            #[allow(clippy::panic)] // The one thing this command is for; see `Command::Panic`.
            Command::Panic => panic!("a test asked this connection to panic"),
            Command::SetLocalDescription(_) | Command::SetRemoteDescription(_) | Command::Close => {
                Err(Error::Internal)
            }
        }
    }

    /// Tells what changed and lets the media path follow: a replaced track or another codec
    /// takes effect without a negotiation.
    fn changed(&mut self, now: Instant, changes: Vec<Change>, sink: &mut dyn Sink) {
        Self::tell(changes, sink);
        self.apply_media(now);
    }

    fn add_ice_candidate(
        &mut self,
        now: Instant,
        candidate: Option<IceCandidateInit>,
    ) -> CommandResult {
        if let Some(remote) = self.negotiation.add_remote_candidate(candidate)? {
            self.add_remote(now, &remote.attribute, remote.ufrag.as_deref())?;
        }
        self.update_candidates_known();
        Ok(Value::Unit)
    }

    /// W3C webrtc-pc section 4.4.1.6: in force with the next round of gathering.
    fn set_configuration(
        &mut self,
        ice_servers: Vec<IceServer>,
        ice_transport_policy: IceTransportPolicy,
    ) -> CommandResult {
        if self.is_closed() {
            return Err(Error::InvalidState);
        }
        self.transport.set_policy(ice_transport_policy);
        self.config.ice_servers = ice_servers;
        self.config.ice_transport_policy = ice_transport_policy;
        Ok(Value::Unit)
    }

    fn close(&mut self, now: Instant) {
        if self.is_closed() {
            return;
        }
        let mut out = self.transport.packet_writer(&mut self.outbox);
        self.media.close(now, &mut out);
        drop(out);
        self.channels.close();
        while let Some(packet) = self.channels.poll_packet(now) {
            self.transport.write_data(now, &packet, &mut self.outbox);
        }
        while self.channels.poll_event().is_some() {}
        self.transport.close(now, &mut self.outbox);
        while self.transport.poll_event().is_some() {}
        self.negotiation.close();
        self.states.close();
        self.actions.clear();
        self.actions.push_back(Action::Release);
    }

    fn get(&self, property: Property) -> Value {
        let description =
            |text: Option<SessionDescription>| text.map_or(Value::Nil, Value::Description);
        let negotiation = &self.negotiation;
        match property {
            Property::ConnectionState => Value::ConnectionState(self.states.connection()),
            Property::IceConnectionState => Value::IceConnectionState(self.states.ice()),
            Property::IceGatheringState => Value::IceGatheringState(self.states.gathering()),
            Property::DtlsTransportState => Value::DtlsState(self.states.dtls()),
            Property::SignalingState => Value::SignalingState(negotiation.signaling_state()),
            Property::LocalDescription => description(
                negotiation
                    .pending_local_description()
                    .or_else(|| negotiation.current_local_description()),
            ),
            Property::RemoteDescription => description(
                negotiation
                    .pending_remote_description()
                    .or_else(|| negotiation.current_remote_description()),
            ),
            Property::CurrentLocalDescription => {
                description(negotiation.current_local_description())
            }
            Property::CurrentRemoteDescription => {
                description(negotiation.current_remote_description())
            }
            Property::PendingLocalDescription => {
                description(negotiation.pending_local_description())
            }
            Property::PendingRemoteDescription => {
                description(negotiation.pending_remote_description())
            }
            Property::CanTrickleIceCandidates => {
                negotiation.can_trickle().map_or(Value::Nil, Value::Boolean)
            }
            Property::NegotiatedConfiguration => {
                let (audio_codecs, video_codecs, header_extensions) =
                    negotiation.negotiated_configuration();
                Value::NegotiatedConfiguration {
                    audio_codecs,
                    video_codecs,
                    header_extensions,
                }
            }
        }
    }

    fn stats(&self, now: Instant) -> StatsReport {
        let mut report = StatsReport::default();
        let (opened, closed) = self.channels.stats(&mut report);
        report.entries.push(StatsEntry::new(
            "peer_connection",
            "peer_connection",
            [
                (
                    "signaling_state",
                    self.negotiation.signaling_state().as_str().into(),
                ),
                (
                    "negotiation_needed",
                    self.negotiation.negotiation_needed().into(),
                ),
                ("connection_state", self.states.connection().as_str().into()),
                ("data_channels_opened", opened.into()),
                ("data_channels_closed", closed.into()),
            ],
        ));
        self.transport.stats(now, &mut report);
        if let Some(transport) = report.entries.iter_mut().find(|e| e.kind == "transport") {
            let gathering = self.states.gathering().as_str();
            transport.insert_some("ice_gathering_state", Some(gathering));
        }
        let selected = report
            .entries
            .iter_mut()
            .find(|e| e.kind == "candidate_pair" && e.fields.get("selected") == Some(&true.into()));
        if let Some(pair) = selected {
            let available = self.media.available_outgoing_bitrate();
            pair.insert_some("available_outgoing_bitrate", available);
        }
        self.media.stats(now, &mut report);
        report
    }
}
