//! Receives datagrams in batches into buffers that all connections of a shard share.

use super::sockets::Socket;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef};
use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

/// The largest datagram, or run of datagrams that the kernel has coalesced (GRO).
const BUFFER: usize = 64 << 10;

thread_local! {
    static SLAB: RefCell<Slab> = const { RefCell::new(Slab { bytes: Vec::new() }) };
}

/// One allocation for a whole batch, made with the shard's first datagram. Pages that were never
/// written cost nothing.
struct Slab {
    bytes: Vec<u8>,
}

/// What a socket had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Less than a batch: it is empty now, and its next datagram wakes the task.
    Emptied,
    /// A full batch: there may be more.
    Batch,
}

/// Takes one batch from a socket that may be readable, and hands each datagram over with the
/// address it came from.
pub fn receive(socket: &Socket, mut each: impl FnMut(SocketAddr, &mut [u8])) -> Received {
    SLAB.with_borrow_mut(|slab| {
        if slab.bytes.is_empty() {
            slab.bytes = vec![0; BATCH_SIZE * BUFFER];
        }
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let count = fill(socket, &mut slab.bytes, &mut metas);
        for (buffer, meta) in slab.bytes.chunks_exact_mut(BUFFER).zip(&metas).take(count) {
            let Some(received) = buffer.get_mut(..meta.len) else {
                continue;
            };
            for datagram in received.chunks_mut(meta.stride.max(1)) {
                each(meta.addr, datagram);
            }
        }
        if count < BATCH_SIZE {
            Received::Emptied
        } else {
            Received::Batch
        }
    })
}

fn fill(socket: &Socket, bytes: &mut [u8], metas: &mut [RecvMeta; BATCH_SIZE]) -> usize {
    let mut slices = bytes.chunks_exact_mut(BUFFER).map(IoSliceMut::new);
    let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
        std::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
    let mut count = 0;
    // An edge-triggered event queue tells of a socket once, until it was found empty. A batch
    // that was not filled has found it empty: saying so here saves the call that would say it.
    let result = socket.io.try_read(|io| {
        count = socket
            .offload
            .recv(UdpSockRef::from(io), &mut buffers, metas)?;
        if count < BATCH_SIZE {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(())
        }
    });
    match result {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
            // An ICMP error of an earlier datagram. ICE finds out by itself what is unreachable.
            log::debug!("receiving on {}: {error}", socket.address);
            0
        }
        _ => count,
    }
}
