//! Received media on its way to the controlling process.
//!
//! A packet's bytes live in the receive buffer; it is copied here, and told at the end of the turn:
//! each packet in a message (`rtp_delivery: :packet`) or all that are there in one (`{:batch, max}`).
//! Before anything else is told what waits is told, so that the order holds. Without credit
//! ([`crate::flow`]) packets wait for it in a backlog.

use crate::atoms;
use crate::flow::{Backlog, Credit, Grant, Held, HeldRtp};
use crate::outlet::Outlet;
use crate::payloads::{Payloads, Place};
use crate::terms::{Modules, event};
use bytes::Bytes;
use engine::ids::{Rid, TrackId};
use engine::media::ReceivedRtp;
use rustler::{Encoder, Env, Term};
use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

/// Packets that wait for the end of the turn at most, with a message for each: those behind would
/// wait for their work as well.
const MOST_SINGLE: usize = 32;

thread_local! {
    /// Memory that the connections of a shard use in turn: an idle one has none.
    static SPARE: RefCell<Waiting> = RefCell::new(Waiting::default());
}

/// The media of one connection.
pub struct Delivery {
    /// Packets in one message at most; `None`: a message for each.
    batch: Option<NonZeroUsize>,
    waiting: Waiting,
    credit: Arc<Credit>,
    backlog: Backlog,
    /// Whether data goes first when both wait for credit; then it is the other's turn.
    data_first: bool,
}

/// The packets that wait for the end of the turn.
#[derive(Default)]
struct Waiting {
    packets: Vec<Packet>,
    payloads: Payloads,
    /// Contributing sources and header extensions.
    headers: Vec<u8>,
}

struct Packet {
    track: TrackId,
    rid: Option<Rid>,
    /// With empty slices in place of its bytes.
    fields: ReceivedRtp<'static>,
    csrc: Range<usize>,
    extension: Range<usize>,
    payload: Place,
}

impl Delivery {
    /// Nothing waits yet.
    pub fn new(batch: Option<NonZeroUsize>, credit: Arc<Credit>) -> Self {
        Self {
            batch,
            waiting: Waiting::default(),
            credit,
            backlog: Backlog::default(),
            data_first: false,
        }
    }

    /// Packets that were dropped for want of credit.
    pub fn dropped(&self) -> u64 {
        self.backlog.dropped()
    }

    /// Messages of data channels that may be told now; `None`: all. Media that waits for credit has
    /// its share.
    pub fn data_credit(&self) -> Option<u64> {
        let left = self.credit.left()?;
        if !self.backlog.is_empty() {
            return Some(left.saturating_add(u64::from(self.data_first)) / 2);
        }
        let packets = self.waiting.packets.len();
        let messages = match self.batch {
            Some(_) => packets.min(1),
            None => packets,
        };
        Some(left.saturating_sub(messages as u64))
    }

    /// A message of a data channel was told.
    pub fn told_data(&mut self, outlet: &mut Outlet) {
        self.spend_for(outlet, |_, _| ());
    }

    /// Takes credit for a message, sends it, and tells when it was the last. False when there is
    /// none.
    fn spend_for(
        &mut self,
        outlet: &mut Outlet,
        send: impl FnOnce(&mut Self, &mut Outlet),
    ) -> bool {
        let grant = self.credit.take();
        if grant == Grant::Refused {
            return false;
        }
        send(self, outlet);
        if grant == Grant::Last {
            self.data_first = !self.data_first;
            outlet.tell(|env| atoms::passive().to_term(env));
        }
        true
    }

    /// A packet for the end of the turn.
    pub fn rtp(
        &mut self,
        outlet: &mut Outlet,
        modules: &Modules,
        track: TrackId,
        rid: Option<&Rid>,
        packet: &ReceivedRtp<'_>,
    ) {
        self.waiting.push(track, rid.cloned(), packet);
        let most = self.batch.map_or(MOST_SINGLE, NonZeroUsize::get);
        if self.waiting.packets.len() >= most {
            self.send(outlet, modules);
        }
    }

    /// A compound, behind the packets that wait.
    pub fn rtcp(
        &mut self,
        outlet: &mut Outlet,
        modules: &Modules,
        packets: Vec<(Option<TrackId>, Bytes)>,
    ) {
        self.send(outlet, modules);
        if self.backlog.is_empty() {
            let told = self.spend_for(outlet, |_, outlet| {
                outlet.tell(|env| event::rtcp_term(env, modules, &packets));
            });
            if told {
                return;
            }
        }
        self.backlog.keep(Held::Rtcp(packets));
    }

    /// Sends the packets of this turn, as far as there is credit: what is told next is behind them.
    /// Those that wait for credit already are passed by.
    pub fn send(&mut self, outlet: &mut Outlet, modules: &Modules) {
        if self.backlog.is_empty() && !self.waiting.packets.is_empty() {
            self.send_waiting(outlet, modules);
        }
    }

    /// Sends what waits, as far as there is credit that data has left.
    pub fn turn_ended(&mut self, outlet: &mut Outlet, modules: &Modules) {
        self.send(outlet, modules);
        if !self.backlog.is_empty() {
            self.hold_waiting(0);
            self.send_backlog(outlet, modules);
        }
    }

    fn send_waiting(&mut self, outlet: &mut Outlet, modules: &Modules) {
        self.waiting.payloads.end();
        let sent = if self.batch.is_some() {
            let told = self.spend_for(outlet, |delivery, outlet| {
                let waiting = &mut delivery.waiting;
                outlet.tell(|env| waiting.batch_term(env, modules));
            });
            if told { self.waiting.packets.len() } else { 0 }
        } else {
            let mut sent = 0;
            while sent < self.waiting.packets.len()
                && self.spend_for(outlet, |delivery, outlet| {
                    let waiting = &mut delivery.waiting;
                    outlet.tell(|env| waiting.packet_term(env, modules, sent));
                })
            {
                sent += 1;
            }
            sent
        };
        self.hold_waiting(sent);
    }

    /// Puts what was not sent behind what waits for credit.
    fn hold_waiting(&mut self, sent: usize) {
        if self.waiting.packets.is_empty() {
            return;
        }
        self.waiting.payloads.end();
        for packet in self.waiting.packets.get(sent..).unwrap_or_default() {
            let held = HeldRtp::new(packet.track, packet.rid.clone(), &self.waiting.view(packet));
            self.backlog.keep(Held::Rtp(held));
        }
        self.waiting.clear();
    }

    fn send_backlog(&mut self, outlet: &mut Outlet, modules: &Modules) {
        while self.credit.left() != Some(0)
            && let Some(held) = self.backlog.take()
        {
            match held {
                Held::Rtcp(packets) => {
                    self.spend_for(outlet, |_, outlet| {
                        outlet.tell(|env| event::rtcp_term(env, modules, &packets));
                    });
                }
                Held::Rtp(first) => {
                    let most = self.batch.map_or(1, NonZeroUsize::get);
                    self.waiting
                        .push(first.track, first.rid.clone(), &first.packet());
                    while self.waiting.packets.len() < most
                        && let Some(next) = self.backlog.take_rtp()
                    {
                        self.waiting
                            .push(next.track, next.rid.clone(), &next.packet());
                    }
                    // The shard alone takes credit, so what was left is left still.
                    self.send_waiting(outlet, modules);
                }
            }
        }
    }
}

impl Waiting {
    fn push(&mut self, track: TrackId, rid: Option<Rid>, packet: &ReceivedRtp<'_>) {
        if self.packets.capacity() == 0 {
            SPARE.with_borrow_mut(|spare| std::mem::swap(spare, self));
        }
        let packet = Packet {
            track,
            rid,
            csrc: append(&mut self.headers, packet.csrc),
            extension: append(&mut self.headers, packet.extension),
            payload: self.payloads.push(packet.payload),
            fields: ReceivedRtp {
                csrc: &[],
                extension: &[],
                payload: &[],
                ..*packet
            },
        };
        self.packets.push(packet);
    }

    /// The packet as it came.
    fn view(&self, packet: &Packet) -> ReceivedRtp<'_> {
        ReceivedRtp {
            payload: self.payloads.bytes(&packet.payload),
            ..header(&self.headers, packet)
        }
    }

    /// `{:rtp, track_id, rid, packet}`
    fn packet_term<'a>(&mut self, env: Env<'a>, modules: &Modules, at: usize) -> Term<'a> {
        let Some(packet) = self.packets.get(at) else {
            return atoms::nil().to_term(env);
        };
        let payload = self.payloads.term(env, &packet.payload);
        let fields = header(&self.headers, packet);
        let rid = packet.rid.as_ref().map(Rid::as_str);
        let term = modules.rtp.term_with(env, &fields, payload);
        (atoms::rtp(), packet.track.0, rid, term).encode(env)
    }

    /// `{:rtp_batch, [{track_id, rid, packet}]}`
    fn batch_term<'a>(&mut self, env: Env<'a>, modules: &Modules) -> Term<'a> {
        let Self {
            packets,
            payloads,
            headers,
        } = self;
        let whole = payloads.whole(env);
        let packets: Vec<Term<'a>> = packets
            .iter()
            .map(|packet| {
                let payload = payloads.part_term(env, &whole, &packet.payload);
                let fields = header(headers, packet);
                let rid = packet.rid.as_ref().map(Rid::as_str);
                let term = modules.rtp.term_with(env, &fields, payload);
                (packet.track.0, rid, term).encode(env)
            })
            .collect();
        (atoms::rtp_batch(), packets).encode(env)
    }

    /// Forgets what was told, and leaves the memory to the shard's next connection.
    fn clear(&mut self) {
        self.packets.clear();
        self.headers.clear();
        self.payloads.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.packets.capacity() < self.packets.capacity() {
                std::mem::swap(spare, self);
            }
        });
        *self = Self::default();
    }
}

/// A packet without its payload.
fn header<'a>(headers: &'a [u8], packet: &Packet) -> ReceivedRtp<'a> {
    let bytes = |range: &Range<usize>| headers.get(range.clone()).unwrap_or_default();
    ReceivedRtp {
        csrc: bytes(&packet.csrc),
        extension: bytes(&packet.extension),
        ..packet.fields
    }
}

fn append(bytes: &mut Vec<u8>, more: &[u8]) -> Range<usize> {
    let start = bytes.len();
    bytes.extend_from_slice(more);
    start..bytes.len()
}
