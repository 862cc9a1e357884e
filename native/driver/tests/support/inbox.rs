//! What a connection tells a test, in the order that the test wants to hear it.

use super::PATIENCE;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

pub struct Inbox<T> {
    told: Receiver<T>,
    /// Told while something else was waited for.
    seen: VecDeque<T>,
}

impl<T> Inbox<T> {
    pub fn new(told: Receiver<T>) -> Self {
        Self {
            told,
            seen: VecDeque::new(),
        }
    }

    /// The first, told already or in time, that `pick` takes; the others stay.
    pub fn wait_for<U>(
        &mut self,
        mut pick: impl FnMut(&T) -> Option<U>,
    ) -> Result<U, RecvTimeoutError> {
        let found = self
            .seen
            .iter()
            .enumerate()
            .find_map(|(at, told)| Some((at, pick(told)?)));
        if let Some((at, found)) = found {
            self.seen.remove(at);
            return Ok(found);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let told = self.told.recv_timeout(left)?;
            match pick(&told) {
                Some(found) => return Ok(found),
                None => self.seen.push_back(told),
            }
        }
    }

    /// What was told and not waited for.
    pub fn seen(&self) -> &VecDeque<T> {
        &self.seen
    }

    /// Everything told so far that nobody has waited for.
    pub fn drain(&mut self) -> Vec<T> {
        self.seen.drain(..).chain(self.told.try_iter()).collect()
    }

    /// What [`Self::drain`] gave and may still be waited for.
    pub fn put_back(&mut self, told: T) {
        self.seen.push_back(told);
    }

    /// Forgets of what was told so far all but what `keep` takes.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.seen.extend(self.told.try_iter());
        self.seen.retain(keep);
    }
}
