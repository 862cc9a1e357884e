//! What a connection tells the BEAM, in order. One mailbox a connection, used on its shard's thread:
//! never on a scheduler, where `OwnedEnv::send_and_clear` panics.
//!
//! To the owner (the GenServer): `{:ex_webrtc_reply, id, result}`, `{:ex_webrtc_warning, text}`,
//! `{:ex_webrtc_panic, text}`, `{:ex_webrtc_far, to, what, bytes}`,
//! `:ex_webrtc_closed`. To the controller: `{:ex_webrtc, owner, message}`.
//! A message to a process that is gone is dropped: the owner's death closes the connection, the
//! controller's is the program's affair.

use crate::atoms;
use crate::delivery::Delivery;
use crate::flow::Credit;
use crate::outlet::Outlet;
use crate::resource::{ChannelRef, ConnectionNumber};
use crate::terms::{Modules, event, value};
use driver::Elsewhere;
use engine::command::{ChannelHandle, CommandResult, Value};
use engine::event::{Event, Sink, Warning};
use engine::ids::{ChannelId, ForwardId, RequestId, Rid, TrackId};
use engine::media::ReceivedRtp;
use engine::w3c::ChannelState;
use rustler::{Encoder, LocalPid, NewBinary, ResourceArc, Term};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

/// The messages of one connection.
pub struct Mailbox {
    outlet: Outlet,
    data_types: bool,
    modules: Modules,
    refs: ChannelRefs,
    delivery: Delivery,
    told_messages: bool,
}

impl Mailbox {
    /// A mailbox that replies to `owner` and tells `controller` what happens.
    pub fn new(
        number: ConnectionNumber,
        owner: LocalPid,
        controller: LocalPid,
        data_types: bool,
        rtp_batch: Option<NonZeroUsize>,
        credit: Arc<Credit>,
        modules: Modules,
    ) -> Self {
        Self {
            outlet: Outlet::new(owner, controller),
            data_types,
            modules,
            refs: ChannelRefs {
                number,
                known: HashMap::new(),
            },
            delivery: Delivery::new(rtp_batch, credit),
            told_messages: false,
        }
    }

    /// From here on `controller` is told, and the request that asked for it answered.
    pub fn set_controller(&mut self, id: RequestId, controller: LocalPid) {
        self.send_media();
        self.outlet.redirect(controller);
        self.reply(id, Ok(Value::Unit));
    }

    /// Sends the packets that wait. Before anything else is sent, so that the order holds.
    fn send_media(&mut self) {
        self.delivery.send(&mut self.outlet, &self.modules);
    }
}

impl Sink for Mailbox {
    fn reply(&mut self, id: RequestId, result: CommandResult) {
        self.send_media();
        let Self { outlet, refs, .. } = self;
        outlet.tell_owner(|env| {
            let result = value::result_term(env, refs, &result);
            (atoms::ex_webrtc_reply(), id.0, result).encode(env)
        });
    }

    fn event(&mut self, event: Event) {
        if let Event::Rtcp(packets) = event {
            return self.delivery.rtcp(&mut self.outlet, &self.modules, packets);
        }
        self.send_media();
        let Self {
            outlet,
            refs,
            data_types,
            modules,
            delivery,
            told_messages,
        } = self;
        outlet.tell(|env| event::message_term(env, refs, modules, *data_types, &event));
        if matches!(event, Event::Data(..)) {
            delivery.told_data(outlet);
            *told_messages = true;
        }
    }

    fn rtp(&mut self, track: TrackId, rid: Option<&Rid>, packet: &ReceivedRtp<'_>) {
        self.delivery
            .rtp(&mut self.outlet, &self.modules, track, rid, packet);
    }

    fn data_credit(&self) -> Option<u64> {
        self.delivery.data_credit()
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
        self.outlet
            .tell_owner(move |env| (atoms::ex_webrtc_warning(), text).encode(env));
    }
}

impl driver::Mailbox for Mailbox {
    fn turn_ended(&mut self) {
        self.delivery.turn_ended(&mut self.outlet, &self.modules);
    }

    fn told_messages(&mut self) -> bool {
        std::mem::take(&mut self.told_messages)
    }

    fn dropped_packets(&self) -> u64 {
        self.delivery.dropped()
    }

    fn forward_elsewhere(
        &mut self,
        to: &[(ForwardId, Range<usize>)],
        what: Elsewhere,
        bytes: &[u8],
    ) {
        let what = match what {
            Elsewhere::Attach => atoms::attach(),
            Elsewhere::Control => atoms::control(),
            Elsewhere::Feedback => atoms::feedback(),
            Elsewhere::Packets => atoms::packets(),
            Elsewhere::End => atoms::end_(),
        };
        self.outlet.tell_owner(|env| {
            let to: Vec<(u64, usize, usize)> = to
                .iter()
                .map(|(id, range)| (id.0, range.start, range.len()))
                .collect();
            let bytes: Term<'_> = NewBinary::from_slice(env, bytes).into();
            (atoms::ex_webrtc_far(), to, what, bytes).encode(env)
        });
    }

    fn panicked(&mut self, text: &str) {
        self.send_media();
        let text = text.to_owned();
        self.outlet
            .tell_owner(move |env| (atoms::ex_webrtc_panic(), text).encode(env));
    }

    fn closed(&mut self) {
        self.send_media();
        self.outlet
            .tell_owner(|env| atoms::ex_webrtc_closed().to_term(env));
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
