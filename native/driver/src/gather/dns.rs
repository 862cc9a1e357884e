//! Looks up the names of ICE servers, off the shard's thread.
//!
//! The system's resolver blocks, so it runs on the few lookup threads of the shard
//! (`MAX_LOOKUP_THREADS`). Connections are usually configured alike: those that ask for the same
//! name share one lookup, and its answer for a while.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long an answer is good for. The system's resolver does not tell the record's own time.
const MAX_AGE: Duration = Duration::from_secs(30);

/// How long a failure is: long enough that a thousand connections do not ask one by one.
const MAX_FAILURE_AGE: Duration = Duration::from_secs(2);

/// Names that are kept. Configurations name a handful.
const MAX_NAMES: usize = 256;

/// The addresses of a server, or what went wrong.
pub type Answer = Result<Vec<SocketAddr>, String>;

type Waiter = Box<dyn FnOnce(Answer)>;

enum Entry {
    /// Being looked up, for these.
    Asking(Vec<Waiter>),
    /// Looked up at this time.
    Known(Instant, Answer),
}

/// The lookups of one shard.
#[derive(Clone, Default)]
pub struct Dns {
    entries: Rc<RefCell<HashMap<(String, u16), Entry>>>,
}

impl Dns {
    /// Nothing known, nobody asking.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `waiter` with the addresses of `host`, at once where they are known. Must be called
    /// on the shard.
    pub fn lookup(&self, host: &str, port: u16, waiter: impl FnOnce(Answer) + 'static) {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return waiter(Ok(vec![SocketAddr::new(ip, port)]));
        }
        let key = (host.to_owned(), port);
        let known = {
            let mut entries = self.entries.borrow_mut();
            entries.retain(|_, entry| entry.is_fresh());
            let full = entries.len() >= MAX_NAMES;
            match entries.get_mut(&key) {
                Some(Entry::Known(_, answer)) => Some(answer.clone()),
                Some(Entry::Asking(waiters)) => {
                    waiters.push(Box::new(waiter));
                    return;
                }
                None if full => Some(Err("too many names are looked up".to_owned())),
                None => None,
            }
        };
        match known {
            Some(answer) => waiter(answer),
            None => {
                let asking = Entry::Asking(vec![Box::new(waiter)]);
                self.entries.borrow_mut().insert(key.clone(), asking);
                tokio::task::spawn_local(self.clone().ask(key));
            }
        }
    }

    async fn ask(self, key: (String, u16)) {
        let answer = match tokio::net::lookup_host((key.0.as_str(), key.1)).await {
            Ok(addresses) => {
                let addresses: Vec<SocketAddr> = addresses.collect();
                if addresses.is_empty() {
                    Err(format!("{} has no address", key.0))
                } else {
                    Ok(addresses)
                }
            }
            Err(error) => Err(format!("{}: {error}", key.0)),
        };
        let known = Entry::Known(Instant::now(), answer.clone());
        let asked = self.entries.borrow_mut().insert(key, known);
        if let Some(Entry::Asking(waiters)) = asked {
            for waiter in waiters {
                waiter(answer.clone());
            }
        }
    }
}

impl Entry {
    fn is_fresh(&self) -> bool {
        match self {
            Self::Asking(_) => true,
            Self::Known(since, Ok(_)) => since.elapsed() < MAX_AGE,
            Self::Known(since, Err(_)) => since.elapsed() < MAX_FAILURE_AGE,
        }
    }
}

#[cfg(test)]
mod tests;
