//! Looks up `.local` names by multicast DNS (RFC 6762), for every connection of the runtime.
//!
//! Browsers hide the addresses of their machine behind such names, one for each address, also
//! IPv6 ones. `rtc-mdns` asks for IPv4 addresses only, takes the sender's address for what is not
//! an A record and tells upper from lower case, so its codec is not used; it is the independent
//! peer of the tests. We ask and never answer.

mod lookups;
mod message;
mod sockets;

use lookups::Lookups;
use sockets::Sockets;
use std::future::pending;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long the sockets stay open for the next question.
const IDLE: Duration = Duration::from_secs(10);

type Waiter = Box<dyn FnOnce(Option<IpAddr>) + Send>;

/// A handle of the runtime's one resolver.
#[derive(Clone)]
pub struct Resolver {
    questions: mpsc::UnboundedSender<(String, Waiter)>,
}

/// The resolver itself: a task of one shard. It has no socket before the first question.
pub struct Service {
    questions: mpsc::UnboundedReceiver<(String, Waiter)>,
}

/// A resolver and its handle. Unbounded between the two, because each connection bounds what it
/// asks.
pub fn resolver() -> (Resolver, Service) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (
        Resolver { questions: sender },
        Service {
            questions: receiver,
        },
    )
}

impl Resolver {
    /// Calls `waiter`, on the resolver's shard, with the address of `name` or `None` where nobody
    /// has that name.
    pub fn ask(&self, name: String, waiter: impl FnOnce(Option<IpAddr>) + Send + 'static) {
        if let Err(unsent) = self.questions.send((name, Box::new(waiter))) {
            let (_, waiter) = unsent.0;
            waiter(None);
        }
    }
}

impl Service {
    /// Answers questions until the last handle is gone.
    pub async fn run(mut self) {
        let mut lookups: Lookups<Waiter> = Lookups::default();
        let mut sockets: Option<Sockets> = None;
        let mut idle_since = Instant::now();
        loop {
            let wake = lookups
                .poll_timeout()
                .or(sockets.as_ref().map(|_| idle_since + IDLE));
            tokio::select! {
                question = self.questions.recv() => {
                    let Some((name, waiter)) = question else { return };
                    if sockets.is_none() {
                        sockets = Some(Sockets::open());
                    }
                    lookups.ask(Instant::now(), &name, waiter);
                }
                received = receive(sockets.as_mut()) => {
                    lookups.handle_message(Instant::now(), received);
                }
                () = sleep_until(wake) => {
                    let now = Instant::now();
                    lookups.handle_timeout(now);
                    if lookups.is_idle() && now >= idle_since + IDLE {
                        sockets = None;
                    }
                }
            }
            if !lookups.is_idle() {
                idle_since = Instant::now();
            }
            while let Some(query) = lookups.poll_transmit() {
                if let Some(sockets) = &sockets {
                    sockets.send(&query);
                }
            }
            while let Some((waiter, address)) = lookups.poll_answer() {
                waiter(address);
            }
        }
    }
}

async fn receive(sockets: Option<&mut Sockets>) -> &[u8] {
    match sockets {
        Some(sockets) => sockets.receive().await,
        None => pending().await,
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
