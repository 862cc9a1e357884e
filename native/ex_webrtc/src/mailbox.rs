//! The only code that sends to the BEAM. One mailbox a connection, used on its shard's thread:
//! never on a scheduler, where `OwnedEnv::send_and_clear` panics.
//!
//! To the owner (the GenServer): `{:ex_webrtc_reply, id, result}`, `{:ex_webrtc_warning, text}`,
//! `{:ex_webrtc_panic, text}`, `:ex_webrtc_closed`. To the controller: `{:ex_webrtc, owner, message}`.
//! A message to a process that is gone is dropped: the owner's death closes the connection, the
//! controller's is the program's affair.

use crate::atoms;
use crate::batch::Batch;
use crate::resource::{ChannelRef, ConnectionNumber};
use crate::terms::{Modules, event, value};
use engine::command::{ChannelHandle, CommandResult, Value};
use engine::event::{Event, Sink, Warning};
use engine::ids::{ChannelId, RequestId, Rid, TrackId};
use engine::media::ReceivedRtp;
use engine::w3c::ChannelState;
use rustler::{Encoder, Env, LocalPid, OwnedEnv, ResourceArc, Term};
use std::collections::HashMap;
use std::num::NonZeroUsize;

/// The messages of one connection.
pub struct Mailbox {
    env: OwnedEnv,
    owner: LocalPid,
    controller: LocalPid,
    data_types: bool,
    modules: Modules,
    refs: ChannelRefs,
    batch: Option<Batch>,
}

impl Mailbox {
    /// A mailbox that replies to `owner` and tells `controller` what happens.
    pub fn new(
        number: ConnectionNumber,
        owner: LocalPid,
        controller: LocalPid,
        data_types: bool,
        rtp_batch: Option<NonZeroUsize>,
        modules: Modules,
    ) -> Self {
        Self {
            env: OwnedEnv::new(),
            owner,
            controller,
            data_types,
            modules,
            refs: ChannelRefs {
                number,
                known: HashMap::new(),
            },
            batch: rtp_batch.map(Batch::new),
        }
    }

    /// From here on `controller` is told, and the request that asked for it answered.
    pub fn set_controller(&mut self, id: RequestId, controller: LocalPid) {
        self.send_batch();
        self.controller = controller;
        self.reply(id, Ok(Value::Unit));
    }

    /// Sends the packets that wait. Before anything else is sent, so that the order holds.
    fn send_batch(&mut self) {
        let Some(batch) = self.batch.as_mut().filter(|batch| !batch.is_empty()) else {
            return;
        };
        let (owner, shape) = (self.owner, &self.modules.rtp);
        let _ = self
            .env
            .send_and_clear(&self.controller, |env| -> Term<'_> {
                (atoms::ex_webrtc(), owner, batch.term(env, shape)).encode(env)
            });
        batch.clear();
    }

    fn send_to_owner<T: Encoder>(&mut self, message: impl for<'a> FnOnce(Env<'a>) -> T) {
        // Fails when the owner is gone.
        let _ = self.env.send_and_clear(&self.owner, message);
    }
}

impl Sink for Mailbox {
    fn reply(&mut self, id: RequestId, result: CommandResult) {
        self.send_batch();
        let Self {
            env, owner, refs, ..
        } = self;
        let _ = env.send_and_clear(owner, |env| -> Term<'_> {
            let result = value::result_term(env, refs, &result);
            (atoms::ex_webrtc_reply(), id.0, result).encode(env)
        });
    }

    fn event(&mut self, event: Event) {
        self.send_batch();
        let Self {
            env,
            owner,
            controller,
            refs,
            data_types,
            modules,
            ..
        } = self;
        let _ = env.send_and_clear(controller, |env| -> Term<'_> {
            let message = event::message_term(env, refs, modules, *data_types, &event);
            (atoms::ex_webrtc(), *owner, message).encode(env)
        });
    }

    fn rtp(&mut self, track: TrackId, rid: Option<&Rid>, packet: &ReceivedRtp<'_>) {
        if let Some(batch) = &mut self.batch {
            if batch.push(track, rid, packet) {
                self.send_batch();
            }
            return;
        }
        let Self {
            env,
            owner,
            controller,
            modules,
            ..
        } = self;
        let _ = env.send_and_clear(controller, |env| -> Term<'_> {
            let packet = modules.rtp.term(env, packet);
            let rid = rid.map(Rid::as_str);
            (
                atoms::ex_webrtc(),
                *owner,
                (atoms::rtp(), track.0, rid, packet),
            )
                .encode(env)
        });
    }

    fn warning(&mut self, warning: Warning) {
        let text = match warning {
            Warning::UnknownTrack(track) => {
                format!("send_rtp: no sender has track {track}, its packets are dropped")
            }
            Warning::ChannelNotOpen(channel) => {
                format!("send_data: channel {channel} is not open, its data is dropped")
            }
        };
        self.send_to_owner(move |_| (atoms::ex_webrtc_warning(), text));
    }
}

impl driver::Mailbox for Mailbox {
    fn turn_ended(&mut self) {
        self.send_batch();
    }

    fn panicked(&mut self, text: &str) {
        self.send_batch();
        let text = text.to_owned();
        self.send_to_owner(move |_| (atoms::ex_webrtc_panic(), text));
    }

    fn closed(&mut self) {
        self.send_batch();
        self.send_to_owner(|_| atoms::ex_webrtc_closed());
    }
}

/// The `ref` of every channel that the control plane was told of: the same resource each time,
/// which makes its terms equal.
pub struct ChannelRefs {
    number: ConnectionNumber,
    known: HashMap<ChannelId, ResourceArc<ChannelRef>>,
}

impl ChannelRefs {
    /// The channel's `ref`.
    pub fn get(&mut self, handle: &ChannelHandle) -> ResourceArc<ChannelRef> {
        let number = self.number;
        self.known
            .entry(handle.id)
            .or_insert_with(|| ResourceArc::new(ChannelRef::new(number, handle)))
            .clone()
    }

    /// The channel's `ref`, with its state noted for those who send on it. The control plane is
    /// about to be told that state.
    pub fn get_in_state(
        &mut self,
        handle: &ChannelHandle,
        state: ChannelState,
    ) -> ResourceArc<ChannelRef> {
        let reference = self.get(handle);
        reference.set_open(state == ChannelState::Open);
        reference
    }

    /// The channel is closed for good: the engine tells of it no more.
    pub fn forget(&mut self, id: ChannelId) {
        self.known.remove(&id);
    }
}
