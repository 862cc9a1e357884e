//! One address as a STUN server sees it over a connection (RFC 8489 section 6.2.2), as a state
//! machine: told the time, given what the server sends, asked what to send.

use crate::gather::stun::{binding_answer, binding_request};
use rtc_stun::message::TransactionId;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A server that has not answered by then does not, the time to connect included: gathering ends
/// after five seconds.
const MAX_WAIT: Duration = Duration::from_millis(4900);

/// How often the server is asked again. NATs are to keep a silent connection for two hours (RFC 5382
/// section 5), and many forget it within minutes.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Before a connection that has ended is made again; twice as long each time, unless it was of use in
/// between. coturn ends one without an allocation after a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The longest answer that is read. One has an address, and texts of 763 bytes at most each (RFC
/// 8489 sections 14.8 and 14.14).
const MAX_MESSAGE: usize = 2_048;

/// What the server may send for one request: the answer, and a few messages that we do not know.
const MAX_UNASKED: usize = 4 * MAX_MESSAGE;

const STUN_HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// The length of the message at the front of the connection (RFC 8489 section 6.2.2: nothing but
/// STUN's own length separates them); `Err` for bytes that are no answer.
pub fn message_length(front: &[u8]) -> Result<Option<usize>, ()> {
    let cookie = front.iter().skip(4).zip(&MAGIC_COOKIE);
    let sound = front.first().is_none_or(|first| *first < 0x40)
        && cookie.into_iter().all(|(byte, known)| byte == known);
    let length = match front {
        [_, _, high, low, ..] => Some(STUN_HEADER + usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    };
    let fits = length.is_none_or(|it| it <= MAX_MESSAGE && it % 4 == 0);
    if sound && fits { Ok(length) } else { Err(()) }
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server sees us there. Told once.
    Mapped(SocketAddr),
    /// It was never told.
    Failed {
        /// The STUN error code; `None` where no answer came.
        code: Option<u16>,
        /// For people.
        reason: String,
    },
    /// The server sees us there now.
    Moved(SocketAddr),
    /// The connection has ended, and is made again later.
    Lost(String),
}

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// For nothing.
    Nothing,
    /// To ask again, so that the connection is not forgotten: [`Client::ask`].
    Ask,
    /// To connect again and then to ask.
    Connect,
}

enum State {
    Asking {
        id: TransactionId,
        expires: Instant,
        /// Whether it is the first question of this connection.
        first: bool,
    },
    Held {
        ask_at: Instant,
    },
    Broken {
        again: Instant,
    },
    Over,
}

/// See the module.
pub struct Client {
    state: State,
    mapped: Option<SocketAddr>,
    pause: Duration,
    /// Bytes since the last question.
    heard: usize,
    out: Option<Vec<u8>>,
    events: VecDeque<Event>,
}

impl Client {
    /// Asks for the first time, over a connection that may not be there yet.
    pub fn new(now: Instant) -> Self {
        let mut client = Self {
            state: State::Over,
            mapped: None,
            pause: FIRST_PAUSE,
            heard: 0,
            out: None,
            events: VecDeque::new(),
        };
        client.ask(now);
        client
    }

    /// Whether somebody waits for the first answer.
    pub fn is_asking(&self) -> bool {
        self.mapped.is_none() && matches!(self.state, State::Asking { .. })
    }

    /// Whether it is of use to have a connection.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Asking { .. } | State::Held { .. })
    }

    /// Whether nothing more comes of it.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Where the server sees us, as far as is known; looked at by a new round of gathering, for which
    /// the connection is kept again.
    pub fn renew(&mut self, now: Instant) -> Option<SocketAddr> {
        if let State::Held { ask_at } = &mut self.state {
            *ask_at = now + KEEPALIVE;
        }
        self.mapped.filter(|_| self.is_connected())
    }

    /// Asks; after [`Due`] has said so.
    pub fn ask(&mut self, now: Instant) {
        let id = TransactionId::new();
        let first = !matches!(self.state, State::Held { .. });
        self.state = State::Asking {
            id,
            expires: now + MAX_WAIT,
            first,
        };
        self.heard = 0;
        self.out = Some(binding_request(id));
    }

    /// One message of the server.
    pub fn handle(&mut self, now: Instant, message: &[u8]) {
        self.heard = self.heard.saturating_add(message.len());
        if self.heard > MAX_UNASKED {
            return self.disconnected(now, "it sends what nobody asked for".to_owned());
        }
        let State::Asking { id, first, .. } = self.state else {
            return;
        };
        match binding_answer(message, id) {
            None => {}
            Some(Ok(address)) => {
                match self.mapped.replace(address) {
                    None => self.events.push_back(Event::Mapped(address)),
                    Some(before) if before != address => {
                        self.events.push_back(Event::Moved(address));
                    }
                    Some(_) => {}
                }
                if !first {
                    self.pause = FIRST_PAUSE;
                }
                self.state = State::Held {
                    ask_at: now + KEEPALIVE,
                };
            }
            Some(Err((code, reason))) => self.refused(now, code, reason),
        }
    }

    /// The connection has ended, or never came about.
    pub fn disconnected(&mut self, now: Instant, reason: String) {
        self.refused(now, None, reason);
    }

    fn refused(&mut self, now: Instant, code: Option<u16>, reason: String) {
        if !self.is_connected() {
            return;
        }
        self.out = None;
        if self.mapped.is_none() {
            self.state = State::Over;
            self.events.push_back(Event::Failed { code, reason });
        } else {
            self.state = State::Broken {
                again: now + self.pause,
            };
            self.pause = (self.pause * 2).min(MAX_PAUSE);
            self.events.push_back(Event::Lost(reason));
        }
    }

    /// Nobody needs it any more.
    pub fn end(&mut self) {
        self.state = State::Over;
        self.out = None;
    }

    /// What to send to the server.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.take()
    }

    /// What was found out.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Asking { expires, .. } => Some(expires),
            State::Held { ask_at } => Some(ask_at),
            State::Broken { again } => Some(again),
            State::Over => None,
        }
    }

    /// Gives up where it is time, and says what else is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Due {
        match self.state {
            State::Asking { expires, .. } if expires <= now => {
                self.disconnected(now, "no answer from the STUN server".to_owned());
                Due::Nothing
            }
            State::Held { ask_at } if ask_at <= now => Due::Ask,
            State::Broken { again } if again <= now => Due::Connect,
            _ => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
