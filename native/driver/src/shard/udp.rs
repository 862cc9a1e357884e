//! A UDP socket on a shard's event queue.
//!
//! The queue tells when there is something to read. That there is room to write it tells only those
//! who wait for it: a kernel that is asked says so after every datagram that has left, and each time
//! the shard would wake up for nothing.

use std::future::Future;
use std::io;
use std::task::{Context, Poll};
use tokio::io::Interest;

pub use self::system::UdpIo;

#[cfg(unix)]
mod system {
    use super::{Context, Future, Interest, Poll, io};
    use std::net::UdpSocket;
    use tokio::io::unix::AsyncFd;

    /// See the module.
    pub struct UdpIo(AsyncFd<UdpSocket>);

    #[expect(
        deprecated,
        reason = "what took its place is unsafe, for the sake of types that change their file \
                  descriptor; std's socket has one for its whole life"
    )]
    fn register(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
        AsyncFd::with_interest(socket, interest)
    }

    impl UdpIo {
        /// Has the current runtime tell when a socket, which must not block, is readable.
        ///
        /// # Errors
        /// What the system says.
        pub fn new(socket: UdpSocket) -> io::Result<Self> {
            register(socket, Interest::READABLE).map(Self)
        }

        /// The socket.
        pub fn socket(&self) -> &UdpSocket {
            self.0.get_ref()
        }

        /// Whether it may be readable; the task is woken then otherwise. Of several tasks the last one.
        pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
            self.0.poll_read_ready(cx).map(drop)
        }

        /// Reads if it may be readable; `WouldBlock` says that it is not any more.
        ///
        /// # Errors
        /// Those of `read`.
        pub fn try_read<R>(&self, read: impl FnOnce(&UdpSocket) -> io::Result<R>) -> io::Result<R> {
            self.0.try_io(Interest::READABLE, read)
        }

        /// Waits for room. Any number of tasks may.
        pub fn writable(&self) -> impl Future<Output = ()> + use<> {
            // The same socket once more, for as long as somebody waits. What fails here fails again
            // when something is sent.
            let waiting = self.socket().try_clone();
            async move {
                if let Ok(io) = waiting.and_then(|it| register(it, Interest::WRITABLE)) {
                    let _ = io.writable().await;
                }
            }
        }
    }
}

/// Where there is no epoll or kqueue: tokio asks for both.
#[cfg(not(unix))]
mod system {
    use super::{Context, Future, Interest, Poll, io};
    use std::sync::Arc;
    use tokio::net::UdpSocket;

    /// See the module.
    pub struct UdpIo(Arc<UdpSocket>);

    impl UdpIo {
        /// Has the current runtime tell when a socket, which must not block, is readable.
        ///
        /// # Errors
        /// What the system says.
        pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
            UdpSocket::from_std(socket).map(|io| Self(Arc::new(io)))
        }

        /// The socket.
        pub fn socket(&self) -> &UdpSocket {
            &self.0
        }

        /// Whether it may be readable; the task is woken then otherwise. Of several tasks the last one.
        pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
            self.0.poll_recv_ready(cx).map(drop)
        }

        /// Reads if it may be readable; `WouldBlock` says that it is not any more.
        ///
        /// # Errors
        /// Those of `read`.
        pub fn try_read<R>(&self, read: impl FnOnce(&UdpSocket) -> io::Result<R>) -> io::Result<R> {
            self.0.try_io(Interest::READABLE, || read(&self.0))
        }

        /// Waits for room. Any number of tasks may.
        pub fn writable(&self) -> impl Future<Output = ()> + use<> {
            let io = Arc::clone(&self.0);
            async move {
                let _ = io.writable().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
