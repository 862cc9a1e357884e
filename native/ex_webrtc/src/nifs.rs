//! The functions of `ExWebRTC.Native`. Each decodes, enqueues and answers; none waits, and nothing
//! is done here that a shard can do. A wrong argument is a badarg.

use crate::atoms;
use crate::flow::Credit;
use crate::logger;
use crate::mailbox::Mailbox;
use crate::resource::{ChannelRef, ConnectionNumber, Handle, channel_id};
use crate::terms::{
    Modules, address_term, command, config, error, field, forward, list, optional, rtcp, rtp,
};
use driver::{Runtime, RuntimeOptions, SubmitError};
use engine::command::OutgoingData;
use engine::error::Error as Reason;
use engine::ids::{ForwardId, RequestId, SenderId, TrackId};
use engine::media::{ForwardName, SourceOptions};
use engine::w3c::DataKind;
use once_cell::sync::OnceCell;
use ring::rand::{SecureRandom, SystemRandom};
use rustler::{
    Atom, Binary, Encoder, Env, Error, LocalPid, NewBinary, NifResult, ResourceArc, Term,
};
use std::net::IpAddr;
use std::sync::Arc;

/// The one runtime of the VM. Never dropped: the library is never unloaded.
static NATIVE: OnceCell<Native> = OnceCell::new();

struct Native {
    runtime: Runtime<Mailbox>,
    modules: Modules,
}

/// The runtime, once it was started.
pub fn runtime() -> Option<&'static Runtime<Mailbox>> {
    NATIVE.get().map(|native| &native.runtime)
}

/// Starts the shards. A second start, after the application was restarted, finds them running
/// and keeps the options of the first, except for the process that is told what is logged.
#[rustler::nif(schedule = "DirtyIo")]
fn start<'a>(env: Env<'a>, options: Term<'a>) -> NifResult<Term<'a>> {
    let modules = Modules {
        rtp: rtp::PacketShape::new(
            field(options, atoms::rtp_packet_module())?.decode()?,
            field(options, atoms::rtp_extension_module())?.decode()?,
        ),
        rtcp: rtcp::PacketModules::decode(field(options, atoms::rtcp_modules())?)?,
    };
    let shards = optional(field(options, atoms::shards())?, |count| count.decode())?;
    if shards == Some(0) {
        return Err(Error::BadArg);
    }
    logger::forward_to(field(options, atoms::log_to())?.decode()?);
    let started = NATIVE.get_or_try_init(|| {
        let options = RuntimeOptions {
            shards,
            ..RuntimeOptions::default()
        };
        Runtime::new(options).map(|runtime| Native { runtime, modules })
    });
    Ok(match started {
        Ok(_) => atoms::ok().to_term(env),
        Err(reason) => (atoms::error(), reason.to_string()).encode(env),
    })
}

/// A new connection. Closes when `owner` dies.
#[rustler::nif]
fn open<'a>(
    env: Env<'a>,
    configuration: Term<'a>,
    owner: LocalPid,
    controller: LocalPid,
) -> NifResult<Term<'a>> {
    let decoded = config::config(configuration)?;
    let Some(native) = NATIVE.get() else {
        return Ok(error::error_term(env, Reason::Internal));
    };
    let number = ConnectionNumber::next();
    let credit = Arc::new(Credit::new(decoded.credit));
    let mailbox = Mailbox::new(
        number,
        owner,
        controller,
        decoded.data_types,
        decoded.rtp_batch_size,
        Arc::clone(&credit),
        native.modules,
    );
    let opened = match decoded.udp_mux {
        Some(lease) => native.runtime.open_on(lease, decoded.config, mailbox),
        None => native.runtime.open(decoded.config, mailbox),
    };
    let Ok(connection) = opened else {
        return Ok(error::error_term(env, Reason::Internal));
    };
    let handle = ResourceArc::new(Handle {
        connection,
        number,
        credit,
    });
    if env.monitor(&handle, &owner).is_none() {
        // It is dead already; dropping the handle closes.
        return Ok(error::error_term(env, Reason::Closed));
    }
    Ok((atoms::ok(), handle).encode(env))
}

/// A command; the owner gets `{:ex_webrtc_reply, id, result}`.
#[rustler::nif]
fn request<'a>(
    env: Env<'a>,
    handle: ResourceArc<Handle>,
    id: u64,
    command: Term<'a>,
) -> NifResult<Term<'a>> {
    let command = command::command(command, handle.number)?;
    Ok(outcome(
        env,
        handle.connection.request(RequestId(id), command),
    ))
}

/// From here on events go to `controller`. Replied to like a request.
#[rustler::nif]
fn set_controller<'a>(
    env: Env<'a>,
    handle: ResourceArc<Handle>,
    id: u64,
    controller: LocalPid,
) -> Term<'a> {
    let change = move |mailbox: &mut Mailbox| mailbox.set_controller(RequestId(id), controller);
    outcome(env, handle.connection.with_mailbox(change))
}

/// So many more messages with media or data may be sent to the controller; `nil`: all. Never refused:
/// where the shard cannot be told because its queue is full, it will look by itself.
#[rustler::nif]
fn add_credit<'a>(
    env: Env<'a>,
    handle: ResourceArc<Handle>,
    messages: Term<'a>,
) -> NifResult<Term<'a>> {
    if handle
        .credit
        .add(optional(messages, |messages| messages.decode())?)
    {
        let _ = handle.connection.with_mailbox(|_| ());
    }
    Ok(atoms::ok().to_term(env))
}

/// Forwards a track of one connection to a sender of another; the owner of the first gets a reply
/// like that of a request.
#[rustler::nif]
fn forward<'a>(
    env: Env<'a>,
    source: ResourceArc<Handle>,
    id: u64,
    name: (u64, Binary<'a>),
    options: (u64, Term<'a>, bool),
    sink: ResourceArc<Handle>,
    sender: u64,
) -> NifResult<Term<'a>> {
    let (name, options) = (forward_name(name), source_options(options)?);
    let (sink, sender) = (&sink.connection, SenderId(sender));
    let source = &source.connection;
    Ok(outcome(
        env,
        source.forward(RequestId(id), name, options, sink, sender),
    ))
}

/// As [`forward`], to a connection of another node: the owner gets `:ex_webrtc_far` messages for it.
#[rustler::nif]
fn forward_elsewhere<'a>(
    env: Env<'a>,
    source: ResourceArc<Handle>,
    id: u64,
    name: (u64, Binary<'a>),
    options: (u64, Term<'a>, bool),
    sender: u64,
) -> NifResult<Term<'a>> {
    let (name, options) = (forward_name(name), source_options(options)?);
    let (source, sender) = (&source.connection, SenderId(sender));
    Ok(outcome(
        env,
        source.forward_elsewhere(RequestId(id), name, options, sender),
    ))
}

/// What the native side of another node had for connections of this one: forward, connection, and
/// which of the packets it takes. Returns who did not take it, and why.
#[rustler::nif]
fn forward_in<'a>(
    env: Env<'a>,
    bytes: Binary<'a>,
    to: Vec<(u64, ResourceArc<Handle>, usize, usize)>,
) -> Term<'a> {
    let bytes = bytes::Bytes::copy_from_slice(bytes.as_slice());
    let to = to.iter().map(|(id, handle, first, count)| {
        let range = *first..first.saturating_add(*count);
        (ForwardId(*id), &handle.connection, range)
    });
    match driver::forward_in(&bytes, to) {
        Some(refused) => refused
            .into_iter()
            .map(|(id, error)| (id.0, outcome(env, Err(error))))
            .collect::<Vec<_>>()
            .encode(env),
        None => atoms::malformed().to_term(env),
    }
}

/// The other end of a forward, on another node, is gone.
#[rustler::nif]
fn forward_lost(env: Env<'_>, handle: ResourceArc<Handle>, forward: u64) -> Term<'_> {
    outcome(env, handle.connection.forward_lost(ForwardId(forward)))
}

/// So many packets of a forward were lost on their way to another node.
#[rustler::nif]
fn forward_refused(
    env: Env<'_>,
    handle: ResourceArc<Handle>,
    forward: u64,
    packets: usize,
) -> Term<'_> {
    let forward = ForwardId(forward);
    outcome(env, handle.connection.forward_refused(forward, packets))
}

fn forward_name((id, label): (u64, Binary<'_>)) -> ForwardName {
    ForwardName {
        id: ForwardId(id),
        label: bytes::Bytes::copy_from_slice(label.as_slice()),
    }
}

fn source_options((track, layer, tap): (u64, Term<'_>, bool)) -> NifResult<SourceOptions> {
    Ok(SourceOptions {
        track: TrackId(track),
        layer: forward::layer(layer)?,
        tap,
    })
}

/// One RTP packet.
#[rustler::nif]
fn send_rtp<'a>(
    env: Env<'a>,
    handle: ResourceArc<Handle>,
    track: u64,
    packet: Term<'a>,
    rtx: bool,
) -> NifResult<Term<'a>> {
    let packet = rtp::outgoing(packet, rtx)?;
    Ok(outcome(
        env,
        handle.connection.send_rtp(TrackId(track), packet),
    ))
}

/// RTP packets in a list of `{track, packet}`.
#[rustler::nif]
fn send_rtp_batch<'a>(
    env: Env<'a>,
    handle: ResourceArc<Handle>,
    packets: Term<'a>,
    rtx: bool,
) -> NifResult<Term<'a>> {
    let packets = list(packets, |element| {
        let (track, packet) = element.decode::<(u64, Term<'_>)>()?;
        Ok((TrackId(track), rtp::outgoing(packet, rtx)?))
    })?;
    // A packet takes less than a microsecond, a time slice is a millisecond.
    let percent = i32::try_from(packets.len() / 10).unwrap_or(100);
    rustler::schedule::consume_timeslice(env, percent.clamp(1, 100));
    Ok(outcome(env, handle.connection.send_rtp_batch(packets)))
}

/// Asks for a keyframe.
#[rustler::nif]
fn send_pli<'a>(
    env: Env<'a>,
    handle: ResourceArc<Handle>,
    track: u64,
    rid: Term<'a>,
) -> NifResult<Term<'a>> {
    let rid = optional(rid, |rid| Ok(rid.decode::<&str>()?.into()))?;
    Ok(outcome(
        env,
        handle.connection.send_pli(TrackId(track), rid),
    ))
}

/// An RTCP packet, encoded.
#[rustler::nif]
fn send_rtcp<'a>(
    env: Env<'a>,
    handle: ResourceArc<Handle>,
    packet: Term<'a>,
) -> NifResult<Term<'a>> {
    Ok(outcome(
        env,
        handle.connection.send_rtcp(rtp::binary(packet)?),
    ))
}

/// A data channel message.
#[rustler::nif]
fn send_data<'a>(
    env: Env<'a>,
    handle: ResourceArc<Handle>,
    channel: Term<'a>,
    kind: Atom,
    payload: Binary<'a>,
) -> NifResult<Term<'a>> {
    submit_data(env, &handle, channel, kind, payload, None)
}

/// A data channel message; the owner gets a reply when it was taken below the high-water mark.
#[rustler::nif]
fn send_data_sync<'a>(
    env: Env<'a>,
    handle: ResourceArc<Handle>,
    id: u64,
    channel: Term<'a>,
    kind: Atom,
    payload: Binary<'a>,
) -> NifResult<Term<'a>> {
    submit_data(env, &handle, channel, kind, payload, Some(RequestId(id)))
}

/// As [`send_data`], for a message whose copying takes longer than a scheduler may be held.
#[rustler::nif(schedule = "DirtyCpu")]
fn send_large_data<'a>(
    env: Env<'a>,
    handle: ResourceArc<Handle>,
    channel: Term<'a>,
    kind: Atom,
    payload: Binary<'a>,
) -> NifResult<Term<'a>> {
    submit_data(env, &handle, channel, kind, payload, None)
}

/// As [`send_data_sync`], for such a message.
#[rustler::nif(schedule = "DirtyCpu")]
fn send_large_data_sync<'a>(
    env: Env<'a>,
    handle: ResourceArc<Handle>,
    id: u64,
    channel: Term<'a>,
    kind: Atom,
    payload: Binary<'a>,
) -> NifResult<Term<'a>> {
    submit_data(env, &handle, channel, kind, payload, Some(RequestId(id)))
}

/// The bytes of a channel that wait; 0 for one that is not there.
#[rustler::nif]
fn buffered_amount(channel: Term<'_>) -> NifResult<u64> {
    match channel.decode::<ResourceArc<ChannelRef>>() {
        Ok(channel) => Ok(channel.account().waiting()),
        Err(_) if channel.is_ref() => Ok(0),
        Err(badarg) => Err(badarg),
    }
}

/// The addresses that host candidates are made of. Asks the system.
#[rustler::nif(schedule = "DirtyIo")]
fn host_addresses(env: Env<'_>) -> Vec<Term<'_>> {
    addresses(env, driver::host_addresses())
}

/// The same where they are known, without asking the system; else `nil`.
#[rustler::nif]
fn known_host_addresses(env: Env<'_>) -> Option<Vec<Term<'_>>> {
    driver::known_host_addresses().map(|known| addresses(env, known))
}

fn addresses(env: Env<'_>, addresses: Vec<IpAddr>) -> Vec<Term<'_>> {
    addresses
        .into_iter()
        .map(|address| address_term(env, address))
        .collect()
}

/// Connections that have not left their shard yet.
#[rustler::nif]
fn connections() -> usize {
    NATIVE
        .get()
        .map_or(0, |native| native.runtime.connections())
}

/// Overflow policy "NIF → shard: data": what does not fit the channel's account is refused, and
/// the caller told; nothing is lost without a word.
fn submit_data<'a>(
    env: Env<'a>,
    handle: &Handle,
    channel: Term<'a>,
    kind: Atom,
    payload: Binary<'a>,
    notify: Option<RequestId>,
) -> NifResult<Term<'a>> {
    let kind = data_kind(kind)?;
    let id = channel_id(channel, handle.number)?;
    let Ok(reference) = channel.decode::<ResourceArc<ChannelRef>>() else {
        return Ok(error::error_term(env, Reason::Closed));
    };
    if reference.id_in(handle.number) != Some(id) || !reference.is_open() {
        return Ok(error::error_term(env, Reason::Closed));
    }
    let bytes = payload.len() as u64;
    let largest = reference.account().max_message_size();
    if bytes > largest {
        let reason = (atoms::message_too_large(), largest);
        return Ok((atoms::error(), reason).encode(env));
    }
    if !reference.account().charge(bytes) {
        return Ok(error::error_term(env, Reason::BufferFull));
    }
    let payload = bytes::Bytes::copy_from_slice(payload.as_slice());
    let submitted = handle.connection.send_data(OutgoingData {
        channel: id,
        kind,
        payload,
        notify,
    });
    if submitted.is_err() {
        reference.account().release(bytes);
    }
    Ok(outcome(env, submitted))
}

fn data_kind(kind: Atom) -> NifResult<DataKind> {
    if kind == atoms::string() {
        Ok(DataKind::String)
    } else if kind == atoms::binary() {
        Ok(DataKind::Binary)
    } else {
        Err(Error::BadArg)
    }
}

fn outcome(env: Env<'_>, submitted: Result<(), SubmitError>) -> Term<'_> {
    match submitted {
        Ok(()) => atoms::ok().to_term(env),
        Err(SubmitError::Busy) => error::error_term(env, Reason::Busy),
        Err(SubmitError::Closed) => error::error_term(env, Reason::Closed),
    }
}

/// The most random bytes a call gives: names and keys are short, and a NIF must not linger.
const MAX_RANDOM_BYTES: usize = 1024;

/// Random bytes of the system's generator, fit for secrets.
#[rustler::nif]
fn random_bytes<'a>(env: Env<'a>, count: usize) -> NifResult<Binary<'a>> {
    if count > MAX_RANDOM_BYTES {
        return Err(Error::BadArg);
    }
    let mut bytes = NewBinary::new(env, count);
    SystemRandom::new()
        .fill(bytes.as_mut_slice())
        .map_err(|_no_entropy| Error::RaiseAtom("no_entropy"))?;
    Ok(bytes.into())
}

/// The struct of an RTCP packet, as the controlling process gets it.
#[cfg(feature = "test-commands")]
#[rustler::nif]
fn test_rtcp_term<'a>(env: Env<'a>, packet: Binary<'a>) -> NifResult<Term<'a>> {
    let native = NATIVE.get().ok_or(Error::BadArg)?;
    Ok(native.modules.rtcp.term(env, packet.as_slice()))
}

/// The struct of an RTP packet with this header extension and payload, made `count` times over:
/// the last one, and the nanoseconds that one took.
#[cfg(feature = "test-commands")]
#[rustler::nif(schedule = "DirtyCpu")]
fn test_rtp_term<'a>(
    env: Env<'a>,
    profile: Option<u16>,
    extension: Binary<'a>,
    payload: Binary<'a>,
    count: u32,
) -> NifResult<(Term<'a>, u64)> {
    let native = NATIVE.get().ok_or(Error::BadArg)?;
    let packet = engine::media::ReceivedRtp {
        marker: true,
        payload_type: 96,
        sequence_number: 0xFFFF,
        timestamp: 0x8000_0000,
        ssrc: 0xFFFF_FFFF,
        csrc: &[0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF],
        extension_profile: profile,
        extension: extension.as_slice(),
        payload: payload.as_slice(),
        padding_size: 4,
    };
    let start = std::time::Instant::now();
    let mut scratch = rustler::OwnedEnv::new();
    for _ in 1..count {
        scratch.run(|env| {
            let payload = NewBinary::from_slice(env, packet.payload).into();
            native.modules.rtp.term_with(env, &packet, payload);
        });
        scratch.clear();
    }
    let each = start.elapsed().as_nanos() / u128::from(count.max(1));
    let payload = NewBinary::from_slice(env, packet.payload).into();
    Ok((
        native.modules.rtp.term_with(env, &packet, payload),
        u64::try_from(each).unwrap_or(u64::MAX),
    ))
}
