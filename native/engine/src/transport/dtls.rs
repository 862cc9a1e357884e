//! DTLS 1.2 (RFC 6347) with SRTP keys (RFC 5764): the handshake, the fingerprint check in both
//! roles, application data.
//!
//! The endpoint below is keyed by address; ours sees one constant address, because which path
//! carries the records is the business of ICE alone.

mod handshake;
mod keys;

use super::certificate;
use crate::config::{Config, SrtpProfile};
use crate::error::Error;
use crate::plan::{Fingerprint, TransportPlan};
use crate::w3c::{DtlsRole, DtlsState};
use bytes::{Bytes, BytesMut};
use handshake::Arrived;
use keys::Keys;
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_shared::TransportProtocol;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The address that every record seems to come from and go to.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9));

/// Time between retransmissions of a flight. RFC 6347 section 4.2.4.1 recommends to start at 1 s;
/// the endpoint does not back off, gives up after seven, and a call should not wait a second for
/// one lost datagram.
const RETRANSMIT: Duration = Duration::from_millis(300);

/// How long a handshake is tried, over all its retransmissions and fresh starts.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);

/// DTLS datagrams kept until signalling has said our role and the peer's fingerprint, or until the
/// first message of the server is there: a flight, some retransmissions of it.
const MAX_EARLY: usize = 8;

/// Datagrams with records of the next epoch that are taken during a handshake. The endpoint
/// queues such records; a peer has one (its Finished) to send, again at each retransmission.
const MAX_AHEAD: u32 = 64;

/// The largest of them that is kept: a Finished is far smaller, and so is any datagram that an
/// Ethernet path carries whole.
const MAX_AHEAD_BYTES: usize = 1_500;

/// Handshake messages, or fragments of some, that one association takes, in the clear and
/// encrypted. The endpoint never forgets a fragment that it could not use, searches all of them
/// for each that arrives, and puts a message together by recursion, one level a fragment: without
/// a bound, some ten thousand fragments of one byte would overflow the thread's stack. A handshake
/// has about ten messages, a chain of certificates of 64 KiB some fifty fragments, and what is
/// repeated as it was is not counted.
const MAX_MESSAGES: usize = 256;

/// RFC 8446's record limit does not bind DTLS 1.2, but an Ethernet path does: handshake messages
/// are fragmented to this.
const MTU: usize = 1_200;

/// What a finished handshake agreed on, for statistics.
#[derive(Clone, Debug)]
pub(super) struct Agreed {
    pub cipher: String,
    pub remote_certificate: Vec<u8>,
}

/// DTLS of one connection.
pub(super) struct Dtls {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    profiles: Vec<SrtpProfile>,
    endpoint: Option<Endpoint>,
    role: Option<DtlsRole>,
    expected: Vec<Fingerprint>,
    /// Set by the verification callback, which can't reach this struct.
    mismatch: Arc<AtomicBool>,
    began: Option<Instant>,
    early: VecDeque<BytesMut>,
    ahead: u32,
    /// Handshake messages and fragments given to the endpoint, see [`MAX_MESSAGES`].
    messages: usize,
    arrived: Arrived,
    /// The server asked for our certificate, see [`Self::complete`].
    asked: bool,
    state: DtlsState,
    changes: VecDeque<DtlsState>,
    data: VecDeque<Bytes>,
    pub keys: Option<Box<Keys>>,
    pub agreed: Option<Agreed>,
}

impl Dtls {
    pub(super) fn new(
        provider: Arc<dyn RTCCryptoProvider>,
        config: &Config,
    ) -> Result<Self, Error> {
        let certificate = certificate::load(config.certificate_pem.as_deref(), provider.crypto())?;
        Ok(Self {
            provider,
            certificate,
            profiles: config.srtp_profiles.clone(),
            endpoint: None,
            role: None,
            expected: Vec::new(),
            mismatch: Arc::default(),
            began: None,
            early: VecDeque::new(),
            ahead: 0,
            messages: 0,
            arrived: Arrived::default(),
            asked: false,
            state: DtlsState::New,
            changes: VecDeque::new(),
            data: VecDeque::new(),
            keys: None,
            agreed: None,
        })
    }

    #[cfg(test)]
    pub(super) fn set_profiles(&mut self, profiles: &[SrtpProfile]) {
        self.profiles = profiles.to_vec();
    }

    /// Our certificate in DER.
    pub(super) fn local_certificate(&self) -> &[u8] {
        self.certificate
            .certificate
            .first()
            .map_or(&[], |der| der.as_ref())
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        certificate::sha256(self.local_certificate())
    }

    pub(super) fn role(&self) -> Option<DtlsRole> {
        self.role
    }

    pub(super) fn state(&self) -> DtlsState {
        self.state
    }

    /// Takes role and fingerprints. An association stays over renegotiations and ICE restarts, for
    /// as long as the roles are the same and the peer's certificate is one of the announced; else
    /// a new one begins (RFC 8842).
    pub(super) fn apply(&mut self, now: Instant, plan: &TransportPlan, has_path: bool) {
        let settled = plan
            .dtls_role
            .filter(|_| !plan.remote_fingerprints.is_empty());
        let Some(role) = settled else { return };
        let same_role = self.role.is_none_or(|own| own == role);
        let same_peer = self.expected == plan.remote_fingerprints
            || self.agreed.as_ref().is_some_and(|agreed| {
                certificate::matches_any(&agreed.remote_certificate, &plan.remote_fingerprints)
            });
        self.expected.clone_from(&plan.remote_fingerprints);
        if self.role.is_some() && !(same_role && same_peer) {
            self.forget();
            self.change(DtlsState::New);
        }
        self.role = Some(role);
        self.advance(now, has_path);
    }

    fn is_closed_for_good(&self) -> bool {
        matches!(self.state, DtlsState::Closed | DtlsState::Failed)
    }

    /// Starts what can start: role and fingerprints known, and a path to send on.
    pub(super) fn advance(&mut self, now: Instant, has_path: bool) {
        let Some(role) = self.role else { return };
        if self.is_closed_for_good() || !has_path {
            return;
        }
        if self.endpoint.is_none() {
            let first = match role {
                DtlsRole::Client => None,
                DtlsRole::Server => {
                    // Late records of a handshake that was given up begin none.
                    self.early
                        .retain(|datagram| handshake::is_first_hello(datagram));
                    let hello = handshake::first_hello(self.early.iter().map(AsRef::as_ref));
                    if hello.is_none() {
                        self.change(DtlsState::Connecting);
                        return;
                    }
                    hello
                }
            };
            self.begin(now, role, first.as_deref());
        }
        while self.endpoint.is_some() && !self.awaits_first_message() {
            let Some(datagram) = self.early.pop_front() else {
                break;
            };
            self.read(now, datagram);
        }
    }

    /// Whether a client has heard nothing of the server yet. The endpoint answers later messages
    /// of the server's flight with a fatal alert where they overtook the first one.
    fn awaits_first_message(&self) -> bool {
        self.role == Some(DtlsRole::Client)
            && self.state == DtlsState::Connecting
            && !self.arrived.has_first()
    }

    fn begin(&mut self, now: Instant, role: DtlsRole, client_hello: Option<&[u8]>) {
        let client = role == DtlsRole::Client;
        let configuration = match self.configuration(client, client_hello) {
            Ok(configuration) => Arc::new(configuration),
            Err(error) => {
                log::warn!("no DTLS configuration: {error}");
                self.fail();
                return;
            }
        };
        self.began.get_or_insert(now);
        self.ahead = 0;
        self.messages = 0;
        self.arrived = Arrived::default();
        self.asked = false;
        self.change(DtlsState::Connecting);
        let server = (!client).then(|| configuration.clone());
        let mut endpoint = Endpoint::new(PEER, TransportProtocol::UDP, server);
        if client && let Err(error) = endpoint.connect(now, PEER, configuration, None) {
            log::warn!("DTLS did not start: {error}");
            self.fail();
            return;
        }
        self.endpoint = Some(endpoint);
    }

    fn configuration(
        &self,
        client: bool,
        client_hello: Option<&[u8]>,
    ) -> rtc_shared::error::Result<HandshakeConfig> {
        // As server the client's order would decide. AES-GCM costs half of AES-CM with SHA-1, so
        // it is taken wherever the client has it. As client both are offered: some peers have
        // AES-CM only, and nothing told us.
        let offered_gcm = client_hello.is_some_and(handshake::offers_gcm)
            && self.profiles.contains(&SrtpProfile::AeadAes128Gcm);
        let profiles = self
            .profiles
            .iter()
            .filter(|profile| !offered_gcm || **profile == SrtpProfile::AeadAes128Gcm)
            .map(|profile| keys::protection_profile(*profile))
            .collect();
        let expected = self.expected.clone();
        let mismatch = self.mismatch.clone();
        ConfigBuilder::default()
            .with_crypto_provider(self.provider.clone())
            .with_certificates(vec![self.certificate.clone()])
            .with_srtp_protection_profiles(profiles)
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // There is no chain to verify: the fingerprint is the trust anchor (RFC 8827
            // section 5.1). Possession of the key is verified all the same.
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_flight_interval(RETRANSMIT)
            .with_mtu(MTU)
            .with_verify_peer_certificate(Some(Arc::new(move |chain: &[Vec<u8>], _| {
                if chain
                    .first()
                    .is_some_and(|leaf| certificate::matches_any(leaf, &expected))
                {
                    Ok(())
                } else {
                    mismatch.store(true, Ordering::Relaxed);
                    Err(rtc_shared::error::Error::Other(
                        "fingerprint mismatch".to_owned(),
                    ))
                }
            })))
            .build(client, None)
    }

    /// A DTLS datagram from an address that ICE has validated.
    pub(super) fn handle(&mut self, now: Instant, datagram: &[u8], has_path: bool) {
        if self.is_closed_for_good() || !handshake::is_plausible(datagram) {
            return;
        }
        if self.endpoint.is_none() {
            if self.role != Some(DtlsRole::Client) {
                self.keep(datagram);
                self.advance(now, has_path);
            }
            return;
        }
        if self.awaits_first_message() && handshake::is_later(datagram) {
            self.keep(datagram);
            return;
        }
        self.read(now, BytesMut::from(datagram));
        self.advance(now, has_path);
    }

    fn keep(&mut self, datagram: &[u8]) {
        if self.early.len() >= MAX_EARLY {
            self.early.pop_front();
        }
        self.early.push_back(BytesMut::from(datagram));
    }

    fn read(&mut self, now: Instant, mut datagram: BytesMut) {
        if self.state == DtlsState::Connecting {
            if handshake::has_warning(&datagram) {
                datagram = handshake::without_warnings(&datagram);
                if datagram.is_empty() {
                    return;
                }
            }
            if self.role == Some(DtlsRole::Server) && self.arrived.is_new_beginning(&datagram) {
                let hello = handshake::first_hello([datagram.as_ref()].into_iter());
                self.begin(now, DtlsRole::Server, hello.as_deref());
                self.arrived.is_new_beginning(&datagram);
            }
            if self.arrived.is_repetition(&datagram) {
                return;
            }
            self.asked |= handshake::asks_for_certificate(&datagram);
        }
        if self.state == DtlsState::Connecting && handshake::is_ahead(&datagram) {
            self.ahead += 1;
            if self.ahead > MAX_AHEAD || datagram.len() > MAX_AHEAD_BYTES {
                return;
            }
        }
        let messages = handshake::messages(&datagram);
        if messages > 0 {
            self.messages = self.messages.saturating_add(messages);
            if self.messages > MAX_MESSAGES {
                log::debug!("a handshake of too many fragments");
                return;
            }
        }
        let Some(endpoint) = &mut self.endpoint else {
            return;
        };
        let outcome = endpoint.read(now, PEER, None, datagram);
        if self.mismatch.load(Ordering::Relaxed) {
            log::warn!("the peer's certificate is not the announced one");
            self.fail();
            return;
        }
        match outcome {
            Ok(events) => {
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete => self.complete(now),
                        EndpointEvent::ApplicationData(data)
                            if self.state == DtlsState::Connected =>
                        {
                            self.data.push_back(data.freeze());
                        }
                        EndpointEvent::PeerClosed => self.closed_by_peer(),
                        _ => {}
                    }
                }
            }
            Err(rtc_shared::error::Error::ErrAlertFatalOrClose)
                if self.state == DtlsState::Connecting =>
            {
                log::warn!("the DTLS handshake was refused");
                self.fail();
            }
            // The endpoint has sent its fatal alert, and that ends the handshake (RFC 5246 section
            // 7.2.2): it does not end itself, but would go on with whatever comes next, and put
            // together a key exchange and a signature that are not of the same message.
            Err(error) if self.state == DtlsState::Connecting => {
                log::warn!("the DTLS handshake failed: {error}");
                self.fail();
            }
            // RFC 6347 section 4.1.2.7: what does not fit is dropped, the association lives on. So it
            // does after a fatal alert: endpoints as ours answer with one what anybody can forge.
            Err(error) => log::debug!("DTLS record not taken: {error}"),
        }
    }

    fn complete(&mut self, now: Instant) {
        let Some(state) = self
            .endpoint
            .as_ref()
            .and_then(|endpoint| endpoint.get_connection_state(PEER))
        else {
            return;
        };
        // The callback has seen the certificate already; that it has been called is checked here.
        let leaf = state.peer_certificates.first().cloned().unwrap_or_default();
        if !certificate::matches_any(&leaf, &self.expected) {
            self.refuse(now);
            return;
        }
        // Both sides authenticate in DTLS-SRTP (RFC 5763 section 5): a server that did not ask
        // would send to anybody what it sends to us.
        if state.is_client() && !self.asked {
            log::warn!("the DTLS server did not ask for a certificate");
            self.refuse(now);
            return;
        }
        let agreed = Agreed {
            cipher: state
                .cipher_suite()
                .map(|suite| suite.to_string())
                .unwrap_or_default(),
            remote_certificate: leaf,
        };
        if let Some(profile) = keys::agreed_profile(state) {
            match Keys::export(state, profile, self.provider.crypto()) {
                Some(keys) => self.keys = Some(Box::new(keys)),
                None => {
                    log::warn!("no SRTP keys");
                    self.fail();
                    return;
                }
            }
        }
        self.agreed = Some(agreed);
        self.early.clear();
        self.change(DtlsState::Connected);
    }

    /// A close_notify ends DTLS and nothing else.
    fn closed_by_peer(&mut self) {
        self.keys = None;
        self.change(DtlsState::Closed);
    }

    fn fail(&mut self) {
        self.keys = None;
        self.data.clear();
        self.early.clear();
        self.change(DtlsState::Failed);
    }

    /// Fails and tells the peer, where the endpoint has not done so.
    fn refuse(&mut self, now: Instant) {
        if let Some(endpoint) = &mut self.endpoint
            && let Err(error) = endpoint.close(now)
        {
            log::debug!("no close_notify: {error}");
        }
        self.fail();
    }

    fn forget(&mut self) {
        self.endpoint = None;
        self.keys = None;
        self.agreed = None;
        self.began = None;
        self.ahead = 0;
        self.mismatch = Arc::default();
        self.early.clear();
        self.data.clear();
    }

    fn change(&mut self, state: DtlsState) {
        if self.state != state {
            self.state = state;
            self.changes.push_back(state);
        }
    }

    pub(super) fn poll_change(&mut self) -> Option<DtlsState> {
        self.changes.pop_front()
    }

    pub(super) fn poll_data(&mut self) -> Option<Bytes> {
        self.data.pop_front()
    }

    pub(super) fn write(&mut self, now: Instant, data: &[u8]) {
        if self.state == DtlsState::Connected
            && let Some(endpoint) = &mut self.endpoint
            && let Err(error) = endpoint.write(now, PEER, data)
        {
            log::debug!("DTLS data not sent: {error}");
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<BytesMut> {
        Some(self.endpoint.as_mut()?.poll_transmit()?.message)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_closed_for_good() {
            return None;
        }
        let endpoint = self.endpoint.as_ref();
        let retransmission = endpoint.and_then(|endpoint| endpoint.poll_timeout(&PEER));
        [retransmission, self.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// When a handshake that has begun is given up. The endpoint has no timer while it waits for
    /// the rest of a flight.
    fn deadline(&self) -> Option<Instant> {
        let began = self.began.filter(|_| self.state == DtlsState::Connecting)?;
        Some(began + HANDSHAKE_LIMIT)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, has_path: bool) {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        if self.deadline().is_some_and(|at| at <= now) {
            log::warn!("the DTLS handshake was not finished in time");
            self.refuse(now);
            return;
        }
        let Some(endpoint) = &mut self.endpoint else {
            return;
        };
        if let Err(error) = endpoint.handle_timeout(PEER, now)
            && self.state == DtlsState::Connecting
        {
            // Retransmissions are used up: begin again while there is time.
            log::debug!("DTLS handshake begins again: {error}");
            self.endpoint = None;
            self.advance(now, has_path);
        }
    }

    /// Sends close_notify and forgets everything; says nothing (webrtc-pc section 4.4.1.6: closing
    /// a connection fires no events).
    pub(super) fn close(&mut self, now: Instant) {
        if let Some(endpoint) = &mut self.endpoint
            && self.state == DtlsState::Connected
            && let Err(error) = endpoint.close(now)
        {
            log::debug!("no close_notify: {error}");
        }
        self.keys = None;
        self.data.clear();
        self.early.clear();
        self.changes.clear();
        self.state = DtlsState::Closed;
    }

    /// After the last transmit of [`Self::close`] was taken.
    pub(super) fn drop_endpoint(&mut self) {
        self.endpoint = None;
    }
}
