//! Binding requests to STUN servers (RFC 8489), as a state machine: told the time, given
//! datagrams.

use rtc_stun::attributes::ATTR_MAPPED_ADDRESS;
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::message::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, TransactionId,
    is_stun_message,
};
use rtc_stun::xoraddr::XorMappedAddress;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// The first wait for an answer; it doubles with each retransmission (RFC 8489 section 6.2.1).
const INITIAL_RTO: Duration = Duration::from_millis(500);

/// A server that has not answered by then does not. Shorter than the RFC's 39.5 s: somebody
/// waits for the offer.
const MAX_WAIT: Duration = Duration::from_millis(4900);

/// Offset of the transaction id in a STUN message.
const TRANSACTION_ID: std::ops::Range<usize> = 8..20;

/// How one request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server saw us at `address`.
    Mapped {
        /// Which server, as given to [`Transactions::begin`].
        server: usize,
        /// Our socket.
        local: SocketAddr,
        /// The server-reflexive address.
        address: SocketAddr,
    },
    /// No answer, or a refusal.
    Failed {
        /// Which server, as given to [`Transactions::begin`].
        server: usize,
        /// Our socket.
        local: SocketAddr,
        /// The STUN error code; `None` where no answer came.
        code: Option<u16>,
        /// For people.
        reason: String,
    },
}

/// A request to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// From this socket.
    pub local: SocketAddr,
    /// To this server.
    pub remote: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

struct Transaction {
    id: TransactionId,
    server: usize,
    local: SocketAddr,
    remote: SocketAddr,
    next: Instant,
    rto: Duration,
    expires: Instant,
}

/// The requests that wait for their answers.
#[derive(Default)]
pub struct Transactions {
    waiting: Vec<Transaction>,
    requests: VecDeque<Request>,
    expired: VecDeque<Outcome>,
}

impl Transactions {
    /// Asks `remote` how it sees `local`.
    pub fn begin(&mut self, now: Instant, server: usize, local: SocketAddr, remote: SocketAddr) {
        let transaction = Transaction {
            id: TransactionId::new(),
            server,
            local,
            remote,
            next: now + INITIAL_RTO,
            rto: INITIAL_RTO,
            expires: now + MAX_WAIT,
        };
        self.requests.push_back(request(&transaction));
        self.waiting.push(transaction);
    }

    /// Whether nobody is waited for.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.expired.is_empty()
    }

    /// The outcome that a datagram brings: a response to one of our requests, on the socket it
    /// was sent from, by the server it was sent to. Everything else is not for us.
    pub fn handle_datagram(
        &mut self,
        _now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
    ) -> Option<Outcome> {
        let mut waiting = self.waiting.iter().enumerate();
        let (index, answer) = waiting.find_map(|(index, it)| {
            let from = it.local == local && it.remote == remote;
            let answer = from.then(|| binding_answer(datagram, it.id)).flatten()?;
            Some((index, answer))
        })?;
        let Transaction { server, local, .. } = self.waiting.swap_remove(index);
        Some(match answer {
            Ok(address) => Outcome::Mapped {
                server,
                local,
                address,
            },
            Err((code, reason)) => Outcome::Failed {
                server,
                local,
                code,
                reason,
            },
        })
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting
            .iter()
            .map(|transaction| transaction.next.min(transaction.expires))
            .min()
    }

    /// Asks again where it is time, and gives up where it is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Self {
            waiting,
            requests,
            expired,
        } = self;
        waiting.retain_mut(|transaction| {
            if transaction.expires <= now {
                expired.push_back(Outcome::Failed {
                    server: transaction.server,
                    local: transaction.local,
                    code: None,
                    reason: format!("no answer from {}", transaction.remote),
                });
                return false;
            }
            if transaction.next <= now {
                transaction.rto *= 2;
                transaction.next = now + transaction.rto;
                requests.push_back(request(transaction));
            }
            true
        });
    }

    /// A request to send.
    pub fn poll_transmit(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// A request that was given up.
    pub fn poll_expired(&mut self) -> Option<Outcome> {
        self.expired.pop_front()
    }
}

/// Retransmissions are the same bytes.
fn request(transaction: &Transaction) -> Request {
    Request {
        local: transaction.local,
        remote: transaction.remote,
        bytes: binding_request(transaction.id),
    }
}

/// Header only: a Binding request needs no attribute (RFC 8489 section 3).
pub fn binding_request(id: TransactionId) -> Vec<u8> {
    let mut message = Message::new();
    message.transaction_id = id;
    message.set_type(BINDING_REQUEST);
    message.write_header();
    message.raw
}

/// Why there is no address: the STUN error code, where the server gave one, and a text for people.
pub type Refusal = (Option<u16>, String);

/// What a message says that is an answer to the Binding request `id`; `None` for all others, and
/// for what is damaged.
pub fn binding_answer(message: &[u8], id: TransactionId) -> Option<Result<SocketAddr, Refusal>> {
    if !is_stun_message(message) || *message.get(TRANSACTION_ID)? != id.0 {
        return None;
    }
    let mut answer = Message::new();
    answer.unmarshal_binary(message).ok()?;
    match answer.typ {
        BINDING_SUCCESS => Some(
            mapped_address(&answer).ok_or_else(|| (None, "the answer has no address".to_owned())),
        ),
        BINDING_ERROR => Some(Err(error_code(&answer))),
        // Our own request come back.
        _ => None,
    }
}

/// XOR-MAPPED-ADDRESS, or MAPPED-ADDRESS of a server from before RFC 5389; none that could be
/// nobody's address.
fn mapped_address(message: &Message) -> Option<SocketAddr> {
    let mut mapped = XorMappedAddress::default();
    let address = match mapped.get_from(message) {
        Ok(()) => SocketAddr::new(mapped.ip, mapped.port),
        Err(_) => plain_mapped_address(&message.get(ATTR_MAPPED_ADDRESS).ok()?)?,
    };
    let ip = address.ip();
    (address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()).then_some(address)
}

/// RFC 8489 section 14.1.
fn plain_mapped_address(value: &[u8]) -> Option<SocketAddr> {
    let ([_, family, high, low], ip) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([*high, *low]);
    let ip = match family {
        1 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?)),
        2 => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn error_code(message: &Message) -> Refusal {
    let mut attribute = ErrorCodeAttribute::default();
    match attribute.get_from(message) {
        Ok(()) => (
            Some(attribute.code.0),
            String::from_utf8_lossy(&attribute.reason).into_owned(),
        ),
        Err(_) => (None, "refused without a reason".to_owned()),
    }
}

#[cfg(test)]
mod tests;
