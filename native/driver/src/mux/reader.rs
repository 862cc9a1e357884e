//! Reads one socket of a shared port on its shard, and hands every datagram to its connection.

use super::inbox::{Inbox, Run, Sender};
use super::port::{Port, Slot};
use super::routes::Way;
use crate::panic_guard;
use crate::shard::receive::receive;
use crate::shard::sockets::Socket;
use engine::transport::stun::{Class, StunMessage};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// Batches of one turn, before connections and timers of the shard have a say.
const BATCHES_PER_TURN: usize = 2;

/// Reads until the port is closed.
pub async fn read(port: Arc<Port>, slot: Arc<Slot>, shard: usize) {
    poll_fn(
        |cx| match panic_guard::run(|| turn(&port, &slot, shard, cx)) {
            Ok(progress) => progress,
            Err(text) => {
                log::error!("the reader of UDP port {} panicked: {text}", port.number);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        },
    )
    .await;
}

fn turn(port: &Port, slot: &Slot, shard: usize, cx: &mut Context<'_>) -> Poll<()> {
    // Held for the turn: a port that is being closed waits for it, and no longer.
    let socket = slot.lock();
    let Some(socket) = socket.as_deref() else {
        return Poll::Ready(());
    };
    for _ in 0..BATCHES_PER_TURN {
        // A poll that waits registers the task.
        if socket.io.poll_readable(cx).is_pending() {
            return Poll::Pending;
        }
        batch(port, socket, shard);
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Takes one batch from the socket.
fn batch(port: &Port, socket: &Socket, shard: usize) {
    let local = socket.address;
    let mut run = Run::new();
    // Whose the last datagram was, for those that come from the same address right after it.
    let mut last: Option<(SocketAddr, Option<Arc<Inbox>>)> = None;
    let (mut datagrams, mut unknown, mut elsewhere) = (0, 0, 0);
    receive(socket, |remote, datagram| {
        datagrams += 1;
        let way = Way { local, remote };
        let stun;
        let (inbox, sender) = if let Some(message) = StunMessage::parse(datagram) {
            stun = of_stun(port, &way, &message);
            match &stun {
                Some((inbox, sender)) => (Some(inbox), *sender),
                None => (None, Sender::Stranger),
            }
        } else {
            if last.as_ref().is_none_or(|(from, _)| *from != remote) {
                last = Some((remote, port.routes().address(&way).cloned()));
            }
            let inbox = last.as_ref().and_then(|(_, inbox)| inbox.as_ref());
            (inbox, Sender::Known)
        };
        let Some(inbox) = inbox else {
            unknown += 1;
            return;
        };
        if inbox.shard != shard {
            elsewhere += 1;
        }
        run.add(inbox, sender, local, remote, datagram);
    });
    let counters = &port.counters;
    counters.dropped.fetch_add(run.finish(), Ordering::Relaxed);
    counters.received.fetch_add(datagrams, Ordering::Relaxed);
    counters.unknown.fetch_add(unknown, Ordering::Relaxed);
    counters.handed_over.fetch_add(elsewhere, Ordering::Relaxed);
}

/// Whose a STUN message is.
fn of_stun(port: &Port, way: &Way, message: &StunMessage<'_>) -> Option<(Arc<Inbox>, Sender)> {
    if let Class::Success | Class::Error = message.class
        && let Some(id) = message.transaction_id()
        && let Some(inbox) = port.checks().answered(&id)
    {
        return Some((inbox, Sender::Known));
    }
    let routes = port.routes();
    let known = routes.address(way);
    let named = message
        .username
        .filter(|_| message.class == Class::Request)
        .and_then(|name| name.split_once(':'))
        .and_then(|(ours, _)| routes.user(ours));
    match (named, known) {
        (Some(named), Some(known)) if Arc::ptr_eq(named, known) => {
            Some((Arc::clone(named), Sender::Known))
        }
        (Some(named), _) => Some((Arc::clone(named), Sender::Stranger)),
        // An engine refuses what it cannot authenticate.
        (None, known) => known.map(|known| (Arc::clone(known), Sender::Known)),
    }
}
