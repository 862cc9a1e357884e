//! One allocation on a TURN server (RFC 8656), as a state machine: told the time, given what the
//! server sends, asked what to send.
//!
//! Peers are reached through channels only: binding one also installs and renews the permission
//! (RFC 8656 section 12), so there is one thing to keep alive for a peer, and data costs 4 bytes.

use super::channels::{Channel, Peers};
use super::wire::{self, Request};
use rtc_crypto::RTCCryptoProvider;
use rtc_stun::attributes::{
    ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM, ATTR_XOR_RELAYED_ADDRESS, ATTR_XORMAPPED_ADDRESS,
};
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    CLASS_SUCCESS_RESPONSE, Getter, METHOD_ALLOCATE, METHOD_CHANNEL_BIND, METHOD_REFRESH, Message,
    Method, TransactionId,
};
use rtc_stun::xoraddr::XorMappedAddress;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first wait for an answer; it doubles with each retransmission (RFC 8489 section 6.2.1).
const INITIAL_RTO: Duration = Duration::from_millis(500);

/// An allocation that is not there by then is given up: gathering ends after five seconds.
const MAX_ALLOCATE_WAIT: Duration = Duration::from_millis(4900);

/// How long every other answer is waited for. Renewals start early enough for several of these.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// How often one request is made again with a new nonce. RFC 8489 section 9.2.5 asks once; a
/// server whose nonces live for seconds may need another.
const MAX_RETRIES: u8 = 3;

/// A peer that the server forbids (403) is asked for again after this long.
const FORBIDDEN_FOR: Duration = Duration::from_secs(60);

/// A binding that failed in another way.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Renewed this long before the end (RFC 8656 section 3.9 suggests a minute).
const REFRESH_BEFORE: Duration = Duration::from_secs(60);

/// Shorter lifetimes than this are treated as this, so that a server can't make us busy.
const MIN_LIFETIME: Duration = Duration::from_secs(4);

/// Longer ones too: renewing keeps what is between us and the server open.
const MAX_LIFETIME: Duration = Duration::from_secs(3600);

/// What became of the allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is there.
    Allocated {
        /// What peers send to.
        relayed: SocketAddr,
        /// How the server sees us.
        mapped: Option<SocketAddr>,
    },
    /// It was refused, or nobody answered.
    Failed {
        /// The STUN error code; `None` where no answer came.
        code: Option<u16>,
        /// For people.
        reason: String,
    },
    /// It was there and is no more.
    Lost(String),
}

/// What the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Nothing of ours.
    NotOurs,
    /// Taken.
    Consumed,
    /// A datagram of this peer, at this place of the message.
    Data(SocketAddr, Range<usize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Allocate,
    Refresh,
    /// Ends an allocation that somebody with our address has left behind.
    Displace,
    Bind(SocketAddr, u16),
}

struct Transaction {
    id: TransactionId,
    purpose: Purpose,
    bytes: Vec<u8>,
    retries: u8,
    next: Option<Instant>,
    rto: Duration,
    expires: Instant,
}

enum Allocation {
    Asking,
    Held {
        refresh_at: Instant,
        expires: Instant,
    },
    Over,
}

/// See the module.
pub struct Client {
    provider: Arc<dyn RTCCryptoProvider>,
    username: String,
    credential: String,
    /// Over TCP or TLS: no retransmissions, padded channel data.
    stream: bool,
    /// Ask for an IPv6 relayed address.
    ipv6: bool,
    displaced: bool,
    realm: String,
    nonce: String,
    key: Option<Vec<u8>>,
    allocation: Allocation,
    transactions: Vec<Transaction>,
    peers: Peers,
    out: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

impl Client {
    /// Starts to allocate.
    pub fn new(
        now: Instant,
        provider: Arc<dyn RTCCryptoProvider>,
        username: String,
        credential: String,
        stream: bool,
        ipv6: bool,
    ) -> Self {
        let mut client = Self {
            provider,
            username,
            credential,
            stream,
            ipv6,
            displaced: false,
            realm: String::new(),
            nonce: String::new(),
            key: None,
            allocation: Allocation::Asking,
            transactions: Vec::new(),
            peers: Peers::default(),
            out: VecDeque::new(),
            events: VecDeque::new(),
        };
        client.ask(now, Purpose::Allocate, 0, now + MAX_ALLOCATE_WAIT);
        client
    }

    /// Whether it is still not known if there will be an allocation.
    pub fn is_asking(&self) -> bool {
        matches!(self.allocation, Allocation::Asking)
    }

    /// Whether there is nothing any more.
    pub fn is_over(&self) -> bool {
        matches!(self.allocation, Allocation::Over)
    }

    /// One message of the server: a STUN message or channel data.
    pub fn handle(&mut self, now: Instant, message: &[u8]) -> Incoming {
        if let Some((channel, range)) = wire::channel_data(message) {
            return match self.peers.of_channel(channel) {
                Some(peer) => Incoming::Data(peer, range),
                None => Incoming::Consumed,
            };
        }
        if let Some((peer, range)) = wire::data_indication(message) {
            return if matches!(self.allocation, Allocation::Held { .. }) {
                Incoming::Data(peer, range)
            } else {
                Incoming::Consumed
            };
        }
        let Some(id) = wire::transaction_id(message) else {
            return Incoming::NotOurs;
        };
        let Some(at) = self.transactions.iter().position(|it| it.id.0 == *id) else {
            return Incoming::NotOurs;
        };
        let mut answer = Message::new();
        if answer.unmarshal_binary(message).is_err() {
            return Incoming::Consumed;
        }
        let Some(transaction) = self.transactions.get(at) else {
            return Incoming::NotOurs;
        };
        if answer.typ.method != transaction.purpose.method() {
            return Incoming::Consumed;
        }
        let success = answer.typ.class == CLASS_SUCCESS_RESPONSE;
        // RFC 8489 section 9.2.5: a success that does not prove the credential is no answer.
        if success && !self.is_authentic(&mut answer) {
            log::debug!("a TURN server's answer is not authentic");
            return Incoming::Consumed;
        }
        let transaction = self.transactions.swap_remove(at);
        if success {
            self.succeeded(now, transaction.purpose, &answer);
        } else {
            self.refused(now, &transaction, &answer);
        }
        Incoming::Consumed
    }

    fn is_authentic(&self, answer: &mut Message) -> bool {
        self.key
            .as_ref()
            .is_some_and(|key| MessageIntegrity::check(answer, key, self.provider.crypto()).is_ok())
    }

    fn succeeded(&mut self, now: Instant, purpose: Purpose, answer: &Message) {
        match purpose {
            Purpose::Allocate => {
                let relayed = address(answer, true);
                let lifetime = lifetime(answer);
                match (relayed, lifetime) {
                    (Some(relayed), Some(lifetime)) if !lifetime.is_zero() => {
                        self.hold(now, lifetime);
                        self.events.push_back(Event::Allocated {
                            relayed,
                            mapped: address(answer, false),
                        });
                    }
                    _ => self.fail(None, "the server's answer makes no sense".to_owned()),
                }
            }
            Purpose::Refresh => match lifetime(answer) {
                Some(lifetime) if !lifetime.is_zero() => self.hold(now, lifetime),
                _ => self.lose("the server ended it"),
            },
            Purpose::Displace => {
                self.ask(now, Purpose::Allocate, 0, now + MAX_ALLOCATE_WAIT);
            }
            Purpose::Bind(address, channel) => {
                for datagram in self.peers.bound(now, address) {
                    let mut framed = Vec::with_capacity(datagram.len() + 8);
                    wire::write_channel_data(channel, &datagram, self.stream, &mut framed);
                    self.out.push_back(framed);
                }
            }
        }
    }

    fn hold(&mut self, now: Instant, lifetime: Duration) {
        let lifetime = lifetime.clamp(MIN_LIFETIME, MAX_LIFETIME);
        let refresh = lifetime.saturating_sub(REFRESH_BEFORE).max(lifetime / 2);
        self.allocation = Allocation::Held {
            refresh_at: now + refresh,
            expires: now + lifetime,
        };
    }

    fn refused(&mut self, now: Instant, transaction: &Transaction, answer: &Message) {
        let mut attribute = ErrorCodeAttribute::default();
        let (code, reason) = match attribute.get_from(answer) {
            Ok(()) => (
                attribute.code.0,
                String::from_utf8_lossy(&attribute.reason).into_owned(),
            ),
            Err(_) => (500, "refused without a reason".to_owned()),
        };
        let purpose = transaction.purpose;
        let retry = transaction.retries < MAX_RETRIES
            && match code {
                // The first request of all has no credentials, to learn the realm.
                401 => self.key.is_none() && self.learn(answer),
                438 => self.learn(answer),
                _ => false,
            };
        if retry {
            return self.ask(now, purpose, transaction.retries + 1, transaction.expires);
        }
        match (purpose, code) {
            (Purpose::Allocate, 440) if self.ipv6 => {
                self.ipv6 = false;
                self.ask(now, purpose, transaction.retries, transaction.expires);
            }
            (Purpose::Allocate, 437) if !self.displaced => {
                self.displaced = true;
                self.ask(now, Purpose::Displace, 0, now + MAX_ALLOCATE_WAIT);
            }
            (Purpose::Allocate | Purpose::Displace, _) => self.fail(Some(code), reason),
            (Purpose::Refresh, _) | (Purpose::Bind(..), 437) => {
                self.lose(&format!("{code} {reason}"));
            }
            (Purpose::Bind(address, _), _) => {
                log::debug!("TURN server refuses {address}: {code} {reason}");
                let pause = if code == 403 {
                    FORBIDDEN_FOR
                } else {
                    RETRY_AFTER
                };
                self.peers.unbind(address, now + pause);
            }
        }
    }

    /// Takes realm and nonce from a refusal.
    fn learn(&mut self, answer: &Message) -> bool {
        let text = |attribute| {
            let value = answer.get(attribute).ok()?;
            String::from_utf8(value).ok()
        };
        let Some(nonce) = text(ATTR_NONCE) else {
            return false;
        };
        self.nonce = nonce;
        if let Some(realm) = text(ATTR_REALM)
            && (self.key.is_none() || realm != self.realm)
        {
            self.key = MessageIntegrity::long_term_integrity_key(
                self.username.clone(),
                realm.clone(),
                self.credential.clone(),
                self.provider.crypto(),
            )
            .ok();
            self.realm = realm;
        }
        self.key.is_some()
    }

    fn fail(&mut self, code: Option<u16>, reason: String) {
        self.end();
        self.events.push_back(Event::Failed { code, reason });
    }

    fn lose(&mut self, reason: &str) {
        self.end();
        self.events.push_back(Event::Lost(reason.to_owned()));
    }

    fn end(&mut self) {
        self.allocation = Allocation::Over;
        self.transactions = Vec::new();
        self.peers = Peers::default();
        self.out.clear();
    }

    /// The connection to the server broke, or never came about.
    pub fn disconnected(&mut self, reason: String) {
        match self.allocation {
            Allocation::Asking => self.fail(None, reason),
            Allocation::Held { .. } => self.lose(&reason),
            Allocation::Over => {}
        }
    }

    /// Appends `payload` for `peer` to `out`, framed for the server; false where it has to wait,
    /// or is dropped.
    pub fn send(
        &mut self,
        now: Instant,
        address: SocketAddr,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        if !matches!(self.allocation, Allocation::Held { .. }) {
            return false;
        }
        match self.peers.route(now, address, payload) {
            Channel::Open(channel) => {
                wire::write_channel_data(channel, payload, self.stream, out);
                true
            }
            Channel::ToBind(channel) => {
                self.ask(now, Purpose::Bind(address, channel), 0, now + MAX_WAIT);
                false
            }
            Channel::None => false,
        }
    }

    /// What to send to the server.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// What became of the allocation.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let transactions = self.transactions.iter().map(|it| match it.next {
            Some(next) => next.min(it.expires),
            None => it.expires,
        });
        let renewals = match self.allocation {
            Allocation::Held {
                refresh_at,
                expires,
            } => {
                let peers = self.peers.poll_timeout();
                peers.into_iter().chain([refresh_at, expires]).min()
            }
            Allocation::Asking | Allocation::Over => None,
        };
        transactions.chain(renewals).min()
    }

    /// Asks again where it is time, gives up where it is over, renews.
    pub fn handle_timeout(&mut self, now: Instant) {
        let mut expired = Vec::new();
        let out = &mut self.out;
        self.transactions.retain_mut(|transaction| {
            if transaction.expires <= now {
                expired.push(transaction.purpose);
                return false;
            }
            if transaction.next.is_some_and(|next| next <= now) {
                transaction.rto *= 2;
                transaction.next = Some(now + transaction.rto);
                out.push_back(transaction.bytes.clone());
            }
            true
        });
        for purpose in expired {
            match purpose {
                Purpose::Allocate | Purpose::Displace => {
                    self.fail(None, "no answer from the TURN server".to_owned());
                }
                Purpose::Bind(address, _) => self.peers.unbind(address, now),
                // The end of the allocation decides.
                Purpose::Refresh => {}
            }
        }
        let Allocation::Held {
            refresh_at,
            expires,
        } = &mut self.allocation
        else {
            return;
        };
        if *expires <= now {
            return self.lose("the server no longer answers");
        }
        let expires = *expires;
        if *refresh_at <= now {
            *refresh_at = now + MAX_WAIT.min(expires.saturating_duration_since(now) / 2 + RENEWAL);
            let last = expires.min(now + MAX_WAIT);
            let waiting = |it: &Transaction| it.purpose == Purpose::Refresh;
            if !self.transactions.iter().any(waiting) {
                self.ask(now, Purpose::Refresh, 0, last);
            }
        }
        for (address, channel) in self.peers.take_due(now) {
            self.ask(now, Purpose::Bind(address, channel), 0, now + MAX_WAIT);
        }
    }

    /// Gives the allocation back: the datagram to send, if there is anything to give.
    pub fn release(&mut self) -> Option<Vec<u8>> {
        let held = matches!(self.allocation, Allocation::Held { .. });
        let message = held.then(|| self.message(TransactionId::new(), Purpose::Displace));
        self.end();
        message.flatten()
    }

    fn ask(&mut self, now: Instant, purpose: Purpose, retries: u8, expires: Instant) {
        let id = TransactionId::new();
        let Some(bytes) = self.message(id, purpose) else {
            // Only a credential too long for STUN's attributes gets here.
            return self.fail(None, "the credentials cannot be encoded".to_owned());
        };
        self.out.push_back(bytes.clone());
        self.transactions.push(Transaction {
            id,
            purpose,
            bytes,
            retries,
            next: (!self.stream).then_some(now + INITIAL_RTO),
            rto: INITIAL_RTO,
            expires,
        });
    }

    fn message(&self, id: TransactionId, purpose: Purpose) -> Option<Vec<u8>> {
        let request = match purpose {
            Purpose::Allocate => Request::Allocate { ipv6: self.ipv6 },
            Purpose::Refresh => Request::Refresh(None),
            Purpose::Displace => Request::Refresh(Some(0)),
            Purpose::Bind(peer, channel) => Request::ChannelBind(peer, channel),
        };
        let credentials = self.key.as_ref().map(|key| wire::Credentials {
            username: &self.username,
            realm: &self.realm,
            nonce: &self.nonce,
            key,
            crypto: self.provider.crypto(),
        });
        wire::request(id, &request, credentials.as_ref())
    }
}

/// The least time between two tries to renew.
const RENEWAL: Duration = Duration::from_secs(1);

impl Purpose {
    const fn method(self) -> Method {
        match self {
            Self::Allocate => METHOD_ALLOCATE,
            Self::Refresh | Self::Displace => METHOD_REFRESH,
            Self::Bind(..) => METHOD_CHANNEL_BIND,
        }
    }
}

fn lifetime(answer: &Message) -> Option<Duration> {
    let value = answer.get(ATTR_LIFETIME).ok()?;
    let seconds = u32::from_be_bytes(value.try_into().ok()?);
    Some(Duration::from_secs(u64::from(seconds)))
}

/// The relayed address, or the mapped one; none that could be nobody's.
fn address(answer: &Message, relayed: bool) -> Option<SocketAddr> {
    let attribute = if relayed {
        ATTR_XOR_RELAYED_ADDRESS
    } else {
        ATTR_XORMAPPED_ADDRESS
    };
    let mut found = XorMappedAddress::default();
    found.get_from_as(answer, attribute).ok()?;
    let usable = found.port != 0 && !found.ip.is_unspecified() && !found.ip.is_multicast();
    usable.then(|| SocketAddr::new(found.ip, found.port))
}

#[cfg(test)]
mod tests;
