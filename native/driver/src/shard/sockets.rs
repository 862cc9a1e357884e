//! The UDP sockets of a connection: one for each host address, its own or a shared port's.

use super::udp::UdpIo;
use crate::mux::{Membership, PortLease};
use crate::tcp::TcpTransports;
use engine::outbox::Outbox;
use engine::transport::Proof;
use quinn_udp::{UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};
use std::task::Context;
use std::time::Instant;

/// Kernel buffer asked for in each direction, in bytes. Data channels are 5 to 10 times faster
/// with it than with Linux's 208 KiB; the kernel only accounts for what is really waiting.
const SOCKET_BUFFER: usize = 4 << 20;

/// Sockets of one connection, a bound for machines with very many interfaces.
pub const MAX_SOCKETS: usize = 32;

/// One socket, with what the kernel can do for it.
pub struct Socket {
    /// The socket.
    pub io: UdpIo,
    /// Segmentation and receive offload.
    pub offload: UdpSocketState,
    /// The bound address: the base of its candidates.
    pub address: SocketAddr,
}

impl Socket {
    /// Binds to one of `ports` (any where empty), starting at a random one, so that connections
    /// that share a range do not all walk over the same used ones.
    ///
    /// # Errors
    /// `AddrInUse` when every port of the range is taken; what the system says otherwise.
    pub fn bind(ip: IpAddr, ports: &[u16]) -> io::Result<Self> {
        let socket = udp_socket(ip)?;
        one_of(ip, ports, |address| socket.bind(&address.into()))?;
        Self::register(socket)
    }

    /// Has the current runtime tell when a bound socket is ready.
    ///
    /// # Errors
    /// What the system says.
    pub fn register(socket: socket2::Socket) -> io::Result<Self> {
        let io = UdpIo::new(socket.into())?;
        let offload = UdpSocketState::new(UdpSockRef::from(io.socket()))?;
        let address = io.socket().local_addr()?;
        Ok(Self {
            io,
            offload,
            address,
        })
    }
}

/// Sockets that keep the kernel's receive offload switched on for as long as they live. Linux rewrites
/// its code when the first socket asks for offload and when the last one that did is closed, and
/// interrupts every core for it: a twentieth of what a connection costs that comes alone.
pub fn keep_offload() -> Vec<std::net::UdpSocket> {
    let kept = [Domain::IPV4, Domain::IPV6].map(|domain| {
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        UdpSocketState::new(UdpSockRef::from(&socket))?;
        io::Result::Ok(socket.into())
    });
    // A machine without one of the families does without.
    kept.into_iter().flatten().collect()
}

/// A socket with large buffers, not bound yet.
///
/// # Errors
/// What the system says.
pub fn udp_socket(ip: IpAddr) -> io::Result<socket2::Socket> {
    let domain = if ip.is_ipv4() {
        Domain::IPV4
    } else {
        Domain::IPV6
    };
    let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    static TOLD: Once = Once::new();
    enlarge_buffers(&SockRef::from(&socket), SOCKET_BUFFER, &TOLD);
    Ok(socket)
}

/// Binds to one of `ports` (any where empty), starting at a random one.
///
/// # Errors
/// `AddrInUse` when every port is taken; what `bind` says otherwise.
pub fn one_of<T>(
    ip: IpAddr,
    ports: &[u16],
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    if ports.is_empty() {
        return bind(SocketAddr::new(ip, 0));
    }
    let start = usize::from(rand::random::<u16>()) % ports.len();
    let (before, from) = ports.split_at(start);
    for port in from.iter().chain(before) {
        match bind(SocketAddr::new(ip, *port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        format!(
            "none of the {} ports of ice_port_range is free on {ip}",
            ports.len()
        ),
    ))
}

/// Linux reports twice what it grants, with room for its bookkeeping (socket(7)).
const REPORTED: usize = if cfg!(target_os = "linux") { 2 } else { 1 };

/// Asks for large buffers; the kernel cuts the wish to its limit without an error, which is said
/// once for all sockets. Whether it was said now.
fn enlarge_buffers(socket: &SockRef<'_>, wanted: usize, told: &Once) -> bool {
    let asked = socket
        .set_recv_buffer_size(wanted)
        .and(socket.set_send_buffer_size(wanted));
    let granted = asked
        .and_then(|()| Ok(socket.recv_buffer_size()?.min(socket.send_buffer_size()?)))
        .unwrap_or(0)
        / REPORTED;
    let mut said = false;
    if granted < wanted {
        told.call_once(|| {
            said = true;
            log::warn!(
                "the system grants UDP buffers of {granted} bytes only; for fast data channels \
                 raise net.core.rmem_max and net.core.wmem_max to {wanted}"
            );
        });
    }
    said
}

/// The sockets of one connection. They stay open over ICE restarts.
#[derive(Default)]
pub struct Sockets {
    own: Vec<Arc<Socket>>,
    shared: Option<Membership>,
    /// Listeners and connections of TCP candidates.
    pub tcp: TcpTransports,
}

impl Sockets {
    /// Those of a shared port, for a connection of `shard`.
    pub fn sharing(lease: PortLease, shard: usize) -> Self {
        Self {
            shared: Some(Membership::new(lease, shard)),
            ..Self::default()
        }
    }

    /// The bound address of the socket on `ip`, which is opened if it is not yet.
    ///
    /// # Errors
    /// As [`Socket::bind`].
    pub fn ensure(&mut self, ip: IpAddr, ports: &[u16]) -> io::Result<SocketAddr> {
        match &mut self.shared {
            Some(shared) => shared.ensure(ip),
            None => self.ensure_own(ip, ports),
        }
    }

    /// Like [`Self::ensure`], of a socket that no other connection uses: a TURN server gives one
    /// allocation to an address.
    ///
    /// # Errors
    /// As [`Socket::bind`].
    pub fn ensure_own(&mut self, ip: IpAddr, ports: &[u16]) -> io::Result<SocketAddr> {
        if let Some(socket) = self.own.iter().find(|socket| socket.address.ip() == ip) {
            return Ok(socket.address);
        }
        if self.own.len() >= MAX_SOCKETS {
            return Err(io::Error::other("too many host addresses"));
        }
        let socket = Socket::bind(ip, ports)?;
        let address = socket.address;
        self.own.push(Arc::new(socket));
        Ok(address)
    }

    /// Closes the sockets on addresses that are not among `current`, once there are more of them
    /// than a connection may have with the current ones. Until then they stay: the path in use may
    /// be on one, and one whose address has left the machine costs nothing.
    pub fn forget_old(&mut self, current: &[IpAddr]) {
        let shared = self.shared.as_ref().map_or(&[][..], Membership::sockets);
        let crowded = |sockets: &[Arc<Socket>]| {
            let new = current
                .iter()
                .filter(|ip| !sockets.iter().any(|socket| socket.address.ip() == **ip))
                .count();
            sockets.len() + new > MAX_SOCKETS
        };
        if crowded(shared)
            && let Some(shared) = &mut self.shared
        {
            shared.leave_others(current);
        }
        if crowded(&self.own) {
            self.own
                .retain(|socket| current.contains(&socket.address.ip()));
        }
    }

    /// The socket that is bound to `address`.
    pub fn at(&self, address: SocketAddr) -> Option<&Arc<Socket>> {
        let shared = self.shared.as_ref().map_or(&[][..], Membership::sockets);
        let mut all = self.own.iter().chain(shared);
        all.find(|socket| socket.address == address)
    }

    /// Those that only this connection reads.
    pub fn own(&self) -> &[Arc<Socket>] {
        &self.own
    }

    /// Hands what a shared port has received to `each`, with its local and its remote address;
    /// true where there was something.
    pub fn poll_shared(
        &mut self,
        cx: &Context<'_>,
        each: impl FnMut(SocketAddr, SocketAddr, &mut [u8]),
    ) -> bool {
        self.shared
            .as_mut()
            .is_some_and(|shared| shared.poll_receive(cx, each))
    }

    /// Checks with this user name are the connection's.
    pub fn answer_to(&mut self, user: &str) {
        if let Some(shared) = &mut self.shared {
            shared.answer_to(user);
        }
    }

    /// The peer has proved itself.
    pub fn learn(&mut self, now: Instant, proofs: Vec<Proof>) {
        if let Some(shared) = &mut self.shared {
            for proof in proofs {
                shared.learn(now, proof);
            }
        }
    }

    /// These leave now: the answers to the checks among them are the connection's.
    pub fn note_checks(&self, now: Instant, outbox: &Outbox) {
        if let Some(shared) = &self.shared {
            shared.note_checks(now, outbox);
        }
    }

    /// Closes its own ones, and leaves those that are shared.
    pub fn close(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
