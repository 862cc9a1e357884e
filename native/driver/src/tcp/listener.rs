//! A port on which peers may connect: one for each host address.

use socket2::SockRef;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that the kernel holds until we take them.
const BACKLOG: u32 = 16;

/// After an error that is not a connection's (too many open files) nothing is taken for this
/// long: it would only fail again.
const PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub struct Listener {
    /// The bound address: the base of its candidates.
    pub address: SocketAddr,
    io: TcpListener,
    paused_until: Option<Instant>,
}

impl Listener {
    /// Listens on one of `ports` (any where empty), starting at a random one.
    ///
    /// # Errors
    /// `AddrInUse` when every port of the range is taken; what the system says otherwise.
    pub fn bind(ip: IpAddr, ports: &[u16]) -> io::Result<Self> {
        let io = crate::shard::sockets::one_of(ip, ports, |address| {
            let socket = socket(ip)?;
            // The last connections of one that is closed do not keep its port.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        })?;
        Ok(Self {
            address: io.local_addr()?,
            io,
            paused_until: None,
        })
    }

    /// A socket with the port that is listened on, to connect from (RFC 6544 section 5.2): a NAT
    /// maps it as it maps the listening one, where it maps by our side of a connection alone.
    ///
    /// # Errors
    /// What the system says.
    #[cfg(unix)]
    pub fn socket_to_connect(&self) -> io::Result<TcpSocket> {
        let socket = socket(self.address.ip())?;
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        // Nothing that is sent over it has to arrive once it is closed, and the same two ports may
        // be connected again at once.
        SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
        // The listener allows it only now: with its own bind it would have shared a port that another
        // connection listens on.
        SockRef::from(&self.io).set_reuse_port(true)?;
        socket.bind(self.address)?;
        Ok(socket)
    }

    /// There is no such socket here.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(unix))]
    pub fn socket_to_connect(&self) -> io::Result<TcpSocket> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The next connection, if there is one; the task is woken when there is.
    pub fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Option<(TcpStream, SocketAddr)> {
        if self.paused_until.is_some_and(|until| until > now) {
            return None;
        }
        self.paused_until = None;
        match self.io.poll_accept(cx) {
            Poll::Ready(Ok((stream, remote))) => match stream.set_nodelay(true) {
                Ok(()) => Some((stream, remote)),
                // It is gone already.
                Err(_) => {
                    cx.waker().wake_by_ref();
                    None
                }
            },
            Poll::Ready(Err(error)) => {
                log::debug!("accepting on {}: {error}", self.address);
                self.paused_until = Some(now + PAUSE);
                None
            }
            Poll::Pending => None,
        }
    }

    /// When it may be asked again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.paused_until
    }
}

fn socket(ip: IpAddr) -> io::Result<TcpSocket> {
    if ip.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
}
