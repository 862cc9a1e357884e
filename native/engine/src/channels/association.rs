//! One SCTP association over DTLS (RFC 8261), behind a small face.
//!
//! The crate keeps the protocol; this keeps what it leaves open: who connects, how long its
//! timers are ([`Clock`]), what it must not be shown ([`Guard`]), and stream resets that get
//! through a lossy path.

mod handshake;
mod resets;
mod window;

use super::clock::Clock;
use super::guard::{Guard, Route, TRASH, Verdict};
use super::wire::{self, Reconfig};
use crate::plan::DataPlan;
use crate::w3c::DtlsRole;
use bytes::Bytes;
use rtc_sctp::{
    AssociationHandle, DatagramEvent, Endpoint, EndpointConfig, EndpointEvent, Event as SctpEvent,
    Payload, PayloadProtocolIdentifier as Ppid, ReliabilityType, ServerConfig, StreamEvent,
    TimerConfig, TransportConfig,
};
use rtc_shared::TransportProtocol;
use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use window::Window;

/// The crate knows peers by address; below DTLS there is one peer and no address.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), CRATE_PORT);
/// The port the crate insists on (RFC 8841 section 5.2); others are rewritten at the edge.
const CRATE_PORT: u16 = 5000;
/// Receive window. 4 MiB carries 300 Mbit/s over 100 ms.
const WINDOW: u32 = 4 << 20;
/// How long an accepted INIT may stay without its COOKIE ECHO before we send an INIT again.
const RECONNECT_AFTER: Duration = Duration::from_secs(5);

/// What happened in the association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    Connected,
    Readable(u16),
    /// The peer reset the stream; it is gone.
    Reset(u16),
    /// The peer asks to reset the stream, and has to wait until our data is through.
    ResetAsked(u16),
    /// The peer acknowledged data of the stream, or it was given up.
    Released(u16),
    Lost,
}

/// A message as it came.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) protocol: Ppid,
    /// None when it is larger than we take.
    pub(super) payload: Option<Bytes>,
}

struct Attempt {
    handle: AssociationHandle,
    inner: rtc_sctp::Association,
    since: Instant,
    /// Of our INIT, once it has left.
    tag: Option<u32>,
    /// When its INIT ACK came, and the peer's first TSN in it.
    answered: Option<(Instant, u32)>,
}

/// An INIT of the peer that was accepted, or waits to be.
struct PeerInit {
    tag: u32,
    tsn: u32,
    packet: Bytes,
}

/// A request of ours to reset streams, until the peer has answered it.
struct UnansweredReset {
    sequence: u32,
    streams: Vec<u16>,
    packet: Bytes,
    due: Instant,
    interval: Duration,
}

/// One SCTP association.
pub(super) struct Association {
    endpoint: Endpoint,
    transport: Arc<TransportConfig>,
    role: DtlsRole,
    ports: (u16, u16),
    clock: Clock,
    guard: Guard,
    window: Window,
    /// Our INIT's association, while it is not answered.
    connecting: Option<Attempt>,
    /// The peer's INIT's association, while its COOKIE ECHO is missing, and our INIT ACK.
    accepting: Option<(Attempt, PeerInit)>,
    /// The peer's INIT while ours has precedence.
    yielding: Option<(Instant, PeerInit)>,
    active: Option<rtc_sctp::Association>,
    lost: bool,
    happenings: VecDeque<Happening>,
    outgoing: VecDeque<Bytes>,
    resets: Vec<UnansweredReset>,
    held: VecDeque<(Vec<u16>, Bytes)>,
    /// The last TSN we sent, to tell first transmissions from repeats.
    sent_tsn: Option<u32>,
    /// Bytes written and not yet sent for the first time: what the congestion window holds back.
    unsent: usize,
    /// Bytes in the crate by stream, and all of them. What was given up unsent leaves only here,
    /// so `unsent` is never taken for more than this.
    buffered: HashMap<u16, usize>,
    all_buffered: usize,
}

impl Association {
    /// Starts to connect. Both ends do, whatever their role: some peers only ever wait and some
    /// never answer an INIT (RFC 8841 leaves it open). Where both INITs meet, the DTLS client's
    /// has precedence, see [`Self::handle_init`].
    pub(super) fn new(now: Instant, plan: &DataPlan, role: DtlsRole, largest: u32) -> Self {
        // Repetition never gives up: whether the path lives is for ICE to say, and the crate
        // would stop its timer for good.
        let timers = TimerConfig {
            max_t1_init_retrans: usize::MAX,
            max_t1_cookie_retrans: usize::MAX,
            max_t2_shutdown_retrans: usize::MAX,
            max_t3_rtx_retrans: usize::MAX,
            max_reconfig_retrans: usize::MAX,
            max_ack_retrans: usize::MAX,
        };
        let window = WINDOW.max(largest.saturating_mul(2));
        let transport = Arc::new(
            TransportConfig::default()
                .with_max_receive_buffer_size(window)
                // The sending limit, which is checked against the peer's before it comes here.
                .with_max_message_size(u32::MAX)
                .with_timer_config(timers),
        );
        let server = ServerConfig::new((*transport).clone());
        let mut association = Self {
            endpoint: Endpoint::new(
                PEER,
                TransportProtocol::UDP,
                Arc::new(EndpointConfig::new()),
                Some(Arc::new(server)),
            ),
            transport,
            role,
            ports: (plan.local_port, plan.remote_port),
            clock: Clock::new(now),
            guard: Guard::new(window),
            window: Window::new(window),
            connecting: None,
            accepting: None,
            yielding: None,
            active: None,
            lost: false,
            happenings: VecDeque::new(),
            outgoing: VecDeque::new(),
            resets: Vec::new(),
            held: VecDeque::new(),
            sent_tsn: None,
            unsent: 0,
            buffered: HashMap::new(),
            all_buffered: 0,
        };
        association.connect(now);
        association
    }

    pub(super) fn is_up(&self) -> bool {
        self.active.is_some() && !self.lost
    }

    #[cfg(test)]
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Streams that both sides allow, once up.
    pub(super) fn max_streams(&self) -> u16 {
        self.active
            .as_ref()
            .and_then(rtc_sctp::Association::negotiated_max_streams)
            .unwrap_or(u16::MAX)
    }

    pub(super) fn next_happening(&mut self) -> Option<Happening> {
        self.happenings.pop_front()
    }

    /// Bytes that wait for the congestion window.
    pub(super) fn unsent(&self) -> usize {
        self.unsent
    }

    /// The endpoint's record of an association must go exactly once.
    fn forget(&mut self, handle: AssociationHandle) {
        self.endpoint.handle_event(handle, EndpointEvent::drained());
    }

    /// A packet from the peer. `route` says what becomes of data on a stream; its second
    /// argument is whether the data is DCEP.
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        packet: Bytes,
        route: impl Fn(u16, bool) -> Route,
    ) {
        if self.lost || wire::u16_at(&packet, 2) != Some(self.ports.0) {
            return;
        }
        let packet = wire::with_ports(&packet, CRATE_PORT, CRATE_PORT);
        let Some(chunks) = wire::chunks(&packet).filter(|all| all.iter().all(wire::is_exact))
        else {
            return;
        };
        if let Some(first) = chunks.first().filter(|chunk| {
            matches!(chunk.kind, wire::INIT | wire::INIT_ACK) && chunk.value.len() >= 16
        }) {
            let (Some(tag), Some(tsn)) = (first.u32_at(0), first.u32_at(12)) else {
                return;
            };
            if self.active.is_some() {
                return;
            }
            if first.kind == wire::INIT {
                // RFC 9260 section 4.2: an INIT comes alone. What were behind it nobody has judged.
                if chunks.len() > 1 {
                    return;
                }
                let packet = packet.clone();
                return self.handle_init(now, PeerInit { tag, tsn, packet });
            }
            let tag = wire::u32_at(&packet, 4);
            if let Some(own) = self.connecting.as_mut().filter(|own| own.tag == tag) {
                own.answered.get_or_insert((now, tsn));
            }
        }
        match self.guard.inspect(packet, route) {
            Verdict::Pass(packet) => {
                self.answered();
                let (admitted, answer) = self.window.admit(packet);
                self.outgoing.extend(answer);
                if let Some(packet) = admitted.and_then(|packet| self.hold(packet)) {
                    self.feed(now, packet);
                }
            }
            Verdict::Drop => {}
            Verdict::Abort => {
                log::warn!("SCTP peer sends more than its window allows: aborted");
                self.abort();
            }
        }
        self.collect(now);
    }

    fn feed(&mut self, now: Instant, packet: Bytes) {
        let told = self.clock.told(now);
        match self.endpoint.handle(told, PEER, None, packet) {
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                let connecting = self.connecting.as_mut().filter(|own| own.handle == handle);
                let accepting = self
                    .accepting
                    .as_mut()
                    .map(|(own, _)| own)
                    .filter(|own| own.handle == handle);
                if let Some(attempt) = connecting.or(accepting) {
                    attempt.inner.handle_event(event);
                } else if let Some(active) = &mut self.active {
                    active.handle_event(event);
                }
            }
            Some((handle, DatagramEvent::NewAssociation(_))) => self.forget(handle),
            _ => {}
        }
    }

    /// Moves what the crate tells into happenings.
    fn collect(&mut self, now: Instant) {
        self.settle_handshake(now);
        let Some(active) = &mut self.active else {
            return;
        };
        while active.accept_stream().is_some() {}
        while active.poll_endpoint_event().is_some() {}
        let mut changed = Vec::new();
        while let Some(event) = active.poll() {
            match event {
                SctpEvent::Stream(StreamEvent::Readable { id }) => {
                    self.happenings.push_back(Happening::Readable(id));
                }
                SctpEvent::Stream(StreamEvent::BufferedAmountReleased { id, .. }) => {
                    self.happenings.push_back(Happening::Released(id));
                    changed.push(id);
                }
                SctpEvent::AssociationLost { id, .. } if !active.is_closed() => {
                    self.happenings.push_back(Happening::Reset(id));
                    changed.push(id);
                }
                _ => {}
            }
        }
        if active.is_closed() && !self.lost {
            self.lost = true;
            self.happenings.push_back(Happening::Lost);
        }
        for id in changed {
            self.recount(id);
        }
        self.release_held(now);
    }

    /// Makes our half of a stream.
    pub(super) fn open_stream(&mut self, id: u16) -> bool {
        self.active.as_mut().is_some_and(|active| {
            active.stream(id).is_ok() || active.open_stream(id, Ppid::Binary).is_ok()
        })
    }

    /// How messages are sent from now on. Lifetimes are in real milliseconds.
    pub(super) fn set_reliability(
        &mut self,
        id: u16,
        ordered: bool,
        how: super::dcep::Reliability,
    ) {
        use super::dcep::Reliability;
        let (kind, value) = match how {
            Reliability::Full => (ReliabilityType::Reliable, 0),
            Reliability::Retransmits(count) => (ReliabilityType::Rexmit, u32::from(count)),
            Reliability::Lifetime(millis) => {
                (ReliabilityType::Timed, self.clock.told_millis(millis))
            }
        };
        if let Some(Ok(mut stream)) = self.active.as_mut().map(|active| active.stream(id)) {
            let _ = stream.set_reliability_params(!ordered, kind, value);
        }
    }

    /// Writes a message that is not empty. False when the stream is not writable any more.
    pub(super) fn write(&mut self, now: Instant, id: u16, protocol: Ppid, payload: &Bytes) -> bool {
        let told = self.clock.told(now);
        let written = match self.active.as_mut().map(|active| active.stream(id)) {
            Some(Ok(mut stream)) => stream.write_chunk_with_ppi(told, payload, protocol).is_ok(),
            _ => false,
        };
        if written {
            self.unsent += payload.len();
            self.all_buffered += payload.len();
            *self.buffered.entry(id).or_default() += payload.len();
        }
        written
    }

    /// Bytes of a stream that the peer has not acknowledged.
    pub(super) fn buffered(&self, id: u16) -> usize {
        self.buffered.get(&id).copied().unwrap_or(0)
    }

    /// Asks the crate again what it holds of a stream.
    fn recount(&mut self, id: u16) {
        let now = match self.active.as_mut().map(|active| active.stream(id)) {
            Some(Ok(stream)) => stream.buffered_amount().unwrap_or(0),
            _ => 0,
        };
        let before = self.buffered.insert(id, now).unwrap_or(0);
        if now == 0 {
            self.buffered.remove(&id);
        }
        self.all_buffered = (self.all_buffered + now).saturating_sub(before);
        self.unsent = self.unsent.min(self.all_buffered);
    }

    /// The next message of a stream; no larger than `largest`.
    pub(super) fn read(&mut self, id: u16, largest: usize) -> Option<Received> {
        let mut stream = self.active.as_mut()?.stream(id).ok()?;
        let message = stream.read_sctp().ok()??;
        if id != TRASH {
            self.guard.read(message.chunks.len());
        }
        let payload = message
            .to_payload(largest)
            .ok()
            .map(bytes::BytesMut::freeze);
        Some(Received {
            protocol: message.ppi,
            payload,
        })
    }

    /// Empties the stream that unwanted data was moved to.
    pub(super) fn empty_trash(&mut self) {
        while self.read(TRASH, 0).is_some() {}
    }

    /// Ends the association with an ABORT.
    pub(super) fn abort(&mut self) {
        if let Some(active) = &mut self.active {
            let _ = active.abort();
        } else {
            self.lost = true;
        }
    }

    pub(super) fn poll_packet(&mut self, now: Instant) -> Option<Bytes> {
        if self.outgoing.is_empty() {
            self.gather(now);
        }
        let packet = self.outgoing.pop_front()?;
        Some(wire::with_ports(&packet, self.ports.0, self.ports.1))
    }

    fn gather(&mut self, now: Instant) {
        let told = self.clock.told(now);
        let accepting = self.accepting.as_mut().map(|(attempt, _)| attempt);
        for attempt in self.connecting.iter_mut().chain(accepting) {
            while let Some(packets) = transmit(&mut attempt.inner, told) {
                for packet in &packets {
                    let chunks = wire::chunks(packet).unwrap_or_default();
                    let init = chunks.iter().find(|chunk| chunk.kind == wire::INIT);
                    attempt.tag = init.and_then(|init| init.u32_at(0)).or(attempt.tag);
                }
                self.outgoing.extend(packets);
            }
        }
        while let Some(packets) = self
            .active
            .as_mut()
            .and_then(|active| transmit(active, told))
        {
            for packet in packets {
                let instead = self.departing(now, &packet);
                self.outgoing.push_back(instead.unwrap_or(packet));
            }
        }
    }

    /// Notes what leaves: the state of our window, first transmissions, reset requests. The packet
    /// that leaves instead, if any.
    fn departing(&mut self, now: Instant, packet: &Bytes) -> Option<Bytes> {
        let mut instead = None;
        for chunk in wire::chunks(packet).unwrap_or_default() {
            match chunk.kind {
                wire::DATA => {
                    let Some(tsn) = chunk.u32_at(0) else { continue };
                    let is_new = self
                        .sent_tsn
                        .is_none_or(|last| tsn.wrapping_sub(last) as i32 > 0);
                    if is_new {
                        self.sent_tsn = Some(tsn);
                        let bytes = chunk.value.len().saturating_sub(12);
                        self.unsent = self.unsent.saturating_sub(bytes);
                    }
                }
                wire::SACK => {
                    if let (Some(cumulative), Some(window), Some(gaps)) =
                        (chunk.u32_at(0), chunk.u32_at(4), chunk.u16_at(8))
                    {
                        self.guard.acknowledged(cumulative, window, gaps);
                        instead = self.window.acknowledging(packet, window);
                    }
                }
                wire::RECONFIG => {
                    for parameter in wire::reconfigs(&chunk) {
                        if let Reconfig::Reset {
                            sequence, streams, ..
                        } = parameter
                        {
                            self.remember_reset(now, sequence, streams, packet);
                        }
                    }
                }
                _ => {}
            }
        }
        instead
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.lost {
            return None;
        }
        let accepting = self.accepting.as_ref().map(|(attempt, _)| attempt);
        let crates = [
            self.connecting
                .as_ref()
                .and_then(|attempt| attempt.inner.poll_timeout()),
            accepting.and_then(|attempt| attempt.inner.poll_timeout()),
            self.active
                .as_ref()
                .and_then(rtc_sctp::Association::poll_timeout),
        ];
        let reconnect = match (&self.connecting, accepting) {
            (None, Some(attempt)) => Some(attempt.since + RECONNECT_AFTER),
            _ => None,
        };
        crates
            .into_iter()
            .flatten()
            .map(|told| self.clock.real(told))
            .chain(self.resets.iter().map(|reset| reset.due))
            .chain(self.yielding.iter().map(|(due, _)| *due))
            .chain(reconnect)
            .min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let told = self.clock.told(now);
        let accepting = self
            .accepting
            .as_mut()
            .map(|(attempt, _)| &mut attempt.inner);
        let connecting = self.connecting.as_mut().map(|attempt| &mut attempt.inner);
        for inner in [connecting, accepting, self.active.as_mut()]
            .into_iter()
            .flatten()
        {
            inner.handle_timeout(told);
        }
        if let Some((_, init)) = self.yielding.take_if(|(due, _)| *due <= now) {
            self.accept(now, init);
        }
        if self.connecting.is_none()
            && self
                .accepting
                .as_ref()
                .is_some_and(|(own, _)| own.since + RECONNECT_AFTER <= now)
        {
            if let Some((attempt, _)) = self.accepting.take() {
                self.forget(attempt.handle);
            }
            self.connect(now);
        }
        for reset in self.resets.iter_mut().filter(|reset| reset.due <= now) {
            self.outgoing.push_back(reset.packet.clone());
            reset.interval = (reset.interval * 2).min(resets::RESET_INTERVAL.1);
            reset.due = now + reset.interval;
        }
        self.collect(now);
    }
}

fn transmit(inner: &mut rtc_sctp::Association, told: Instant) -> Option<Vec<Bytes>> {
    match inner.poll_transmit(told)?.message {
        Payload::RawEncode(packets) => Some(packets),
        _ => None,
    }
}
