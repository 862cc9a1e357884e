//! The forwards of one connection: who the other end of each is, and what the two say to each
//! other. Both may be of one shard, of two, or the same connection.

use crate::mailbox::Mailbox;
use crate::queue::{Queue, Submission};
use crate::{SubmitError, panic_guard};
use bytes::Bytes;
use engine::command::Value;
use engine::error::Error;
use engine::event::Event;
use engine::ids::{ForwardId, RequestId, SenderId};
use engine::media::{ForwardEnd, ForwardName, ForwardOutput, SourceOptions, ToSink, ToSource};
use engine::{Engine, SourceOffer};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// What is submitted to a connection of its forwards.
pub enum ForwardMessage<M> {
    /// `Connection::forward`, to the source.
    Open(Box<Opening<M>>),
    /// From the source: may it begin?
    Attach(Box<Attaching<M>>),
    /// From the sink: whether it may.
    Attached(ForwardId, Result<(), Error>),
    /// From the source, once it has begun.
    ToSink(ForwardId, ToSink),
    /// From the sink, once it has begun.
    ToSource(ForwardId, ToSource),
}

/// A forward that is asked for.
pub struct Opening<M> {
    /// Answered when both ends have agreed.
    pub request: RequestId,
    /// What it is called.
    pub name: ForwardName,
    /// What the source needs to know.
    pub options: SourceOptions,
    /// The sink.
    pub sink: Arc<Queue<M>>,
    /// The sink's sender.
    pub sender: SenderId,
}

/// A source that offers itself to a sink.
pub struct Attaching<M> {
    name: ForwardName,
    sender: SenderId,
    offer: SourceOffer,
    source: Arc<Queue<M>>,
}

impl<M> Attaching<M> {
    /// The sink is gone.
    pub fn refuse(&self) {
        let refused = ForwardMessage::Attached(self.name.id, Err(Error::Closed));
        // A source that is gone as well has answered its request itself.
        let _ = self.source.push(Submission::Forward(refused));
    }
}

/// The other end.
struct Far<M> {
    queue: Arc<Queue<M>>,
    label: Bytes,
}

impl<M> Far<M> {
    fn tell(&self, message: ForwardMessage<M>) -> Result<(), SubmitError> {
        self.queue.push(Submission::Forward(message))
    }
}

/// The other ends of a connection's forwards.
pub struct Forwards<M> {
    /// Of forwards that begin here.
    sinks: HashMap<ForwardId, Far<M>>,
    /// Of forwards that end here.
    sources: HashMap<ForwardId, Far<M>>,
    /// Those whose sink has not answered.
    opening: HashMap<ForwardId, Opening<M>>,
}

impl<M> Default for Forwards<M> {
    fn default() -> Self {
        Self {
            sinks: HashMap::new(),
            sources: HashMap::new(),
            opening: HashMap::new(),
        }
    }
}

impl<M: Mailbox> Forwards<M> {
    /// Carries out a submission.
    pub fn take(
        &mut self,
        now: Instant,
        message: ForwardMessage<M>,
        engine: &mut Engine,
        queue: &Arc<Queue<M>>,
        mailbox: &mut M,
    ) {
        match message {
            ForwardMessage::Open(opening) => self.open(*opening, engine, queue, mailbox),
            ForwardMessage::Attach(attaching) => self.attach(now, &attaching, engine),
            ForwardMessage::Attached(id, result) => {
                self.attached(now, id, result, engine, mailbox);
            }
            ForwardMessage::ToSink(id, message) => {
                if matches!(message, ToSink::End(_)) {
                    self.sources.remove(&id);
                }
                engine.forward_source_says(now, id, &message);
            }
            ForwardMessage::ToSource(id, message) => {
                if matches!(message, ToSource::End(_)) {
                    self.sinks.remove(&id);
                }
                engine.forward_sink_says(now, id, message);
            }
        }
    }

    fn open(
        &mut self,
        opening: Opening<M>,
        engine: &Engine,
        queue: &Arc<Queue<M>>,
        mailbox: &mut M,
    ) {
        let request = opening.request;
        let asked = engine.check_forward(&opening.options).and_then(|offer| {
            let attaching = Attaching {
                name: opening.name.clone(),
                sender: opening.sender,
                offer,
                source: Arc::clone(queue),
            };
            let attach = ForwardMessage::Attach(Box::new(attaching));
            let told = opening.sink.push(Submission::Forward(attach));
            told.map_err(|_gone| Error::Closed)
        });
        match asked {
            Ok(()) => {
                self.opening.insert(opening.name.id, opening);
            }
            Err(reason) => mailbox.reply(request, Err(reason)),
        }
    }

    fn attach(&mut self, now: Instant, attaching: &Attaching<M>, engine: &mut Engine) {
        let Attaching {
            name,
            sender,
            offer,
            source,
        } = attaching;
        let result = engine.open_forward_sink(name.clone(), *sender, offer);
        let begun = result.is_ok();
        let far = Far {
            queue: Arc::clone(source),
            label: name.label.clone(),
        };
        let told = far.tell(ForwardMessage::Attached(name.id, result));
        if begun {
            self.sources.insert(name.id, far);
            if told.is_err() {
                self.source_is_gone(now, name.id, engine);
            }
        }
    }

    fn attached(
        &mut self,
        now: Instant,
        id: ForwardId,
        result: Result<(), Error>,
        engine: &mut Engine,
        mailbox: &mut M,
    ) {
        let Some(opening) = self.opening.remove(&id) else {
            return;
        };
        let far = Far {
            queue: opening.sink,
            label: opening.name.label.clone(),
        };
        let begun = result.and_then(|()| {
            let opened = engine.open_forward(now, opening.name, opening.options);
            if opened.is_err() {
                // What the source was a moment ago, it is not any more.
                let ended = ToSink::End(ForwardEnd::TrackEnded);
                let _ = far.tell(ForwardMessage::ToSink(id, ended));
            }
            opened
        });
        if begun.is_ok() {
            self.sinks.insert(id, far);
        }
        mailbox.reply(opening.request, begun.map(|()| Value::Unit));
    }

    /// Takes to the other ends what the engine has for them. Whether the engine has something to
    /// tell about it.
    pub fn carry(&mut self, now: Instant, engine: &mut Engine) -> bool {
        let mut carried = false;
        while let Some(output) = engine.poll_forward() {
            carried = true;
            match output {
                ForwardOutput::ToSink(id, message) => self.carry_to_sink(now, id, message, engine),
                ForwardOutput::ToSource(id, message) => {
                    self.carry_to_source(now, id, message, engine);
                }
            }
        }
        carried
    }

    /// Overflow: packets that have no room in the sink's queue are dropped, counted with their
    /// forward, and a keyframe is asked for.
    fn carry_to_sink(&mut self, now: Instant, id: ForwardId, message: ToSink, engine: &mut Engine) {
        let packets = match &message {
            ToSink::Packets(_, range) => Some(range.len()),
            ToSink::Wanted(_) => Some(0),
            ToSink::End(_) => None,
        };
        let far = match packets {
            Some(_) => self
                .sinks
                .get(&id)
                .map(|far| far.tell(ForwardMessage::ToSink(id, message))),
            None => self
                .sinks
                .remove(&id)
                .map(|far| far.tell(ForwardMessage::ToSink(id, message))),
        };
        match (far, packets) {
            (Some(Err(SubmitError::Busy)), Some(count)) => engine.forward_refused(now, id, count),
            (Some(Err(SubmitError::Closed)), Some(_)) => {
                self.sinks.remove(&id);
                engine.forward_sink_says(now, id, ToSource::End(ForwardEnd::Closed));
            }
            _ => {}
        }
    }

    fn carry_to_source(
        &mut self,
        now: Instant,
        id: ForwardId,
        message: ToSource,
        engine: &mut Engine,
    ) {
        if matches!(message, ToSource::End(_)) {
            if let Some(far) = self.sources.remove(&id) {
                let _ = far.tell(ForwardMessage::ToSource(id, message));
            }
            return;
        }
        // What finds no room is said again when the viewer asks again.
        let told = self
            .sources
            .get(&id)
            .map(|far| far.tell(ForwardMessage::ToSource(id, message)));
        if told == Some(Err(SubmitError::Closed)) {
            self.source_is_gone(now, id, engine);
        }
    }

    fn source_is_gone(&mut self, now: Instant, id: ForwardId, engine: &mut Engine) {
        self.sources.remove(&id);
        engine.forward_source_says(now, id, &ToSink::End(ForwardEnd::Closed));
    }

    /// The connection is gone, and its engine with it: tells both sides of every forward.
    pub fn end_all(&mut self, mailbox: &mut M) {
        let reason = ForwardEnd::Closed;
        let mut labels = Vec::new();
        for (id, far) in self.sinks.drain() {
            let _ = far.tell(ForwardMessage::ToSink(id, ToSink::End(reason)));
            labels.push(far.label);
        }
        for (id, far) in self.sources.drain() {
            let _ = far.tell(ForwardMessage::ToSource(id, ToSource::End(reason)));
            labels.push(far.label);
        }
        let unanswered: Vec<RequestId> = self
            .opening
            .drain()
            .map(|(_, opening)| opening.request)
            .collect();
        let told = panic_guard::run(|| {
            for label in labels {
                mailbox.event(Event::ForwardEnded(label, reason));
            }
            for request in unanswered {
                mailbox.reply(request, Err(Error::Closed));
            }
        });
        if let Err(text) = told {
            log::error!("the mailbox of a closed connection panicked: {text}");
        }
    }
}
