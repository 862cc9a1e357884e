//! Calls of the public API that tests make again and again.

use super::{World, channel_options, config, packet, track};
use bytes::Bytes;
use engine::command::{ChannelInfo, ChannelOptions, Command, OutgoingData, TransceiverInfo, Value};
use engine::event::Event;
use engine::ids::TrackId;
use engine::w3c::{ChannelState, DataKind, Direction, Kind};
use std::time::Duration;

/// The fields of an entry of the statistics.
pub type Fields = serde_json::Map<String, serde_json::Value>;

impl World {
    /// Connected, with an audio and a video transceiver of `0`: tracks 1 and 2.
    pub fn connected() -> Self {
        let mut world = Self::new(config(), config());
        world.add_transceiver(0, 1, Kind::Audio);
        world.add_transceiver(0, 2, Kind::Video);
        world.negotiate(0);
        world.connect();
        world
    }

    pub fn transceivers(&mut self, side: usize) -> Vec<TransceiverInfo> {
        match self.ok(side, Command::GetTransceivers) {
            Value::Transceivers(transceivers) => transceivers,
            other => panic!("transceivers, not {other:?}"),
        }
    }

    /// The transceiver that sends a track.
    pub fn transceiver_of(&mut self, side: usize, id: u64) -> TransceiverInfo {
        self.transceivers(side)
            .into_iter()
            .find(|transceiver| {
                let track = transceiver.sender.track.as_ref();
                track.is_some_and(|track| track.id == TrackId(id))
            })
            .expect("a transceiver with the track")
    }

    /// The track that the other side knows a sent track as, by its m-line.
    pub fn remote_track_of(&mut self, side: usize, id: u64) -> TrackId {
        let mid = self.transceiver_of(side, id).mid;
        assert!(mid.is_some(), "negotiated");
        self.transceivers(1 - side)
            .into_iter()
            .find(|transceiver| transceiver.mid == mid)
            .expect("the m-line at the other side")
            .receiver
            .track
            .id
    }

    /// Lets a side send a track of its own on the m-line that the other side sends `theirs` on;
    /// takes effect with the next negotiation.
    pub fn send_back(&mut self, side: usize, theirs: u64, mine: u64) {
        let mid = self.transceiver_of(1 - side, theirs).mid;
        let transceiver = self
            .transceivers(side)
            .into_iter()
            .find(|transceiver| transceiver.mid == mid)
            .expect("the m-line at this side");
        self.ok(
            side,
            Command::SetTransceiverDirection(transceiver.id, Direction::Sendrecv),
        );
        self.ok(
            side,
            Command::ReplaceTrack(transceiver.sender.id, Some(track(mine, transceiver.kind))),
        );
    }

    /// Sends a packet with this number and content on a track, and lets it arrive.
    pub fn send_number(&mut self, side: usize, id: u64, number: u16) {
        let content = format!("{id}/{number}");
        let packet = packet(number, u32::from(number) * 3000, content.as_bytes());
        self.send(side, id, &packet);
    }

    /// Sends numbered packets on a track and says which arrived at the other side.
    pub fn flow(&mut self, side: usize, id: u64, numbers: std::ops::Range<u16>) -> Vec<u16> {
        let seen = self.peers[1 - side].heard.packets.len();
        for number in numbers {
            self.send_number(side, id, number);
            self.run_for(Duration::from_millis(5));
        }
        self.run_for(Duration::from_millis(50));
        self.peers[1 - side].heard.packets[seen..]
            .iter()
            .filter(|packet| {
                packet.payload == format!("{id}/{}", packet.sequence_number).as_bytes()
            })
            .map(|packet| packet.sequence_number)
            .collect()
    }

    /// Sends numbered packets on a track; every one must arrive, in order, on the right track.
    pub fn flows(&mut self, side: usize, id: u64, numbers: std::ops::Range<u16>) {
        let remote = self.remote_track_of(side, id);
        let seen = self.peers[1 - side].heard.packets.len();
        let arrived = self.flow(side, id, numbers.clone());
        assert_eq!(arrived, numbers.collect::<Vec<u16>>(), "track {id}");
        let fresh = &self.peers[1 - side].heard.packets[seen..];
        assert!(
            fresh.iter().all(|packet| packet.track == remote),
            "track {id} arrives on its own track"
        );
    }

    /// Sends numbered packets on a track that may not send now: none leaves.
    pub fn is_silent(&mut self, side: usize, id: u64, numbers: std::ops::Range<u16>) {
        self.tap = Some(Vec::new());
        assert_eq!(self.flow(side, id, numbers), [0u16; 0], "track {id}");
        let sender = self.peers[side].public;
        // RFC 7983: RTP and RTCP begin with 128 to 191; RFC 5761: RTCP has types 192 to 223.
        let packets = self.tap.take().into_iter().flatten();
        let media = packets.filter(|(from, _, bytes)| {
            *from == sender && (128..192).contains(&bytes[0]) && !(192..224).contains(&bytes[1])
        });
        assert_eq!(media.count(), 0, "track {id} leaves side {side}");
    }

    pub fn channel_with(&mut self, side: usize, options: ChannelOptions) -> ChannelInfo {
        match self.ok(side, Command::CreateDataChannel(options)) {
            Value::DataChannel(channel) => channel,
            other => panic!("a channel, not {other:?}"),
        }
    }

    pub fn channel(&mut self, side: usize, label: &str) -> ChannelInfo {
        self.channel_with(side, channel_options(label))
    }

    /// The other end of a channel that the other side made.
    pub fn remote_channel(&mut self, side: usize, label: &str) -> ChannelInfo {
        self.run_until(Duration::from_secs(10), |world| {
            world.peers[side]
                .channels()
                .iter()
                .any(|c| c.label == label)
        });
        let mut channels = self.peers[side].channels();
        channels.retain(|channel| channel.label == label);
        assert_eq!(channels.len(), 1, "one channel {label}");
        channels.remove(0)
    }

    /// Connected with one channel that side 0 made: both its ends.
    pub fn with_channel() -> (Self, ChannelInfo, ChannelInfo) {
        let mut world = Self::plain();
        let mine = world.channel(0, "data");
        world.negotiate(0);
        world.connect();
        world.wait_until_open(0, &mine);
        let theirs = world.remote_channel(1, "data");
        (world, mine, theirs)
    }

    pub fn channel_states(&self, side: usize, channel: &ChannelInfo) -> Vec<ChannelState> {
        self.peers[side].told(|event| match event {
            Event::DataChannelStateChange(handle, state) if handle.id == channel.handle.id => {
                Some(*state)
            }
            _ => None,
        })
    }

    pub fn wait_until_open(&mut self, side: usize, channel: &ChannelInfo) {
        let open = self.run_until(Duration::from_secs(10), |world| {
            world
                .channel_states(side, channel)
                .contains(&ChannelState::Open)
        });
        assert!(open, "{} opens", channel.label);
    }

    pub fn wait_until_closed(&mut self, side: usize, channel: &ChannelInfo) {
        let closed = self.run_until(Duration::from_secs(10), |world| {
            world.channel_states(side, channel).last() == Some(&ChannelState::Closed)
        });
        assert!(closed, "{} closes at {side}", channel.label);
    }

    pub fn send_data(&mut self, side: usize, channel: &ChannelInfo, kind: DataKind, data: Bytes) {
        assert!(channel.handle.account.charge(data.len() as u64));
        let data = OutgoingData {
            channel: channel.handle.id,
            kind,
            payload: data,
            notify: None,
        };
        let now = self.now;
        let peer = &mut self.peers[side];
        peer.engine.send_data(now, data, &mut peer.heard);
        self.settle(side);
    }

    /// The messages that arrived on a channel.
    pub fn messages_on(&self, side: usize, channel: &ChannelInfo) -> Vec<(DataKind, Bytes)> {
        self.peers[side].told(|event| match event {
            Event::Data(handle, kind, data) if handle.id == channel.handle.id => {
                Some((*kind, data.clone()))
            }
            _ => None,
        })
    }

    /// The statistics of what a side sends, a stream each.
    pub fn outbound_stats(&mut self, side: usize) -> Vec<Fields> {
        match self.ok(side, Command::GetStats) {
            Value::Stats(report) => {
                let sent = report
                    .entries
                    .into_iter()
                    .filter(|e| e.kind == "outbound_rtp");
                sent.map(|entry| entry.fields).collect()
            }
            other => panic!("statistics, not {other:?}"),
        }
    }

    /// The RTCP packets that a side was told of, with the track each is about.
    pub fn rtcp(&self, side: usize) -> Vec<(Option<TrackId>, Bytes)> {
        let compounds = self.peers[side].told(|event| match event {
            Event::Rtcp(packets) => Some(packets.clone()),
            _ => None,
        });
        compounds.into_iter().flatten().collect()
    }
}
