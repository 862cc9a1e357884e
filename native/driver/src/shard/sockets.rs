//! The UDP sockets of a connection: one for each host address.

use quinn_udp::{UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Once;
use tokio::net::UdpSocket;

/// Kernel buffer asked for in each direction, in bytes. Data channels are 5 to 10 times faster
/// with it than with Linux's 208 KiB; the kernel only accounts for what is really waiting.
const SOCKET_BUFFER: usize = 4 << 20;

/// Sockets of one connection, a bound for machines with very many interfaces.
pub const MAX_SOCKETS: usize = 32;

/// One socket, with what the kernel can do for it.
pub struct Socket {
    /// The socket.
    pub io: UdpSocket,
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
        let domain = if ip.is_ipv4() {
            Domain::IPV4
        } else {
            Domain::IPV6
        };
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        bind_one_of(&socket, ip, ports)?;
        enlarge_buffers(&SockRef::from(&socket));
        let io = UdpSocket::from_std(socket.into())?;
        let offload = UdpSocketState::new(UdpSockRef::from(&io))?;
        let address = io.local_addr()?;
        Ok(Self {
            io,
            offload,
            address,
        })
    }
}

fn bind_one_of(socket: &socket2::Socket, ip: IpAddr, ports: &[u16]) -> io::Result<()> {
    if ports.is_empty() {
        return socket.bind(&SocketAddr::new(ip, 0).into());
    }
    let start = usize::from(rand::random::<u16>()) % ports.len();
    let (before, from) = ports.split_at(start);
    for port in from.iter().chain(before) {
        match socket.bind(&SocketAddr::new(ip, *port).into()) {
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

/// Asks for large buffers; the kernel cuts the wish to its limit without an error.
fn enlarge_buffers(socket: &SockRef<'_>) {
    static TOLD: Once = Once::new();
    let asked = socket
        .set_recv_buffer_size(SOCKET_BUFFER)
        .and(socket.set_send_buffer_size(SOCKET_BUFFER));
    let granted = asked
        .and_then(|()| Ok(socket.recv_buffer_size()?.min(socket.send_buffer_size()?)))
        .unwrap_or(0);
    if granted < SOCKET_BUFFER {
        TOLD.call_once(|| {
            log::warn!(
                "the system grants UDP buffers of {granted} bytes only; for fast data channels \
                 raise net.core.rmem_max and net.core.wmem_max to {SOCKET_BUFFER}"
            );
        });
    }
}

/// The sockets of one connection. They stay open over ICE restarts.
#[derive(Default)]
pub struct Sockets {
    open: Vec<Socket>,
}

impl Sockets {
    /// The bound address of the socket on `ip`, which is opened if it is not yet.
    ///
    /// # Errors
    /// As [`Socket::bind`].
    pub fn ensure(&mut self, ip: IpAddr, ports: &[u16]) -> io::Result<SocketAddr> {
        if let Some(socket) = self.open.iter().find(|socket| socket.address.ip() == ip) {
            return Ok(socket.address);
        }
        if self.open.len() >= MAX_SOCKETS {
            return Err(io::Error::other("too many host addresses"));
        }
        let socket = Socket::bind(ip, ports)?;
        let address = socket.address;
        self.open.push(socket);
        Ok(address)
    }

    /// Closes the sockets on addresses that are not among `current`, once there are more of them
    /// than a connection may have with the current ones. Until then they stay: the path in use may
    /// be on one, and one whose address has left the machine costs nothing.
    pub fn forget_old(&mut self, current: &[IpAddr]) {
        let new = current
            .iter()
            .filter(|ip| !self.open.iter().any(|socket| socket.address.ip() == **ip))
            .count();
        if self.open.len() + new > MAX_SOCKETS {
            self.open
                .retain(|socket| current.contains(&socket.address.ip()));
        }
    }

    /// The socket that is bound to `address`.
    pub fn at(&self, address: SocketAddr) -> Option<&Socket> {
        self.open.iter().find(|socket| socket.address == address)
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Socket> {
        self.open.iter()
    }

    /// Closes all of them.
    pub fn close(&mut self) {
        self.open = Vec::new();
    }
}

#[cfg(test)]
mod tests;
