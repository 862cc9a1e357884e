//! The forwards of one connection: who the other end of each is, and what the two say to each
//! other. Both may be of one shard, of two, of two VMs, or the same connection.

pub mod far;
mod link;
pub mod wire;

pub use self::link::Link;

use self::far::{FarMessage, Together};

use crate::mailbox::Mailbox;
use crate::queue::Queue;
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
    /// Of a forward whose other end is in another VM.
    Far(ForwardId, FarMessage),
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
    pub sink: Link<M>,
    /// The sink's sender.
    pub sender: SenderId,
}

/// A source that offers itself to a sink.
pub struct Attaching<M> {
    name: ForwardName,
    sender: SenderId,
    offer: SourceOffer,
    source: Link<M>,
}

impl<M: Mailbox> Attaching<M> {
    /// The sink is gone.
    pub fn refuse(&mut self, mailbox: &mut M) {
        let refused = ForwardMessage::Attached(self.name.id, Err(Error::Closed));
        // A source that is gone as well has answered its request itself.
        let _ = self.source.tell(refused, &mut Together::default(), mailbox);
    }
}

/// The other end.
struct Far<M> {
    link: Link<M>,
    label: Bytes,
}

/// The other ends of a connection's forwards.
pub struct Forwards<M> {
    /// Of forwards that begin here.
    sinks: HashMap<ForwardId, Far<M>>,
    /// Of forwards that end here.
    sources: HashMap<ForwardId, Far<M>>,
    /// Those whose sink has not answered.
    opening: HashMap<ForwardId, Opening<M>>,
    /// What this turn says to sinks in other VMs.
    together: Together,
}

impl<M> Default for Forwards<M> {
    fn default() -> Self {
        Self {
            sinks: HashMap::new(),
            sources: HashMap::new(),
            opening: HashMap::new(),
            together: Together::default(),
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
            ForwardMessage::Attach(attaching) => self.attach(now, *attaching, engine, mailbox),
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
            ForwardMessage::Far(id, message) => {
                self.take_far(now, id, message, engine, mailbox);
            }
        }
    }

    fn take_far(
        &mut self,
        now: Instant,
        id: ForwardId,
        message: FarMessage,
        engine: &mut Engine,
        mailbox: &mut M,
    ) {
        match message {
            FarMessage::Format(format) => {
                if let Some(far) = self.sources.get_mut(&id) {
                    far.link.learn(format);
                }
            }
            FarMessage::Packets(burst, range) => {
                let link = self.sources.get_mut(&id).map(|far| &mut far.link);
                let Some(burst) = link.and_then(|link| link.whole(&burst)) else {
                    return;
                };
                engine.forward_source_says(now, id, &ToSink::Packets(burst, range));
            }
            FarMessage::Refused(count) => engine.forward_refused(now, id, count),
            FarMessage::Gone => {
                self.attached(now, id, Err(Error::Closed), engine, mailbox);
                if self.sources.contains_key(&id) {
                    self.source_is_gone(now, id, engine);
                }
                if self.sinks.remove(&id).is_some() {
                    engine.forward_sink_says(now, id, ToSource::End(ForwardEnd::Closed));
                }
            }
        }
    }

    fn open(
        &mut self,
        mut opening: Opening<M>,
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
                source: Link::Here(Arc::clone(queue)),
            };
            let attach = ForwardMessage::Attach(Box::new(attaching));
            let told = opening.sink.tell(attach, &mut self.together, mailbox);
            told.map_err(|_gone| Error::Closed)
        });
        match asked {
            Ok(()) => {
                self.opening.insert(opening.name.id, opening);
            }
            Err(reason) => mailbox.reply(request, Err(reason)),
        }
    }

    fn attach(
        &mut self,
        now: Instant,
        attaching: Attaching<M>,
        engine: &mut Engine,
        mailbox: &mut M,
    ) {
        let Attaching {
            name,
            sender,
            offer,
            source,
        } = attaching;
        let result = engine.open_forward_sink(name.clone(), sender, &offer);
        let begun = result.is_ok();
        let mut far = Far {
            link: source,
            label: name.label,
        };
        let answer = ForwardMessage::Attached(name.id, result);
        let told = far.link.tell(answer, &mut self.together, mailbox);
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
        let mut far = Far {
            link: opening.sink,
            label: opening.name.label.clone(),
        };
        let begun = result.and_then(|()| {
            let opened = engine.open_forward(now, opening.name, opening.options);
            if opened.is_err() {
                // What the source was a moment ago, it is not any more.
                let ended = ForwardMessage::ToSink(id, ToSink::End(ForwardEnd::TrackEnded));
                let _ = far.link.tell(ended, &mut self.together, mailbox);
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
    pub fn carry(&mut self, now: Instant, engine: &mut Engine, mailbox: &mut M) -> bool {
        let mut carried = false;
        while let Some(output) = engine.poll_forward() {
            carried = true;
            match output {
                ForwardOutput::ToSink(id, message) => {
                    self.carry_to_sink(now, id, message, engine, mailbox);
                }
                ForwardOutput::ToSource(id, message) => {
                    self.carry_to_source(now, id, message, engine, mailbox);
                }
            }
        }
        self.together.send(mailbox);
        carried
    }

    /// Overflow: packets that have no room in the sink's queue are dropped, counted with their
    /// forward, and a keyframe is asked for.
    fn carry_to_sink(
        &mut self,
        now: Instant,
        id: ForwardId,
        message: ToSink,
        engine: &mut Engine,
        mailbox: &mut M,
    ) {
        let packets = match &message {
            ToSink::Packets(_, range) => Some(range.len()),
            ToSink::Wanted(_) => Some(0),
            ToSink::End(_) => None,
        };
        let message = ForwardMessage::ToSink(id, message);
        let together = &mut self.together;
        let told = match packets {
            Some(_) => self
                .sinks
                .get_mut(&id)
                .map(|far| far.link.tell(message, together, mailbox)),
            None => self
                .sinks
                .remove(&id)
                .map(|mut far| far.link.tell(message, together, mailbox)),
        };
        match (told, packets) {
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
        mailbox: &mut M,
    ) {
        if matches!(message, ToSource::End(_)) {
            if let Some(mut far) = self.sources.remove(&id) {
                let ended = ForwardMessage::ToSource(id, message);
                let _ = far.link.tell(ended, &mut self.together, mailbox);
            }
            return;
        }
        // What finds no room is said again when the viewer asks again.
        let message = ForwardMessage::ToSource(id, message);
        let together = &mut self.together;
        let told = self
            .sources
            .get_mut(&id)
            .map(|far| far.link.tell(message, together, mailbox));
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
        let sinks = self.sinks.drain();
        let sinks = sinks.map(|(id, far)| (far, ForwardMessage::ToSink(id, ToSink::End(reason))));
        let sources = self.sources.drain();
        let sources =
            sources.map(|(id, far)| (far, ForwardMessage::ToSource(id, ToSource::End(reason))));
        let ended: Vec<_> = sinks.chain(sources).collect();
        let unanswered: Vec<RequestId> = self
            .opening
            .drain()
            .map(|(_, opening)| opening.request)
            .collect();
        let together = &mut self.together;
        let told = panic_guard::run(|| {
            // The other ends first, whatever becomes of the mailbox.
            let mut labels = Vec::with_capacity(ended.len());
            for (mut far, message) in ended {
                let _ = far.link.tell(message, together, mailbox);
                labels.push(far.label);
            }
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
