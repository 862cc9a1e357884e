//! UDP ports that connections share (`ice_udp_mux`).

use crate::atoms;
use crate::nifs;
use crate::terms::{address, error, list, map, number, optional};
use driver::{PortLease, PortStats};
use engine::error::Error as Reason;
use rustler::{Encoder, Env, Error, NifResult, Resource, ResourceArc, Term};
use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// A lease on its way from the process that starts a connection to the connection. What holds the
/// term does not hold the port: the lease is taken out.
pub struct Share(Mutex<Option<PortLease>>);

#[rustler::resource_impl]
impl Resource for Share {}

/// The lease of a share; a share has one, once.
///
/// # Errors
/// `BadArg` for anything else.
pub fn lease(term: Term<'_>) -> NifResult<PortLease> {
    let share = term.decode::<ResourceArc<Share>>()?;
    let lease = share
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    lease.ok_or(Error::BadArg)
}

/// Opens a port on these addresses (on all of the host without), or joins those who have it open;
/// any one without a number.
#[rustler::nif(schedule = "DirtyIo")]
fn share_port<'a>(env: Env<'a>, port: Term<'a>, addresses: Term<'a>) -> NifResult<Term<'a>> {
    let port: Option<u16> = optional(port, number)?;
    if port == Some(0) {
        return Err(Error::BadArg);
    }
    let addresses: Option<Vec<IpAddr>> = optional(addresses, |term| list(term, address))?;
    let Some(runtime) = nifs::runtime() else {
        return Ok(error::error_term(env, Reason::Internal));
    };
    let addresses = addresses.unwrap_or_else(driver::host_addresses);
    Ok(match runtime.share_port(port, &addresses) {
        Ok(lease) => {
            let share = ResourceArc::new(Share(Mutex::new(Some(lease))));
            (atoms::ok(), share).encode(env)
        }
        Err(error) => (atoms::error(), posix(env, &error)).encode(env),
    })
}

/// Gives a share back that became no connection.
#[rustler::nif]
fn unshare_port(share: Term<'_>) -> NifResult<rustler::Atom> {
    let share = share.decode::<ResourceArc<Share>>()?;
    let lease = share
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    drop(lease);
    Ok(atoms::ok())
}

/// What the ports that are shared now have seen.
#[rustler::nif]
fn shared_ports(env: Env<'_>) -> Vec<Term<'_>> {
    let ports = nifs::runtime().map_or_else(Vec::new, |runtime| runtime.shared_ports());
    ports.iter().map(|port| stats_term(env, port)).collect()
}

fn stats_term<'a>(env: Env<'a>, port: &PortStats) -> Term<'a> {
    map(
        env,
        [
            (atoms::port(), port.port.encode(env)),
            (atoms::connections(), port.connections.encode(env)),
            (atoms::received(), port.received.encode(env)),
            (atoms::handed_over(), port.handed_over.encode(env)),
            (atoms::unknown(), port.unknown.encode(env)),
            (atoms::dropped(), port.dropped.encode(env)),
        ],
    )
}

/// The name that `:inet` has for an error, or what the system says.
fn posix<'a>(env: Env<'a>, error: &io::Error) -> Term<'a> {
    match error.kind() {
        io::ErrorKind::AddrInUse => atoms::eaddrinuse().encode(env),
        io::ErrorKind::AddrNotAvailable => atoms::eaddrnotavail().encode(env),
        io::ErrorKind::PermissionDenied => atoms::eacces().encode(env),
        _ => error.to_string().encode(env),
    }
}
