//! Something between the two ends of TCP connections, as a NAT is: each end sees its address.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// Passes bytes on between who connects to it and `to`, until told to stop or to end.
pub struct Proxy {
    pub address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
    /// Connections that were made to it.
    pub count: Arc<AtomicUsize>,
    /// Who connected, and from where that was passed on.
    pub passed: Arc<Mutex<Vec<(SocketAddr, SocketAddr)>>>,
    stalled: Arc<(Mutex<bool>, Condvar)>,
}

impl Proxy {
    pub fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(Mutex::new(Vec::new()));
        let count = Arc::new(AtomicUsize::new(0));
        let passed = Arc::new(Mutex::new(Vec::new()));
        let stalled = Arc::new((Mutex::new(false), Condvar::new()));
        let proxy = Self {
            address,
            open: Arc::clone(&open),
            count: Arc::clone(&count),
            passed: Arc::clone(&passed),
            stalled: Arc::clone(&stalled),
        };
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let Ok(far) = TcpStream::connect(to) else {
                    continue;
                };
                let who = (near.peer_addr().unwrap(), far.local_addr().unwrap());
                passed.lock().unwrap().push(who);
                let ends = [&near, &far].map(|end| end.try_clone().unwrap());
                open.lock().unwrap().extend(ends);
                for (mut from, mut into) in [
                    (near.try_clone().unwrap(), far.try_clone().unwrap()),
                    (far, near),
                ] {
                    let stalled = Arc::clone(&stalled);
                    std::thread::spawn(move || {
                        let mut buffer = vec![0; 16 << 10];
                        loop {
                            let (flag, changed) = &*stalled;
                            let wait = changed.wait_while(flag.lock().unwrap(), |stalled| *stalled);
                            drop(wait.unwrap());
                            match from.read(&mut buffer) {
                                Ok(count @ 1..) if into.write_all(&buffer[..count]).is_ok() => {}
                                _ => break,
                            }
                        }
                        // Both ends see the end.
                        let _ = into.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        proxy
    }

    pub fn stall(&self, stalled: bool) {
        let (flag, changed) = &*self.stalled;
        *flag.lock().unwrap() = stalled;
        changed.notify_all();
    }

    pub fn end_connections(&self) {
        for end in self.open.lock().unwrap().drain(..) {
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
    }
}
