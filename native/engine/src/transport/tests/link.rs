//! The harness: two peers, their plans, a link, a clock.

mod tcp;

use crate::address::TransportAddress;
use crate::config::{Config, Features, SrtpProfile};
use crate::media::PacketWriter;
use crate::outbox::Outbox;
use crate::plan::{Fingerprint, IceCredentials, TransportPlan};
use crate::stats::StatsReport;
use crate::transport::{Incoming, LocalCandidate, LocalCandidateKind, Transport, TransportEvent};
use crate::w3c::{DtlsRole, DtlsState, IceConnectionState, IceRole};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub fn config() -> Config {
    Config {
        features: Features::ALL,
        deliver_rtp: true,
        ..Config::bare()
    }
}

pub fn host(address: SocketAddr) -> LocalCandidate {
    LocalCandidate {
        kind: LocalCandidateKind::Host,
        tcp_type: None,
        address,
        base: address,
        url: None,
    }
}

pub fn credentials(name: &str) -> IceCredentials {
    IceCredentials {
        ufrag: name.to_owned(),
        pwd: format!("{name}-0123456789abcdefghijkl"),
    }
}

pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// One end.
pub struct Peer {
    pub transport: Transport,
    pub address: SocketAddr,
    /// Another interface.
    pub second: Option<SocketAddr>,
    /// Where it listens for TCP connections.
    pub listening: Option<SocketAddr>,
    pub plan: TransportPlan,
    pub out: Outbox,
    pub events: Vec<TransportEvent>,
    pub rtp: Vec<Vec<u8>>,
    pub rtcp: Vec<Vec<u8>>,
    pub data: Vec<Vec<u8>>,
    pub wakeups: usize,
}

impl Peer {
    pub fn new(
        now: Instant,
        name: &str,
        address: SocketAddr,
        role: IceRole,
        config: &Config,
    ) -> Self {
        Self {
            transport: Transport::new(now, config).unwrap(),
            address,
            second: None,
            listening: None,
            plan: TransportPlan {
                ice_role: role,
                local: credentials(name),
                remote: None,
                remote_ice_lite: false,
                remote_fingerprints: vec![],
                dtls_role: None,
            },
            out: Outbox::default(),
            events: vec![],
            rtp: vec![],
            rtcp: vec![],
            data: vec![],
            wakeups: 0,
        }
    }

    pub fn apply(&mut self, now: Instant) {
        self.transport.apply(now, &self.plan.clone(), &mut self.out);
        self.drain();
    }

    pub fn gather(&mut self, now: Instant) -> String {
        let attribute = self.transport.add_local_candidate(now, &host(self.address));
        self.drain();
        attribute.unwrap()
    }

    pub fn add_remote(&mut self, now: Instant, attribute: &str) {
        assert_eq!(
            self.transport.add_remote_candidate(now, attribute, None),
            Ok(None)
        );
        self.drain();
    }

    pub fn deliver(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.deliver_at(now, self.address, from, datagram);
    }

    pub fn deliver_at(
        &mut self,
        now: Instant,
        local: impl Into<TransportAddress>,
        from: SocketAddr,
        datagram: &[u8],
    ) {
        let mut bytes = datagram.to_vec();
        match self
            .transport
            .handle_datagram(now, local, from, &mut bytes, &mut self.out)
        {
            Incoming::Nothing => {}
            Incoming::Rtp(packet) => self.rtp.push(packet.to_vec()),
            Incoming::Rtcp(packet) => self.rtcp.push(packet.to_vec()),
        }
        self.drain();
    }

    pub fn drain(&mut self) {
        while let Some(event) = self.transport.poll_event() {
            self.events.push(event);
        }
        while let Some(data) = self.transport.poll_data() {
            self.data.push(data.to_vec());
        }
    }

    pub fn send_rtp(&mut self, sequence: u16) -> Option<usize> {
        let header = rtp_header(0x1234_5678, sequence);
        self.transport
            .packet_writer(&mut self.out)
            .write_rtp(&header, &payload(sequence))
    }

    pub fn ice(&self) -> Vec<IceConnectionState> {
        self.events
            .iter()
            .filter_map(|event| match event {
                TransportEvent::Ice(state) => Some(*state),
                TransportEvent::Dtls(_) => None,
            })
            .collect()
    }

    pub fn dtls(&self) -> Vec<DtlsState> {
        self.events
            .iter()
            .filter_map(|event| match event {
                TransportEvent::Dtls(state) => Some(*state),
                TransportEvent::Ice(_) => None,
            })
            .collect()
    }

    pub fn stats(&self, now: Instant) -> StatsReport {
        let mut report = StatsReport::default();
        self.transport.stats(now, &mut report);
        report
    }

    pub fn stat(&self, now: Instant, kind: &str, field: &str) -> Option<serde_json::Value> {
        self.stats(now)
            .entries
            .iter()
            .find(|entry| entry.kind == kind || entry.id == kind)
            .and_then(|entry| entry.fields.get(field).cloned())
    }
}

pub fn rtp_header(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut header = vec![0x80, 96];
    header.extend(sequence.to_be_bytes());
    header.extend(7_u32.to_be_bytes());
    header.extend(ssrc.to_be_bytes());
    header
}

pub fn payload(sequence: u16) -> Vec<u8> {
    sequence.to_be_bytes().repeat(50)
}

struct Flight {
    at: Instant,
    order: u64,
    to_b: bool,
    from: SocketAddr,
    to: TransportAddress,
    bytes: Vec<u8>,
}

/// Two peers and what is between them.
pub struct Pair {
    pub now: Instant,
    pub start: Instant,
    pub a: Peer,
    pub b: Peer,
    pub latency: Duration,
    /// Percent of datagrams lost, repeated, and held back.
    pub loss: u64,
    pub repeat: u64,
    pub reorder: u64,
    pub cut: bool,
    /// An address that nothing reaches or leaves any more.
    pub dead: Option<SocketAddr>,
    /// An address that nothing leaves any more, though it is reached.
    pub mute: Option<SocketAddr>,
    pub datagrams: usize,
    /// Every datagram that was put on the link: to b?, bytes.
    pub log: Vec<(bool, Vec<u8>)>,
    connections: Vec<tcp::Connection>,
    flights: Vec<Flight>,
    order: u64,
    random: u64,
}

impl Pair {
    pub fn new() -> Self {
        Self::with(&config(), &config())
    }

    pub fn with(a: &Config, b: &Config) -> Self {
        let now = Instant::now();
        Self {
            now,
            start: now,
            a: Peer::new(
                now,
                "aaaa",
                ([10, 0, 0, 1], 1_000).into(),
                IceRole::Controlling,
                a,
            ),
            b: Peer::new(
                now,
                "bbbb",
                ([10, 0, 0, 2], 2_000).into(),
                IceRole::Controlled,
                b,
            ),
            latency: ms(1),
            loss: 0,
            repeat: 0,
            reorder: 0,
            cut: false,
            dead: None,
            mute: None,
            datagrams: 0,
            log: vec![],
            connections: vec![],
            flights: vec![],
            order: 0,
            random: 0x9E37_79B9_7F4A_7C15,
        }
    }

    pub fn profiles(mut self, a: &[SrtpProfile], b: &[SrtpProfile]) -> Self {
        self.a.transport.dtls.set_profiles(a);
        self.b.transport.dtls.set_profiles(b);
        self
    }

    /// Plans as an offer and its answer make them. B answers, so B's half is complete first.
    pub fn introduce(&mut self, role_of_a: DtlsRole) {
        let of_b = self.offer(role_of_a);
        self.pass();
        self.answer(role_of_a);
        self.a.add_remote(self.now, &of_b);
        self.pass();
    }

    /// B has A's half, its candidate as well. Returns B's candidate.
    pub fn offer(&mut self, role_of_a: DtlsRole) -> String {
        let other = match role_of_a {
            DtlsRole::Client => DtlsRole::Server,
            DtlsRole::Server => DtlsRole::Client,
        };
        self.a.apply(self.now);
        let of_a = self.a.gather(self.now);
        let print = self.a.transport.fingerprint();
        self.learn_b(other, vec![print]);
        self.b.apply(self.now);
        let of_b = self.b.gather(self.now);
        self.b.add_remote(self.now, &of_a);
        of_b
    }

    /// A has B's half, without its candidate.
    pub fn answer(&mut self, role_of_a: DtlsRole) {
        let print = self.b.transport.fingerprint();
        self.learn_a(role_of_a, vec![print]);
        self.a.apply(self.now);
    }

    pub fn learn_a(&mut self, role: DtlsRole, fingerprints: Vec<Fingerprint>) {
        self.a.plan.remote = Some(self.b.plan.local.clone());
        self.a.plan.remote_fingerprints = fingerprints;
        self.a.plan.dtls_role = Some(role);
    }

    pub fn learn_b(&mut self, role: DtlsRole, fingerprints: Vec<Fingerprint>) {
        self.b.plan.remote = Some(self.a.plan.local.clone());
        self.b.plan.remote_fingerprints = fingerprints;
        self.b.plan.dtls_role = Some(role);
    }

    fn dice(&mut self, percent: u64) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 100 < percent
    }

    /// Puts what the peers want to send on the link.
    pub fn pass(&mut self) {
        for to_b in [true, false] {
            let peer = if to_b { &mut self.a } else { &mut self.b };
            let out = std::mem::take(&mut peer.out);
            for segment in &out.segments {
                let bytes = out.bytes[segment.offset..segment.offset + segment.length].to_vec();
                self.datagrams += 1;
                self.log.push((to_b, bytes.clone()));
                if segment.local.is_tcp() {
                    self.pass_tcp(to_b, segment.local.address, segment.remote, bytes);
                    continue;
                }
                let copies = 1 + u64::from(self.dice(self.repeat));
                for _ in 0..copies {
                    let dead = [Some(segment.local.address), Some(segment.remote)]
                        .contains(&self.dead)
                        && self.dead.is_some();
                    if self.cut
                        || dead
                        || self.mute == Some(segment.local.address)
                        || self.dice(self.loss)
                    {
                        continue;
                    }
                    let held = if self.dice(self.reorder) {
                        self.latency * 3
                    } else {
                        Duration::ZERO
                    };
                    self.order += 1;
                    self.flights.push(Flight {
                        at: self.now + self.latency + held,
                        order: self.order,
                        to_b,
                        from: segment.local.address,
                        to: segment.remote.into(),
                        bytes: bytes.clone(),
                    });
                }
            }
        }
    }

    /// Runs until `done` or until the time is up; says whether it was done.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.pass();
            if done(self) {
                return true;
            }
            let next = [
                self.a.transport.poll_timeout(),
                self.b.transport.poll_timeout(),
                self.flights.iter().map(|flight| flight.at).min(),
            ]
            .into_iter()
            .flatten()
            .min();
            let Some(next) = next.filter(|at| *at <= end) else {
                self.now = end;
                return false;
            };
            assert!(self.datagrams < 200_000, "the peers flood each other");
            self.now = self.now.max(next);
            let now = self.now;
            self.flights.sort_by_key(|flight| (flight.at, flight.order));
            let due = self
                .flights
                .iter()
                .take_while(|flight| flight.at <= now)
                .count();
            for flight in self.flights.drain(..due).collect::<Vec<_>>() {
                let peer = if flight.to_b {
                    &mut self.b
                } else {
                    &mut self.a
                };
                let to = flight.to;
                if to.is_tcp() || to.address == peer.address || Some(to.address) == peer.second {
                    peer.deliver_at(now, flight.to, flight.from, &flight.bytes);
                }
            }
            for peer in [&mut self.a, &mut self.b] {
                if peer.transport.poll_timeout().is_some_and(|at| at <= now) {
                    peer.wakeups += 1;
                    peer.transport.handle_timeout(now, &mut peer.out);
                    peer.drain();
                    assert!(
                        peer.transport.poll_timeout().is_none_or(|at| at > now),
                        "a timer that is due stays due"
                    );
                }
            }
        }
    }

    pub fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    pub fn is_connected(&self) -> bool {
        [&self.a, &self.b].into_iter().all(|peer| {
            peer.transport.ice_state() == IceConnectionState::Connected
                && peer.transport.dtls_state() == DtlsState::Connected
        })
    }

    pub fn connect(&mut self) {
        self.introduce(DtlsRole::Server);
        assert!(self.run_until(Duration::from_secs(5), Self::is_connected));
    }

    /// Whether media flows both ways now.
    pub fn exchange(&mut self, sequence: u16) -> bool {
        self.a.rtp.clear();
        self.b.rtp.clear();
        self.a.send_rtp(sequence);
        self.b.send_rtp(sequence);
        self.run(self.latency * 5);
        let mut plain = rtp_header(0x1234_5678, sequence);
        plain.extend(payload(sequence));
        self.a.rtp.contains(&plain) && self.b.rtp.contains(&plain)
    }
}
