//! A port on which peers may connect: one for each host address.

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
            let socket = if ip.is_ipv4() {
                TcpSocket::new_v4()?
            } else {
                TcpSocket::new_v6()?
            };
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
