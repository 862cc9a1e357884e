//! Whatever two programs do and in whatever order: once both have negotiated, both agree on every
//! m-line, and what they agreed on flows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::command::{ChannelInfo, Command, Property, TransceiverInfo, Value};
use engine::error::Error;
use engine::w3c::{
    ConnectionState, DataKind, Direction, Kind, SdpType, SessionDescription, SignalingState,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;
use world::{World, track};

/// Something one of the programs does.
#[derive(Clone, Debug)]
enum Step {
    Add(Kind, Direction),
    AddTrack(Kind),
    /// `usize` picks one of the side's transceivers.
    Stop(usize),
    Direct(usize, Direction),
    /// Sends a track of its own on a transceiver, or another one than before.
    Replace(usize),
    Remove(usize),
    Channel,
    RestartIce,
    Negotiate,
    /// The side offers, and takes its offer back when the other side has it already.
    Rollback,
    /// Both sides offer; this one gives in.
    Glare,
    Wait,
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![
        Just(Direction::Sendrecv),
        Just(Direction::Sendonly),
        Just(Direction::Recvonly),
        Just(Direction::Inactive),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Audio), Just(Kind::Video)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (kind(), direction()).prop_map(|(kind, direction)| Step::Add(kind, direction)),
        2 => kind().prop_map(Step::AddTrack),
        2 => any::<usize>().prop_map(Step::Stop),
        3 => (any::<usize>(), direction()).prop_map(|(which, to)| Step::Direct(which, to)),
        3 => any::<usize>().prop_map(Step::Replace),
        1 => any::<usize>().prop_map(Step::Remove),
        1 => Just(Step::Channel),
        1 => Just(Step::RestartIce),
        5 => Just(Step::Negotiate),
        1 => Just(Step::Rollback),
        2 => Just(Step::Glare),
        1 => Just(Step::Wait),
    ]
}

struct Story {
    world: World,
    next_track: u64,
    /// Channels with the side that made them.
    channels: Vec<(usize, ChannelInfo)>,
}

impl Story {
    fn track_id(&mut self) -> u64 {
        self.next_track += 1;
        self.next_track
    }

    fn pick(&mut self, side: usize, which: usize) -> Option<TransceiverInfo> {
        let mut all = self.world.transceivers(side);
        all.retain(|transceiver| !transceiver.stopped && !transceiver.stopping);
        (!all.is_empty()).then(|| all[which % all.len()].clone())
    }

    fn play(&mut self, side: usize, step: &Step) {
        match step {
            Step::Add(kind, direction) => {
                let id = self.track_id();
                let add = Command::AddTransceiver {
                    kind: *kind,
                    track: Some(track(id, *kind)),
                    direction: *direction,
                    send_encodings: Vec::new(),
                };
                self.world.ok(side, add);
            }
            Step::AddTrack(kind) => {
                let id = self.track_id();
                self.world.ok(side, Command::AddTrack(track(id, *kind)));
            }
            Step::Stop(which) => {
                if let Some(picked) = self.pick(side, *which) {
                    self.world.ok(side, Command::StopTransceiver(picked.id));
                }
            }
            Step::Direct(which, direction) => {
                if let Some(picked) = self.pick(side, *which) {
                    self.world.ok(
                        side,
                        Command::SetTransceiverDirection(picked.id, *direction),
                    );
                }
            }
            Step::Replace(which) => {
                let id = self.track_id();
                if let Some(picked) = self.pick(side, *which) {
                    let new = track(id, picked.kind);
                    let replace = Command::ReplaceTrack(picked.sender.id, Some(new));
                    if picked.direction.sends() {
                        self.world.ok(side, replace);
                    } else {
                        let reason = self.world.error(side, replace);
                        assert_eq!(reason, Error::InvalidTransceiverDirection);
                    }
                }
            }
            Step::Remove(which) => {
                if let Some(picked) = self.pick(side, *which) {
                    self.world.ok(side, Command::RemoveTrack(picked.sender.id));
                }
            }
            Step::Channel => {
                let label = format!("channel {}", self.channels.len());
                let channel = self.world.channel(side, &label);
                self.channels.push((side, channel));
            }
            Step::RestartIce => {
                self.world.ok(side, Command::RestartIce);
            }
            Step::Negotiate => {
                self.world.negotiate(side);
                self.world.run_for(Duration::from_millis(50));
                self.check_media();
            }
            Step::Rollback => self.roll_back(side),
            Step::Glare => self.glare(side),
            Step::Wait => self.world.run_for(Duration::from_secs(2)),
        }
    }

    fn roll_back(&mut self, side: usize) {
        let world = &mut self.world;
        let offer = world.create(side, Command::CreateOffer { ice_restart: false });
        world.ok(side, Command::SetLocalDescription(Some(offer.clone())));
        world.ok(1 - side, Command::SetRemoteDescription(offer));
        world.run_for(Duration::from_millis(20));
        let rollback = SessionDescription {
            sdp_type: SdpType::Rollback,
            sdp: String::new(),
        };
        world.ok(side, Command::SetLocalDescription(Some(rollback.clone())));
        world.ok(1 - side, Command::SetRemoteDescription(rollback));
        self.check_media();
    }

    fn glare(&mut self, polite: usize) {
        let world = &mut self.world;
        let offers =
            [0, 1].map(|side| world.create(side, Command::CreateOffer { ice_restart: false }));
        for (side, offer) in offers.iter().enumerate() {
            world.ok(side, Command::SetLocalDescription(Some(offer.clone())));
        }
        let theirs = offers[1 - polite].clone();
        world.ok(polite, Command::SetRemoteDescription(theirs));
        let answer = world.create(polite, Command::CreateAnswer);
        world.ok(polite, Command::SetLocalDescription(Some(answer.clone())));
        world.ok(1 - polite, Command::SetRemoteDescription(answer));
        world.run_for(Duration::from_millis(50));
        self.check_media();
    }

    /// Every track that may be sent now arrives, and no other.
    fn check_media(&mut self) {
        let connected = self
            .world
            .peers
            .iter()
            .all(|peer| peer.connection_states().last() == Some(&ConnectionState::Connected));
        if !connected {
            return;
        }
        for side in 0..2 {
            for transceiver in self.world.transceivers(side) {
                let Some(sent) = &transceiver.sender.track else {
                    continue;
                };
                let id = sent.id.0;
                let sends = transceiver.current_direction.is_some_and(Direction::sends)
                    && !transceiver.stopped
                    && !transceiver.stopping;
                let far = self
                    .world
                    .transceivers(1 - side)
                    .into_iter()
                    .find(|far| far.mid.is_some() && far.mid == transceiver.mid);
                // A side that has called stop() takes nothing on the transceiver any more.
                let taken = far
                    .as_ref()
                    .is_some_and(|far| !far.stopping && !far.stopped);
                let number = self.numbered();
                if !sends {
                    self.world.is_silent(side, id, number..number + 2);
                    continue;
                }
                let arrived = self.world.flow(side, id, number..number + 2);
                if taken {
                    assert_eq!(
                        arrived,
                        [number, number + 1],
                        "track {id} of side {side}: {transceiver:#?} {far:#?}"
                    );
                    let packet = self.world.peers[1 - side].heard.packets.last().unwrap();
                    assert_eq!(packet.track, far.unwrap().receiver.track.id);
                } else {
                    assert_eq!(arrived, [0u16; 0], "{transceiver:#?} {far:#?}");
                }
            }
        }
    }

    /// Numbers only grow: senders keep their streams over exchanges.
    fn numbered(&mut self) -> u16 {
        self.next_track += 2;
        (self.next_track % 30_000) as u16
    }

    fn check_agreement(&mut self) {
        let [ours, theirs] = [0, 1].map(|side| {
            let mut all = self.world.transceivers(side);
            all.retain(|transceiver| !transceiver.stopped);
            all.sort_by(|a, b| a.mid.cmp(&b.mid));
            all
        });
        assert_eq!(
            ours.iter().map(|t| &t.mid).collect::<Vec<_>>(),
            theirs.iter().map(|t| &t.mid).collect::<Vec<_>>(),
        );
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours.kind, theirs.kind);
            assert!(ours.mid.is_some() && !ours.stopping && !theirs.stopping);
            assert_eq!(
                ours.current_direction.map(Direction::reversed),
                theirs.current_direction,
                "{ours:#?} {theirs:#?}"
            );
            assert_eq!(
                ours.current_direction,
                Some(ours.direction.and(theirs.direction.reversed())),
            );
        }
        for side in 0..2 {
            let state = self.world.ok(side, Command::Get(Property::SignalingState));
            assert!(matches!(
                state,
                Value::SignalingState(SignalingState::Stable)
            ));
        }
    }

    fn check_channels(&mut self) {
        for (side, mine) in self.channels.clone() {
            self.world.wait_until_open(side, &mine);
            let theirs = self.world.remote_channel(1 - side, &mine.label);
            let data = Bytes::from(mine.label.clone());
            self.world
                .send_data(side, &mine, DataKind::String, data.clone());
            self.world.run_for(Duration::from_millis(50));
            assert_eq!(
                self.world.messages_on(1 - side, &theirs),
                [(DataKind::String, data)]
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_calls_ends_in_agreement_and_what_was_agreed_flows(
        steps in vec((0..2usize, step()), 1..30),
    ) {
        let mut story = Story {
            world: World::plain(),
            next_track: 0,
            channels: Vec::new(),
        };
        for (side, step) in &steps {
            story.play(*side, step);
        }
        // Something to connect for, whatever the story was.
        story.play(0, &Step::Add(Kind::Audio, Direction::Sendrecv));
        story.world.negotiate(0);
        story.world.negotiate(1);
        story.world.connect();
        story.world.run_for(Duration::from_secs(1));
        story.check_agreement();
        story.check_media();
        story.check_channels();
        for peer in &story.world.peers {
            let states = peer.connection_states();
            prop_assert!(!states.contains(&ConnectionState::Failed));
            prop_assert!(!states.contains(&ConnectionState::Disconnected));
        }
    }
}
