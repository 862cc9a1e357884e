//! What the native side logs, for Elixir's `Logger`: `{:ex_webrtc_log, level, target, text}` to the
//! process named in the options of `start`.

use crate::atoms;
use log::{Level, LevelFilter, Log, Metadata, Record};
use rustler::thread::is_scheduler_thread;
use rustler::{LocalPid, OwnedEnv};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Messages a second that are passed on. A peer that provokes warnings must not be able to fill
/// the logger's mailbox; what is beyond is dropped.
const MAX_MESSAGES_PER_SECOND: u32 = 50;

/// Only our own crates: what the protocol crates say about a peer's packets is not the
/// operator's business.
const TARGETS: [&str; 3] = ["engine", "driver", "ex_webrtc"];

static LOGGER: OnceLock<Forwarder> = OnceLock::new();

struct Forwarder {
    state: Mutex<State>,
}

struct State {
    to: LocalPid,
    second: Instant,
    messages: u32,
}

/// Passes on what is logged from now on. A later call, after the process was restarted, names
/// the new process.
pub fn forward_to(to: LocalPid) {
    let state = State {
        to,
        second: Instant::now(),
        messages: 0,
    };
    let forwarder = LOGGER.get_or_init(|| Forwarder {
        state: Mutex::new(state),
    });
    forwarder.lock().to = to;
    // Fails when it was set before: by us.
    if log::set_logger(forwarder).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

impl Forwarder {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn admits(&mut self) -> bool {
        if self.second.elapsed() >= Duration::from_secs(1) {
            self.second = Instant::now();
            self.messages = 0;
        }
        self.messages = self.messages.saturating_add(1);
        self.messages <= MAX_MESSAGES_PER_SECOND
    }
}

impl Log for Forwarder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let room = metadata.target().split("::").next().unwrap_or_default();
        metadata.level() <= Level::Warn && TARGETS.contains(&room)
    }

    fn log(&self, record: &Record<'_>) {
        // `OwnedEnv` cannot send from a scheduler; NIFs do not log.
        if !self.enabled(record.metadata()) || is_scheduler_thread() {
            return;
        }
        let to = {
            let mut state = self.lock();
            if !state.admits() {
                return;
            }
            state.to
        };
        let level = if record.level() == Level::Error {
            "error"
        } else {
            "warning"
        };
        let text = record.args().to_string();
        let _ = OwnedEnv::new().send_and_clear(&to, |env| {
            (
                atoms::ex_webrtc_log(),
                atoms::named(env, level),
                record.target(),
                text,
            )
        });
    }

    fn flush(&self) {}
}
