//! Whatever two programs do and in whatever order: once both have negotiated, both agree on every
//! m-line, and what they agreed on flows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::command::{ChannelInfo, Command, Property, TransceiverInfo, Value};
use engine::config::Config;
use engine::error::Error;
use engine::w3c::{
    ConnectionState, DataKind, Direction, Kind, SdpType, SessionDescription, SignalingState,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;
use world::{World, codec, config, encodings, track};

/// Something one of the programs asks for.
#[derive(Clone, Debug)]
enum Act {
    Add(Kind, Direction),
    /// A transceiver that sends two layers.
    AddLayers(Direction),
    AddTrack(Kind),
    /// `usize` picks one of the side's transceivers.
    Stop(usize),
    Direct(usize, Direction),
    /// Sends a track of its own on a transceiver, or another one than before.
    Replace(usize),
    Remove(usize),
    /// Prefers codecs: as many as the last says, from the second on.
    Prefer(usize, usize, usize),
    Channel,
    RestartIce,
}

#[derive(Clone, Copy, Debug)]
enum Exchange {
    Plain,
    /// A provisional answer comes first.
    Provisional,
    /// The side offers, and takes its offer back when the other side has it already.
    RolledBack,
    /// Both sides offer; this one gives in.
    Glare,
}

#[derive(Clone, Debug)]
enum Step {
    Act(usize, Act),
    /// What `usize` begins, with what is asked for while it is under way.
    Exchange(usize, Exchange, Vec<(usize, Act)>),
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

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (kind(), direction()).prop_map(|(kind, direction)| Act::Add(kind, direction)),
        1 => direction().prop_map(Act::AddLayers),
        2 => kind().prop_map(Act::AddTrack),
        2 => any::<usize>().prop_map(Act::Stop),
        3 => (any::<usize>(), direction()).prop_map(|(which, to)| Act::Direct(which, to)),
        3 => any::<usize>().prop_map(Act::Replace),
        1 => any::<usize>().prop_map(Act::Remove),
        2 => (any::<usize>(), any::<usize>(), any::<usize>())
            .prop_map(|(which, from, count)| Act::Prefer(which, from, count)),
        1 => Just(Act::Channel),
        1 => Just(Act::RestartIce),
    ]
}

fn exchange() -> impl Strategy<Value = Exchange> {
    prop_oneof![
        3 => Just(Exchange::Plain),
        1 => Just(Exchange::Provisional),
        1 => Just(Exchange::RolledBack),
        1 => Just(Exchange::Glare),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2usize, act()).prop_map(|(side, act)| Step::Act(side, act)),
        3 => (0..2usize, exchange(), vec((0..2usize, act()), 0..4))
            .prop_map(|(side, exchange, between)| Step::Exchange(side, exchange, between)),
        1 => Just(Step::Wait),
    ]
}

struct Story {
    world: World,
    next_track: u64,
    /// Channels with the side that made them.
    channels: Vec<(usize, ChannelInfo)>,
}

/// More codecs than one of a kind, so that there is something to prefer.
fn talkative() -> Config {
    let mut config = config();
    config
        .audio_codecs
        .push(codec(0, "audio/PCMU", 8_000, None));
    for (payload_type, name) in [(98, "video/VP9"), (100, "video/H265")] {
        let codec = codec(payload_type, name, 90_000, None);
        config.video_codecs.push(codec);
    }
    config
}

impl Story {
    fn new() -> Self {
        Self {
            world: World::new(talkative(), talkative()),
            next_track: 0,
            channels: Vec::new(),
        }
    }

    fn track_id(&mut self) -> u64 {
        self.next_track += 1;
        self.next_track
    }

    fn pick(&mut self, side: usize, which: usize) -> Option<TransceiverInfo> {
        let mut all = self.world.transceivers(side);
        all.retain(|transceiver| !transceiver.stopped && !transceiver.stopping);
        (!all.is_empty()).then(|| all[which % all.len()].clone())
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Act(side, act) => self.act(*side, act),
            Step::Exchange(side, exchange, between) => match exchange {
                Exchange::Plain => self.plain(*side, between),
                Exchange::Provisional => self.provisional(*side, between),
                Exchange::RolledBack => self.roll_back(*side, between),
                Exchange::Glare => self.glare(*side, between),
            },
            Step::Wait => self.world.run_for(Duration::from_secs(2)),
        }
    }

    fn all(&mut self, acts: &[(usize, Act)]) {
        for (side, act) in acts {
            self.act(*side, act);
        }
    }

    fn add(&mut self, side: usize, kind: Kind, direction: Direction, rids: &[&str]) {
        let id = self.track_id();
        let add = Command::AddTransceiver {
            kind,
            track: Some(track(id, kind)),
            direction,
            send_encodings: encodings(rids),
        };
        self.world.ok(side, add);
    }

    fn act(&mut self, side: usize, act: &Act) {
        match act {
            Act::Add(kind, direction) => self.add(side, *kind, *direction, &[]),
            Act::AddLayers(direction) => self.add(side, Kind::Video, *direction, &["h", "l"]),
            Act::AddTrack(kind) => {
                let id = self.track_id();
                self.world.ok(side, Command::AddTrack(track(id, *kind)));
            }
            Act::Stop(which) => {
                if let Some(picked) = self.pick(side, *which) {
                    self.world.ok(side, Command::StopTransceiver(picked.id));
                }
            }
            Act::Direct(which, direction) => {
                if let Some(picked) = self.pick(side, *which) {
                    let direct = Command::SetTransceiverDirection(picked.id, *direction);
                    self.world.ok(side, direct);
                }
            }
            Act::Replace(which) => {
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
            Act::Remove(which) => {
                if let Some(picked) = self.pick(side, *which) {
                    self.world.ok(side, Command::RemoveTrack(picked.sender.id));
                }
            }
            Act::Prefer(which, from, count) => {
                if let Some(picked) = self.pick(side, *which) {
                    let config = talkative();
                    let mut codecs = match picked.kind {
                        Kind::Audio => config.audio_codecs,
                        Kind::Video => config.video_codecs,
                    };
                    let all = codecs.len();
                    codecs.rotate_left(from % all);
                    codecs.truncate(count % (all + 1));
                    self.world
                        .ok(side, Command::SetCodecPreferences(picked.id, codecs));
                }
            }
            Act::Channel => {
                let label = format!("channel {}", self.channels.len());
                let channel = self.world.channel(side, &label);
                self.channels.push((side, channel));
            }
            Act::RestartIce => {
                self.world.ok(side, Command::RestartIce);
            }
        }
    }

    /// An offer that both sides have.
    fn offer(&mut self, side: usize) {
        let world = &mut self.world;
        let offer = world.create(side, Command::CreateOffer { ice_restart: false });
        world.ok(side, Command::SetLocalDescription(Some(offer.clone())));
        world.ok(1 - side, Command::SetRemoteDescription(offer));
    }

    /// An answer, provisional or not, that both sides have; and media as it says.
    fn answer(&mut self, side: usize, sdp_type: SdpType) {
        let world = &mut self.world;
        let mut answer = world.create(side, Command::CreateAnswer);
        answer.sdp_type = sdp_type;
        world.ok(side, Command::SetLocalDescription(Some(answer.clone())));
        world.ok(1 - side, Command::SetRemoteDescription(answer));
        world.run_for(Duration::from_millis(50));
        self.check_media();
    }

    fn plain(&mut self, side: usize, between: &[(usize, Act)]) {
        self.offer(side);
        self.all(between);
        self.answer(1 - side, SdpType::Answer);
    }

    fn provisional(&mut self, side: usize, between: &[(usize, Act)]) {
        self.offer(side);
        self.answer(1 - side, SdpType::Pranswer);
        self.all(between);
        self.answer(1 - side, SdpType::Pranswer);
        self.answer(1 - side, SdpType::Answer);
    }

    fn roll_back(&mut self, side: usize, between: &[(usize, Act)]) {
        self.offer(side);
        self.world.run_for(Duration::from_millis(20));
        self.all(between);
        let rollback = SessionDescription {
            sdp_type: SdpType::Rollback,
            sdp: String::new(),
        };
        let world = &mut self.world;
        world.ok(side, Command::SetLocalDescription(Some(rollback.clone())));
        world.ok(1 - side, Command::SetRemoteDescription(rollback));
        self.check_media();
    }

    fn glare(&mut self, polite: usize, between: &[(usize, Act)]) {
        let world = &mut self.world;
        let offers =
            [0, 1].map(|side| world.create(side, Command::CreateOffer { ice_restart: false }));
        for (side, offer) in offers.iter().enumerate() {
            world.ok(side, Command::SetLocalDescription(Some(offer.clone())));
        }
        self.all(between);
        let theirs = offers[1 - polite].clone();
        self.world.ok(polite, Command::SetRemoteDescription(theirs));
        self.answer(polite, SdpType::Answer);
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
            for (sender, receiver) in [(ours, theirs), (theirs, ours)] {
                let codec = sender.sender.codec.as_ref().expect("a codec");
                let mut taken = receiver.codecs.iter();
                assert!(
                    taken.any(|c| (&c.mime_type, c.payload_type)
                        == (&codec.mime_type, codec.payload_type)),
                    "{sender:#?} {receiver:#?}"
                );
            }
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
        steps in vec(step(), 1..30),
    ) {
        let mut story = Story::new();
        for step in &steps {
            story.play(step);
        }
        // Something to connect for, whatever the story was.
        story.add(0, Kind::Audio, Direction::Sendrecv, &[]);
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
