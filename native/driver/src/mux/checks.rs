//! Who asked: an answer to a check, or of a STUN server, carries no user name, and may come from
//! an address that nobody has yet.

use super::inbox::Inbox;
use engine::transport::stun::TransactionId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an answer is waited for at least (and twice that at most): as long as the engine and
/// the gatherer do.
const LIFETIME: Duration = Duration::from_secs(5);

/// Checks of all connections of a port in one lifetime; a connection sends at most 400 a second
/// while it tries its pairs, and none of these once it has found one. The oldest give way.
const MAX_CHECKS: usize = 32_768;

/// In two generations, so that nothing needs a timer of its own.
pub struct Checks {
    recent: HashMap<TransactionId, Arc<Inbox>>,
    before: HashMap<TransactionId, Arc<Inbox>>,
    turned: Instant,
}

impl Checks {
    /// Nobody has asked.
    pub fn new(now: Instant) -> Self {
        Self {
            recent: HashMap::new(),
            before: HashMap::new(),
            turned: now,
        }
    }

    /// A request leaves.
    pub fn sent(&mut self, now: Instant, id: TransactionId, inbox: &Arc<Inbox>) {
        self.age(now);
        if self.recent.len() >= MAX_CHECKS {
            self.turn(now);
        }
        self.recent.insert(id, Arc::clone(inbox));
    }

    /// Who waits for this answer.
    pub fn answered(&mut self, id: &TransactionId) -> Option<Arc<Inbox>> {
        self.recent.remove(id).or_else(|| self.before.remove(id))
    }

    /// Forgets what was not answered in time.
    pub fn age(&mut self, now: Instant) {
        if now.saturating_duration_since(self.turned) >= LIFETIME {
            self.turn(now);
        }
    }

    fn turn(&mut self, now: Instant) {
        self.before = std::mem::take(&mut self.recent);
        self.turned = now;
    }
}

#[cfg(test)]
mod tests;
