//! The task of one connection: takes what came in, lets the engine work, sends what comes out.

use super::backlog::Backlog;
use super::forwards::{ForwardMessage, Forwards};
use super::receive::{Received, receive};
use super::sockets::Sockets;
use super::timer::Timer;
use super::vigil::Vigil;
use super::{Counted, Neighbourhood, Opening};
use crate::gather::{Destination, Gatherer, Round};
use crate::mailbox::Mailbox;
use crate::mux::PortLease;
use crate::panic_guard;
use crate::queue::{Queue, Submission, Taken};
use engine::Engine;
use engine::command::{Command, CommandResult};
use engine::config::Config;
use engine::error::Error;
use engine::event::{Action, Event, Sink, Warning};
use engine::ids::{RequestId, Rid, TrackId};
use engine::media::ReceivedRtp;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A connection that always has more lets its neighbours go first after this long, or after the
/// round that it is in by then: a millisecond is what the timers of the others resolve.
const TURN: Duration = Duration::from_millis(1);

/// Rounds of one turn at most, whatever the clock says.
const ROUNDS_PER_TURN: usize = 8;

/// Submissions carried out in one round, before sockets and timers have a say. Large enough that
/// a burst of packets leaves in full GSO runs (64 segments at most).
const SUBMISSIONS_PER_ROUND: usize = 128;

/// Submissions an idle connection keeps room for.
const KEPT_BURST: usize = 8;

/// The id of a close that nobody asked for with a request.
const UNASKED: RequestId = RequestId(u64::MAX);

/// A connection on its shard, from its opening to its end.
pub struct Task<M: Mailbox> {
    mailbox: M,
    queue: Arc<Queue<M>>,
    burst: VecDeque<Submission<M>>,
    /// Before the first turn, which makes the engine from it.
    config: Option<Config>,
    /// As `config`.
    lease: Option<PortLease>,
    /// Between the first turn and the end.
    live: Option<Live>,
    forwards: Forwards<M>,
    vigil: Vigil,
    neighbourhood: Rc<Neighbourhood>,
    counted: Option<Counted>,
}

/// The protocol and its network.
struct Live {
    engine: Engine,
    gatherer: Gatherer,
    timer: Timer,
    /// Waits for sockets, so it is dropped before them.
    backlog: Backlog,
    sockets: Sockets,
}

/// What a round came to.
enum Progress {
    /// There may be more to do at once.
    Worked,
    /// Nothing until the task is woken.
    Idle,
    /// The handles are gone.
    Ended,
}

impl<M: Mailbox> Task<M> {
    /// Nothing is made yet: that is work for the task's own turn.
    pub fn new(opening: Opening<M>, counted: Counted, neighbourhood: Rc<Neighbourhood>) -> Self {
        Self {
            mailbox: opening.mailbox,
            queue: opening.queue,
            burst: VecDeque::new(),
            config: Some(opening.config),
            lease: opening.lease,
            live: None,
            forwards: Forwards::default(),
            vigil: Vigil::default(),
            neighbourhood,
            counted: Some(counted),
        }
    }

    /// Lives until the handles are gone or a step panics. The drop of the task ends the
    /// connection, so that the end of the runtime is one as well.
    pub fn run(mut self) -> impl Future<Output = ()> {
        // No `async fn`, whose future has room for what it is given twice.
        poll_fn(move |cx| self.turn(cx))
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let start = Instant::now();
        let mut now = start;
        for _ in 0..ROUNDS_PER_TURN {
            match panic_guard::run(|| self.round(cx, now)) {
                Ok(Ok(Progress::Worked)) => {
                    now = Instant::now();
                    if now.saturating_duration_since(start) >= TURN {
                        break;
                    }
                }
                Ok(Ok(Progress::Idle)) if self.vigil.lasts(now) => break,
                Ok(Ok(Progress::Idle)) => return Poll::Pending,
                Ok(Ok(Progress::Ended)) => return Poll::Ready(()),
                Ok(Err(error)) => {
                    self.fail(&format!("the connection could not be made: {error}"));
                    return Poll::Ready(());
                }
                Err(text) => {
                    self.fail(&text);
                    return Poll::Ready(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes inputs of every kind once, then lets out what they caused.
    fn round(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Progress, Error> {
        if let Some(config) = self.config.take() {
            let sockets = match self.lease.take() {
                Some(lease) => Sockets::sharing(lease, self.neighbourhood.shard),
                None => Sockets::default(),
            };
            self.live = Some(Live::new(now, config, sockets, &mut self.mailbox)?);
        }
        let Some(live) = self.live.as_mut() else {
            return Ok(Progress::Ended);
        };
        Backlog::lend(live.engine.outbox());

        let mut worked = false;
        if live.backlog.is_waiting() {
            if live.poll_writable(cx, now) {
                worked = true;
                live.send(now);
            }
        } else {
            if self.burst.is_empty()
                && self.queue.poll_take(cx, &mut self.burst) == Poll::Ready(Taken::Closed)
            {
                return Ok(Progress::Ended);
            }
            if !self.burst.is_empty() {
                self.vigil.answered();
            }
            for _ in 0..SUBMISSIONS_PER_ROUND {
                let Some(submission) = self.burst.pop_front() else {
                    break;
                };
                if let Submission::Request(_, Command::GetStats | Command::SelectStats(_)) =
                    &submission
                {
                    live.engine.packets_refused(self.queue.dropped_packets());
                    live.engine
                        .packets_not_taken(self.mailbox.dropped_packets());
                }
                match submission {
                    Submission::Forward(message) => {
                        let engine = &mut live.engine;
                        let (queue, mailbox) = (&self.queue, &mut self.mailbox);
                        self.forwards.take(now, message, engine, queue, mailbox);
                    }
                    submission => live.submit(now, submission, &mut self.mailbox),
                }
                worked = true;
            }
        }
        worked |= live.receive(cx, now, &mut self.mailbox);
        worked |= live.serve_timer(cx, now, self.neighbourhood.epoch, &mut self.mailbox);

        if worked {
            live.engine.flush(now, &mut self.mailbox);
            live.serve_servers(now, &mut self.mailbox);
            live.act(now, &self.neighbourhood, &self.queue, &mut self.mailbox);
            live.sockets.learn(now, live.engine.take_proofs());
            if self
                .forwards
                .carry(now, &mut live.engine, &mut self.mailbox)
            {
                live.engine.flush(now, &mut self.mailbox);
            }
            self.mailbox.turn_ended();
            if self.mailbox.told_messages() {
                self.vigil.told(now);
            }
        }
        live.send(now);
        if worked {
            return Ok(Progress::Worked);
        }
        if live.backlog.is_waiting() {
            // The socket filled up in this very round: register with it before going to sleep.
            return Ok(if live.poll_writable(cx, now) {
                Progress::Worked
            } else {
                Progress::Idle
            });
        }
        self.burst.shrink_to(KEPT_BURST);
        Ok(Progress::Idle)
    }

    /// Drops the engine, which may be in any state, and says why.
    fn fail(&mut self, text: &str) {
        self.queue.close();
        if let Err(text) = panic_guard::run(|| self.live = None) {
            log::error!("a panicked connection panicked again when it was dropped: {text}");
        }
        self.forwards.end_all(&mut self.mailbox);
        self.refuse_waiting();
        if let Err(text) = panic_guard::run(|| self.mailbox.panicked(text)) {
            log::error!("the mailbox of a panicked connection panicked: {text}");
        }
    }

    /// Every request that was taken is answered, also those that nobody will carry out.
    fn refuse_waiting(&mut self) {
        let mut rest = self.queue.take_rest();
        let waiting = self.burst.drain(..).chain(rest.drain(..));
        for submission in waiting {
            let request = match submission {
                Submission::Request(id, _) => id,
                Submission::Forward(ForwardMessage::Open(opening)) => opening.request,
                Submission::Forward(ForwardMessage::Attach(mut attaching)) => {
                    let told = panic_guard::run(|| attaching.refuse(&mut self.mailbox));
                    if let Err(text) = told {
                        log::error!("the mailbox of a closed connection panicked: {text}");
                    }
                    continue;
                }
                _ => continue,
            };
            if let Err(text) = panic_guard::run(|| self.mailbox.reply(request, Err(Error::Closed)))
            {
                log::error!("the mailbox of a closed connection panicked: {text}");
            }
        }
    }
}

impl<M: Mailbox> Drop for Task<M> {
    fn drop(&mut self) {
        self.queue.close();
        let live = self.live.take();
        let ended = panic_guard::run(|| {
            if let Some(mut live) = live {
                live.close(Instant::now(), UNASKED, &mut Nobody);
            }
        });
        if let Err(text) = ended {
            log::error!("a connection panicked when it was closed: {text}");
        }
        self.forwards.end_all(&mut self.mailbox);
        self.refuse_waiting();
        self.counted = None;
        if let Err(text) = panic_guard::run(|| self.mailbox.closed()) {
            log::error!("the mailbox of a closed connection panicked: {text}");
        }
    }
}

impl Live {
    fn new(
        now: Instant,
        config: Config,
        sockets: Sockets,
        sink: &mut dyn Sink,
    ) -> Result<Self, Error> {
        Ok(Self {
            engine: Engine::new(now, config, sink)?,
            sockets,
            gatherer: Gatherer::default(),
            timer: Timer::new(now),
            backlog: Backlog::default(),
        })
    }

    fn submit<M: Mailbox>(&mut self, now: Instant, submission: Submission<M>, mailbox: &mut M) {
        match submission {
            Submission::Request(id, Command::Close) => {
                let mut held = HeldReplies {
                    sink: mailbox,
                    replies: Vec::new(),
                };
                self.close(now, id, &mut held);
                let replies = held.replies;
                for (id, result) in replies {
                    mailbox.reply(id, result);
                }
            }
            Submission::Request(id, command) => {
                self.engine.handle_command(now, id, command, mailbox);
            }
            Submission::Rtp(track, packet) => self.engine.send_rtp(now, track, &packet, mailbox),
            Submission::Pli(track, rid) => {
                self.engine.send_pli(now, track, rid.as_ref());
            }
            Submission::Rtcp(packet) => self.engine.send_rtcp(now, &packet),
            Submission::Data(data) => self.engine.send_data(now, data, mailbox),
            // Needs to know the other ends: the task takes it.
            Submission::Forward(_) => {}
            Submission::Mailbox(change) => change(mailbox),
            Submission::MdnsResolved(name, address) => {
                self.gatherer.mdns_answered();
                self.engine.mdns_resolved(now, &name, address, mailbox);
            }
            Submission::ServerResolved {
                generation,
                server,
                addresses,
            } => {
                self.gatherer.server_resolved(
                    now,
                    generation,
                    server,
                    addresses,
                    &mut Round {
                        engine: &mut self.engine,
                        sockets: &mut self.sockets,
                        sink: mailbox,
                    },
                );
            }
        }
    }

    /// Closes the engine, lets its last datagrams out (BYE, close_notify) and closes the sockets.
    fn close(&mut self, now: Instant, id: RequestId, sink: &mut dyn Sink) {
        Backlog::lend(self.engine.outbox());
        self.engine.handle_command(now, id, Command::Close, sink);
        self.engine.flush(now, sink);
        self.send(now);
        self.gatherer.release(now, self.engine.outbox());
        self.send(now);
        self.sockets.tcp.close(now, &mut self.engine, sink);
        self.release();
    }

    fn release(&mut self) {
        self.backlog.clear(self.engine.outbox());
        self.gatherer = Gatherer::default();
        self.sockets.close();
    }

    /// One batch from every socket that has something.
    fn receive(&mut self, cx: &mut Context<'_>, now: Instant, sink: &mut dyn Sink) -> bool {
        let Self {
            engine,
            sockets,
            gatherer,
            ..
        } = self;
        let mut worked = false;
        // Results of the gatherer wait until the sockets are free again.
        let mut answers = Vec::new();
        let mut each = |local: SocketAddr, remote: SocketAddr, datagram: &mut [u8]| match gatherer
            .handle_datagram(now, local, remote, datagram)
        {
            Destination::Engine => {
                engine.handle_datagram(now, local, remote, datagram, sink);
            }
            Destination::Answer(answer) => answers.push(answer),
            Destination::Taken => {}
            Destination::Relayed {
                relayed,
                peer,
                range,
            } => {
                if let Some(data) = datagram.get_mut(range) {
                    engine.handle_datagram(now, relayed, peer, data, sink);
                }
            }
        };
        worked |= sockets.poll_shared(cx, &mut each);
        for socket in sockets.own() {
            // Until it is empty or has given a batch; a poll that waits registers the task.
            while socket.io.poll_readable(cx).is_ready() {
                let received = receive(socket, |remote, datagram| {
                    worked = true;
                    each(socket.address, remote, datagram);
                });
                if received == Received::Batch {
                    worked = true;
                    break;
                }
            }
        }
        worked |= gatherer.poll_streams(cx, now, |local, remote, datagram| {
            engine.handle_datagram(now, local, remote, datagram, sink);
        });
        worked |= sockets.tcp.poll(cx, now, engine, sink);
        for answer in answers {
            gatherer.answered(
                now,
                answer,
                &mut Round {
                    engine,
                    sockets,
                    sink,
                },
            );
        }
        worked
    }

    fn serve_timer(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        epoch: Instant,
        sink: &mut dyn Sink,
    ) -> bool {
        let due = self.deadline();
        if !self.timer.poll(cx, now, epoch, due) {
            return false;
        }
        for _ in 0..Timer::REPEATS {
            if self
                .engine
                .poll_timeout()
                .is_none_or(|deadline| deadline > now)
            {
                break;
            }
            self.engine.handle_timeout(now, sink);
        }
        let Self {
            engine,
            sockets,
            gatherer,
            ..
        } = self;
        gatherer.handle_timeout(
            now,
            &mut Round {
                engine,
                sockets,
                sink,
            },
        );
        self.timer.served(now);
        true
    }

    fn deadline(&mut self) -> Option<Instant> {
        [
            self.engine.poll_timeout(),
            self.gatherer.poll_timeout(),
            self.backlog.deadline(),
            self.sockets.tcp.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what the engine asks of its driver.
    fn act<M: Mailbox>(
        &mut self,
        now: Instant,
        neighbourhood: &Neighbourhood,
        queue: &Arc<Queue<M>>,
        mailbox: &mut M,
    ) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Gather { generation, ufrag } => {
                    self.sockets.answer_to(&ufrag);
                    let Self {
                        engine,
                        sockets,
                        gatherer,
                        ..
                    } = self;
                    let mut round = Round {
                        engine,
                        sockets,
                        sink: mailbox,
                    };
                    gatherer.start(now, generation, &neighbourhood.dns, queue, &mut round);
                }
                Action::ResolveMdns { name } => {
                    self.gatherer.ask_mdns(name, &neighbourhood.resolver, queue);
                }
                Action::Release => self.release(),
            }
            self.engine.flush(now, mailbox);
        }
    }

    fn serve_servers(&mut self, now: Instant, sink: &mut dyn Sink) {
        let Self {
            engine,
            sockets,
            gatherer,
            ..
        } = self;
        gatherer.serve_servers(
            now,
            &mut Round {
                engine,
                sockets,
                sink,
            },
        );
    }

    fn send(&mut self, now: Instant) {
        let outbox = self.engine.outbox();
        let over_tcp = outbox.segments.iter().any(|it| it.local.is_tcp());
        if over_tcp || self.gatherer.relays() {
            self.backlog.forget_sent(outbox);
            self.sockets.tcp.take(now, outbox);
            self.gatherer.wrap(now, outbox);
        }
        self.sockets.note_checks(now, self.engine.outbox());
        self.backlog.send(now, self.engine.outbox(), &self.sockets);
        let over_tcp = self.sockets.tcp.take_discarded();
        for discarded in self.backlog.take_discarded().into_iter().chain(over_tcp) {
            self.engine.discarded(
                discarded.local,
                discarded.remote,
                discarded.packets,
                discarded.bytes,
            );
        }
    }

    /// Whether the backlog may be sent again: its socket is ready, or it has waited too long.
    fn poll_writable(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        self.backlog
            .deadline()
            .is_some_and(|deadline| deadline <= now)
            || self
                .backlog
                .poll_writable(cx, self.engine.outbox(), &self.sockets)
                .is_ready()
    }
}

/// Passes messages on and keeps replies back: the one to a close command must not be seen before
/// the sockets are closed.
struct HeldReplies<'a, S: Sink> {
    sink: &'a mut S,
    replies: Vec<(RequestId, CommandResult)>,
}

impl<S: Sink> Sink for HeldReplies<'_, S> {
    fn reply(&mut self, id: RequestId, result: CommandResult) {
        self.replies.push((id, result));
    }

    fn event(&mut self, event: Event) {
        self.sink.event(event);
    }

    fn rtp(&mut self, track: TrackId, rid: Option<&Rid>, packet: &ReceivedRtp<'_>) {
        self.sink.rtp(track, rid, packet);
    }

    fn data_credit(&self) -> Option<u64> {
        self.sink.data_credit()
    }

    fn warning(&mut self, warning: Warning) {
        self.sink.warning(warning);
    }
}

/// The sink of a connection that nobody holds any more.
struct Nobody;

impl Sink for Nobody {
    fn reply(&mut self, _id: RequestId, _result: CommandResult) {}
    fn event(&mut self, _event: Event) {}
    fn rtp(&mut self, _track: TrackId, _rid: Option<&Rid>, _packet: &ReceivedRtp<'_>) {}
}
