//! The questions that are open, and the answers that are fresh: told the time, given messages.

use super::message::{self, Record};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Time from one question to the next: the second follows after a second at least, and the
/// distance at least doubles (RFC 6762 section 5.2).
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// After this long nobody has the name.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Names that are asked for at a time, and names that are remembered.
const MAX_NAMES: usize = 512;

/// Connections that may wait for one name.
const MAX_WAITERS: usize = 1024;

/// The longest that an answer is remembered: the names of a browser live as long as its page.
const MAX_AGE: Duration = Duration::from_secs(60);

struct Question<W> {
    waiters: Vec<W>,
    next: Instant,
    interval: Duration,
    expires: Instant,
}

/// Lookups for waiters of any kind.
pub struct Lookups<W> {
    open: HashMap<String, Question<W>>,
    known: HashMap<String, (IpAddr, Instant)>,
    queries: VecDeque<Vec<u8>>,
    answers: VecDeque<(W, Option<IpAddr>)>,
}

impl<W> Default for Lookups<W> {
    fn default() -> Self {
        Self {
            open: HashMap::new(),
            known: HashMap::new(),
            queries: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }
}

impl<W> Lookups<W> {
    /// Looks `name` up for `waiter`.
    pub fn ask(&mut self, now: Instant, name: &str, waiter: W) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.known.retain(|_, (_, expires)| *expires > now);
        if let Some((address, _)) = self.known.get(&name) {
            return self.answers.push_back((waiter, Some(*address)));
        }
        if let Some(question) = self.open.get_mut(&name)
            && question.waiters.len() < MAX_WAITERS
        {
            return question.waiters.push(waiter);
        }
        let is_new = !self.open.contains_key(&name);
        let query = is_local(&name).then(|| message::query(&name)).flatten();
        match query {
            Some(query) if is_new && self.open.len() < MAX_NAMES => {
                self.queries.push_back(query);
                let question = Question {
                    waiters: vec![waiter],
                    next: now + FIRST_INTERVAL,
                    interval: FIRST_INTERVAL,
                    expires: now + MAX_WAIT,
                };
                self.open.insert(name, question);
            }
            _ => self.answers.push_back((waiter, None)),
        }
    }

    /// A message from the network. Only what was asked for is taken from it.
    pub fn handle_message(&mut self, now: Instant, message: &[u8]) {
        if self.open.is_empty() {
            return;
        }
        for Record { name, address, ttl } in message::addresses(message) {
            if ttl == 0 || !is_usable(address) {
                continue;
            }
            let Some(question) = self.open.remove(&name) else {
                continue;
            };
            for waiter in question.waiters {
                self.answers.push_back((waiter, Some(address)));
            }
            if self.known.len() < MAX_NAMES {
                let age = Duration::from_secs(u64::from(ttl)).min(MAX_AGE);
                self.known.insert(name, (address, now + age));
            }
        }
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.open
            .values()
            .map(|question| question.next.min(question.expires))
            .min()
    }

    /// Asks again where it is time, and gives up where it is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Self {
            open,
            queries,
            answers,
            ..
        } = self;
        open.retain(|name, question| {
            if question.expires <= now {
                answers.extend(question.waiters.drain(..).map(|waiter| (waiter, None)));
                return false;
            }
            if question.next <= now {
                question.interval *= 2;
                question.next = now + question.interval;
                queries.extend(message::query(name));
            }
            true
        });
    }

    /// Whether nobody waits.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// A question to multicast.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.queries.pop_front()
    }

    /// A waiter and what it waited for.
    pub fn poll_answer(&mut self) -> Option<(W, Option<IpAddr>)> {
        self.answers.pop_front()
    }
}

/// Other names are not for multicast (RFC 6762 section 3).
fn is_local(name: &str) -> bool {
    name.strip_suffix(".local")
        .is_some_and(|host| !host.is_empty())
}

/// A link-local IPv6 address means nothing without the interface it is on.
fn is_usable(address: IpAddr) -> bool {
    let link_local = matches!(address, IpAddr::V6(ip) if ip.is_unicast_link_local());
    !address.is_unspecified() && !address.is_multicast() && !link_local
}

#[cfg(test)]
mod tests;
