//! ICE, DTLS and SRTP: one path that is validated, authenticated and encrypted.
//!
//! | module | what it does |
//! |---|---|
//! | `demux` | tells STUN, DTLS, RTP and RTCP apart |
//! | `stun` | authenticates checks before anything acts on them |
//! | `candidate` | candidate attributes, foundations, priorities |
//! | `ice` | sessions over restarts, the selected path |
//! | `certificate` | our certificate, fingerprints |
//! | `dtls` | the handshake and application data |
//! | `srtp` | RTP and RTCP encrypted and decrypted in place |
//! | `report` | statistics |

mod candidate;
mod certificate;
mod demux;
mod dtls;
mod ice;
mod proof;
mod report;
mod srtp;
pub mod stun;

use crate::address::TransportAddress;
use crate::config::Config;
use crate::error::Error;
use crate::media::PacketWriter;
use crate::outbox::{Outbox, Segment};
use crate::plan::{Fingerprint, TransportPlan};
use crate::stats::StatsReport;
use crate::w3c::{
    DtlsState, IceConnectionState, IceProtocol, IceTransportPolicy, RelayProtocol, TcpType,
};
use bytes::Bytes;
pub(crate) use candidate::component as candidate_component;
use demux::Protocol;
use dtls::Dtls;
use ice::{Ice, Path};
pub use proof::Proof;
use report::Traffic;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// What changed in the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportEvent {
    /// The ICE state changed.
    Ice(IceConnectionState),
    /// The DTLS state changed.
    Dtls(DtlsState),
}

/// What a datagram turned out to be, for the rooms above.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// Consumed here (STUN, DTLS), or dropped (and counted).
    Nothing,
    /// Authenticated RTP, decrypted in place: header and payload.
    Rtp(&'a [u8]),
    /// Authenticated RTCP, decrypted.
    Rtcp(Bytes),
}

/// A candidate of ours, as the gatherer found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCandidate {
    /// `host`, `srflx` or `relay`.
    pub kind: LocalCandidateKind,
    /// Who connects, where it is a TCP candidate (RFC 6544).
    pub tcp_type: Option<TcpType>,
    /// The address that the peer sends to.
    pub address: SocketAddr,
    /// The local socket it is reached through; see [`TransportAddress`] for TCP.
    pub base: SocketAddr,
    /// The STUN or TURN server, for `srflx` and `relay`.
    pub url: Option<String>,
}

impl LocalCandidate {
    /// How datagrams of this candidate travel.
    pub const fn protocol(&self) -> IceProtocol {
        match self.tcp_type {
            None => IceProtocol::Udp,
            Some(_) => IceProtocol::Tcp,
        }
    }

    /// What datagrams of this candidate have as their local address: its base, and for a relayed
    /// one itself (RFC 8445 section 5.1.1.2).
    pub const fn local(&self) -> TransportAddress {
        TransportAddress {
            protocol: self.protocol(),
            address: match self.kind {
                LocalCandidateKind::Relay(_) => self.address,
                LocalCandidateKind::Host | LocalCandidateKind::ServerReflexive => self.base,
            },
        }
    }
}

/// How a local candidate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LocalCandidateKind {
    /// An address of this machine.
    Host,
    /// What a STUN server saw, or what `host_to_srflx_ip_mapper` said.
    ServerReflexive,
    /// An address on a TURN server, which is reached so.
    Relay(RelayProtocol),
}

/// The transport of one connection.
pub struct Transport {
    ice: Ice,
    dtls: Dtls,
    traffic: Traffic,
    /// Where an authenticated peer last spoke DTLS from: answers go there while ICE has not
    /// selected a pair yet.
    heard_from: Option<Path>,
    /// Checks that arise where the interface has no outbox; they leave with the next step.
    unsent: Outbox,
    /// When the first of them was made.
    unsent_since: Option<Instant>,
}

impl Transport {
    /// Makes (or reads) the certificate; nothing is sent before a plan is applied.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] for a PEM text that is no certificate and key.
    pub fn new(_now: Instant, config: &Config) -> Result<Self, Error> {
        let provider = rtc_crypto::default_provider().map_err(|_| Error::Internal)?;
        Ok(Self {
            ice: Ice::new(provider.clone(), config),
            dtls: Dtls::new(provider, config)?,
            traffic: Traffic::default(),
            heard_from: None,
            unsent: Outbox::default(),
            unsent_since: None,
        })
    }

    /// Our certificate's SHA-256 fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.dtls.fingerprint()
    }

    /// Reconciles with the plan: start checks, restart ICE, start DTLS in its role.
    pub fn apply(&mut self, now: Instant, plan: &TransportPlan, out: &mut Outbox) {
        let before = self.begin(out);
        self.ice.apply(now, plan, out);
        if self.ice.state() != IceConnectionState::Closed {
            self.dtls.apply(now, plan, self.path().is_some());
        }
        self.finish(now, before, out);
    }

    /// Adds a gathered candidate. Returns its `candidate-attribute` (RFC 8839 section 5.1) with
    /// foundation and priority, or `None` when it duplicates another or the policy hides it.
    ///
    /// Datagrams of a relayed candidate have its relayed address as their local address, in both
    /// directions: it is its own base (RFC 8445 section 5.1.1.2).
    pub fn add_local_candidate(
        &mut self,
        now: Instant,
        candidate: &LocalCandidate,
    ) -> Option<String> {
        let attribute = self.ice.add_local(now, candidate, &mut self.unsent);
        self.note_unsent(now);
        attribute
    }

    /// Adds a peer's candidate. `Err(InvalidCandidate)` for text that is none; `Ok(Some(name))`
    /// when it has a `.local` name that must be resolved first ([`Self::mdns_resolved`]).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidCandidate`].
    pub fn add_remote_candidate(
        &mut self,
        now: Instant,
        attribute: &str,
        ufrag: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let outcome = self.ice.add_remote(now, attribute, ufrag, &mut self.unsent);
        self.note_unsent(now);
        outcome
    }

    /// Says whether either side may still tell candidates of the session in force: where none
    /// does, a connected session is a completed one (webrtc-pc section 5.6.4).
    pub fn set_candidates_known(&mut self, known: bool) {
        self.ice.set_candidates_known(known);
    }

    /// A `.local` name was resolved, or is not to be found.
    pub fn mdns_resolved(&mut self, now: Instant, name: &str, address: Option<IpAddr>) {
        self.ice.mdns_resolved(now, name, address, &mut self.unsent);
        self.note_unsent(now);
    }

    /// One datagram from the network. Anything that is neither STUN nor from an address that ICE
    /// has validated changes nothing. RTP and RTCP before there are keys are dropped, not kept:
    /// a sender that has keys finished the handshake we still wait for, and repairs or the next
    /// keyframe cover the gap of one flight.
    pub fn handle_datagram<'a>(
        &mut self,
        now: Instant,
        local: impl Into<TransportAddress>,
        remote: SocketAddr,
        datagram: &'a mut [u8],
        out: &mut Outbox,
    ) -> Incoming<'a> {
        let local = local.into();
        match demux::classify(datagram) {
            Protocol::Rtp => self.handle_rtp(Path { local, remote }, datagram),
            Protocol::Rtcp => self.handle_rtcp(Path { local, remote }, datagram),
            Protocol::Stun => {
                let before = self.begin(out);
                self.ice.handle(now, local, remote, datagram, out);
                self.finish(now, before, out);
                Incoming::Nothing
            }
            Protocol::Dtls => {
                let from = Path { local, remote };
                if self.accepts(from) {
                    self.traffic.received(from, datagram.len());
                    let before = self.begin(out);
                    self.heard_from = Some(from);
                    self.dtls.handle(now, datagram, true);
                    self.finish(now, before, out);
                } else {
                    self.traffic.discarded += 1;
                }
                Incoming::Nothing
            }
            Protocol::Other => {
                self.traffic.discarded += 1;
                Incoming::Nothing
            }
        }
    }

    /// The selected pair is the rule, and compared first.
    fn accepts(&self, from: Path) -> bool {
        self.ice.path() == Some(from) || self.ice.is_validated(from)
    }

    fn handle_rtp<'a>(&mut self, from: Path, datagram: &'a mut [u8]) -> Incoming<'a> {
        let length = datagram.len();
        let plain = self
            .accepts(from)
            .then_some(self.dtls.keys.as_mut())
            .flatten()
            .and_then(|keys| keys.inbound.unprotect_rtp(datagram))
            .and_then(|plain| datagram.get(..plain));
        match plain {
            Some(packet) => {
                self.traffic.received(from, length);
                Incoming::Rtp(packet)
            }
            None => {
                self.traffic.discarded += 1;
                Incoming::Nothing
            }
        }
    }

    fn handle_rtcp<'a>(&mut self, from: Path, datagram: &'a mut [u8]) -> Incoming<'a> {
        let length = datagram.len();
        let plain = self
            .accepts(from)
            .then_some(self.dtls.keys.as_mut())
            .flatten()
            .and_then(|keys| keys.inbound.unprotect_rtcp(datagram))
            .and_then(|plain| datagram.get(..plain));
        match plain {
            Some(packet) => {
                self.traffic.received(from, length);
                Incoming::Rtcp(Bytes::copy_from_slice(packet))
            }
            None => {
                self.traffic.discarded += 1;
                Incoming::Nothing
            }
        }
    }

    /// DTLS application data that arrived: SCTP packets.
    pub fn poll_data(&mut self) -> Option<Bytes> {
        self.dtls.poll_data()
    }

    /// Sends DTLS application data on the selected path; dropped where there is none.
    pub fn write_data(&mut self, now: Instant, data: &[u8], out: &mut Outbox) {
        if self.path().is_some() {
            self.dtls.write(now, data);
            self.send_dtls(out);
        }
    }

    /// A writer that encrypts RTP and RTCP straight into `out`; writes nothing while there is no
    /// selected pair or no keys.
    pub fn packet_writer<'a>(&'a mut self, out: &'a mut Outbox) -> impl PacketWriter + 'a {
        TransportWriter {
            transport: self,
            out,
        }
    }

    /// What changed since the last call, in order.
    pub fn poll_event(&mut self) -> Option<TransportEvent> {
        // ICE goes first: DTLS can only follow what ICE has made possible.
        self.ice
            .poll_change()
            .map(TransportEvent::Ice)
            .or_else(|| self.dtls.poll_change().map(TransportEvent::Dtls))
    }

    /// From where the peer has proved itself since the last call.
    pub fn take_proofs(&mut self) -> Vec<Proof> {
        self.ice.take_proofs()
    }

    /// The ICE state now.
    pub fn ice_state(&self) -> IceConnectionState {
        self.ice.state()
    }

    /// The DTLS state now.
    pub fn dtls_state(&self) -> DtlsState {
        self.dtls.state()
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        [
            self.ice.poll_timeout(),
            self.dtls.poll_timeout(),
            self.unsent_since,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Checks, keepalives, retransmissions that are due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        let before = self.begin(out);
        self.ice.drive(now, out);
        self.dtls.handle_timeout(now, self.path().is_some());
        self.finish(now, before, out);
    }

    /// Sends close_notify and forgets keys and pairs.
    pub fn close(&mut self, now: Instant, out: &mut Outbox) {
        self.dtls.close(now);
        self.send_dtls(out);
        self.dtls.drop_endpoint();
        self.ice.close();
        self.heard_from = None;
        self.unsent = Outbox::default();
        self.unsent_since = None;
    }

    /// Which candidates are used from the next gathering on.
    pub fn set_policy(&mut self, policy: IceTransportPolicy) {
        self.ice.set_policy(policy);
    }

    /// Datagrams of media or data that were handed out to be sent and that the system did not
    /// take: they do not count as sent.
    pub fn discarded(
        &mut self,
        local: impl Into<TransportAddress>,
        remote: SocketAddr,
        packets: u64,
        bytes: u64,
    ) {
        let local = local.into();
        let path = Path { local, remote };
        self.traffic.discarded_on_send(path, packets, bytes);
    }

    /// Whether the peer has proved, through ICE, that it is at the other end of a TCP connection.
    pub fn is_validated(&self, local: TransportAddress, remote: SocketAddr) -> bool {
        self.ice.is_validated(Path { local, remote })
    }

    /// Our side of the selected pair.
    pub fn selected_base(&self) -> Option<TransportAddress> {
        self.ice.path().map(|path| path.local)
    }

    /// A TCP connection is gone, and all that would have come through it.
    pub fn connection_lost(
        &mut self,
        now: Instant,
        local: TransportAddress,
        remote: SocketAddr,
        out: &mut Outbox,
    ) {
        let before = self.begin(out);
        self.ice.connection_lost(now, Path { local, remote }, out);
        self.finish(now, before, out);
    }

    /// Adds `transport`, `certificate`, `local_candidate`, `remote_candidate`, `candidate_pair`.
    pub fn stats(&self, now: Instant, report: &mut StatsReport) {
        report::write(self, now, report);
    }

    /// Where to send now: the selected pair, or where the peer's handshake comes from.
    fn path(&self) -> Option<Path> {
        self.ice.path().or(self.heard_from)
    }

    fn note_unsent(&mut self, now: Instant) {
        if !self.unsent.is_empty() {
            self.unsent_since.get_or_insert(now);
        }
    }

    /// Starts a step: what waited goes out first.
    fn begin(&mut self, out: &mut Outbox) -> Option<Path> {
        for segment in std::mem::take(&mut self.unsent.segments) {
            let end = segment.offset + segment.length;
            if let Some(bytes) = self.unsent.bytes.get(segment.offset..end) {
                out.push(segment.local, segment.remote, bytes);
            }
        }
        self.unsent.bytes = Vec::new();
        self.unsent_since = None;
        self.ice.path()
    }

    /// Ends a step: a new path may be what DTLS waited for; its records leave last.
    fn finish(&mut self, now: Instant, before: Option<Path>, out: &mut Outbox) {
        let path = self.ice.path();
        if path != before {
            if path.is_some() {
                self.dtls.advance(now, true);
            } else {
                // RFC 7675 section 5.1: no consent, no sending, also not to where it came from.
                self.heard_from = None;
            }
        }
        self.send_dtls(out);
    }

    fn send_dtls(&mut self, out: &mut Outbox) {
        let path = self.path();
        while let Some(record) = self.dtls.poll_transmit() {
            if let Some(path) = path {
                self.traffic.sent(path, record.len());
                out.push(path.local, path.remote, &record);
            }
        }
    }
}

struct TransportWriter<'a> {
    transport: &'a mut Transport,
    out: &'a mut Outbox,
}

impl TransportWriter<'_> {
    /// Closes the datagram that starts at `offset`.
    fn finish(&mut self, path: Path, offset: usize) -> usize {
        let length = self.out.bytes.len() - offset;
        self.out.segments.push(Segment {
            offset,
            length,
            local: path.local,
            remote: path.remote,
        });
        self.transport.traffic.sent(path, length);
        length
    }
}

impl PacketWriter for TransportWriter<'_> {
    fn write_rtp(&mut self, header: &[u8], payload: &[u8]) -> Option<usize> {
        let path = self.transport.ice.path()?;
        let keys = self.transport.dtls.keys.as_mut()?;
        let offset = self.out.bytes.len();
        let overhead = keys.outbound.rtp_overhead();
        self.out
            .bytes
            .reserve(header.len() + payload.len() + overhead);
        self.out.bytes.extend_from_slice(header);
        self.out.bytes.extend_from_slice(payload);
        self.out
            .bytes
            .resize(offset + header.len() + payload.len() + overhead, 0);
        let protected = self
            .out
            .bytes
            .get_mut(offset..)
            .and_then(|packet| keys.outbound.protect_rtp(packet, header.len()));
        if protected.is_none() {
            self.out.bytes.truncate(offset);
            return None;
        }
        Some(self.finish(path, offset))
    }

    fn is_ready(&self) -> bool {
        self.transport.ice.path().is_some() && self.transport.dtls.keys.is_some()
    }

    fn write_rtcp(&mut self, packet: &[u8]) -> Option<usize> {
        let path = self.transport.ice.path()?;
        let keys = self.transport.dtls.keys.as_mut()?;
        let offset = self.out.bytes.len();
        keys.outbound.protect_rtcp(packet, &mut self.out.bytes)?;
        Some(self.finish(path, offset))
    }
}

#[cfg(test)]
mod tests;
