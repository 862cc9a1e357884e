//! The way to the controlling process.

use crate::atoms;
use rustler::{Encoder, Env, LocalPid, OwnedEnv, Term};

/// Sends `{:ex_webrtc, owner, message}`.
pub struct Outlet {
    env: OwnedEnv,
    owner: LocalPid,
    controller: LocalPid,
}

impl Outlet {
    /// The messages of the connection of `owner`, for `controller`.
    pub fn new(owner: LocalPid, controller: LocalPid) -> Self {
        Self {
            env: OwnedEnv::new(),
            owner,
            controller,
        }
    }

    /// From here on `controller` is told.
    pub fn redirect(&mut self, controller: LocalPid) {
        self.controller = controller;
    }

    /// Tells the controller. A message to a process that is gone is dropped.
    pub fn tell(&mut self, message: impl for<'a> FnOnce(Env<'a>) -> Term<'a>) {
        let owner = self.owner;
        let _ = self
            .env
            .send_and_clear(&self.controller, |env| -> Term<'_> {
                (atoms::ex_webrtc(), owner, message(env)).encode(env)
            });
    }

    /// Tells the owner something that is no message to the controller.
    pub fn tell_owner(&mut self, message: impl for<'a> FnOnce(Env<'a>) -> Term<'a>) {
        let _ = self
            .env
            .send_and_clear(&self.owner, |env| -> Term<'_> { message(env) });
    }
}
