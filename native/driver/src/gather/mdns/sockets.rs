//! Multicast sockets on port 5353, shared with whoever else uses mDNS on this machine.

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use tokio::net::UdpSocket;

/// RFC 6762 section 3.
const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// The largest message (RFC 6762 section 17).
const MAX_MESSAGE: usize = 9000;

/// Messages are sent with this hop limit (RFC 6762 section 11).
const HOPS: u32 = 255;

/// One socket for each IP version that works here, with the interfaces it multicasts on.
pub struct Sockets {
    v4: Option<(UdpSocket, Vec<Ipv4Addr>)>,
    v6: Option<(UdpSocket, Vec<u32>)>,
    /// One buffer for each, because both are waited for at a time.
    buffers: [Box<[u8]>; 2],
}

impl Sockets {
    /// Opens what can be opened; nothing is found where nothing can.
    pub fn open() -> Self {
        let (v4, v6) = interfaces();
        Self {
            v4: usable("IPv4", open_v4(v4)),
            v6: usable("IPv6", open_v6(v6)),
            buffers: std::array::from_fn(|_| vec![0; MAX_MESSAGE].into()),
        }
    }

    /// Sends a question to the group on every interface. What fails on one, or does not fit
    /// right now, is asked again by retransmission.
    pub fn send(&self, message: &[u8]) {
        if let Some((socket, interfaces)) = &self.v4 {
            let group = SocketAddr::V4(SocketAddrV4::new(GROUP_V4, PORT));
            for interface in interfaces {
                let sent = SockRef::from(socket)
                    .set_multicast_if_v4(interface)
                    .and_then(|()| socket.try_send_to(message, group));
                if let Err(error) = sent {
                    log::debug!("mDNS question on {interface}: {error}");
                }
            }
        }
        if let Some((socket, interfaces)) = &self.v6 {
            for interface in interfaces {
                let group = SocketAddr::V6(SocketAddrV6::new(GROUP_V6, PORT, 0, *interface));
                let sent = SockRef::from(socket)
                    .set_multicast_if_v6(*interface)
                    .and_then(|()| socket.try_send_to(message, group));
                if let Err(error) = sent {
                    log::debug!("mDNS question on interface {interface}: {error}");
                }
            }
        }
    }

    /// The next message that is a response by its source port (RFC 6762 section 6). Nothing is
    /// lost when the future is dropped.
    pub async fn receive(&mut self) -> &[u8] {
        let Self {
            v4,
            v6,
            buffers: [first, second],
        } = self;
        tokio::select! {
            length = receive_from(v4.as_ref().map(|it| &it.0), first) => {
                first.get(..length).unwrap_or_default()
            }
            length = receive_from(v6.as_ref().map(|it| &it.0), second) => {
                second.get(..length).unwrap_or_default()
            }
        }
    }
}

async fn receive_from(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> usize {
    let Some(socket) = socket else {
        return pending().await;
    };
    loop {
        match socket.recv_from(buffer).await {
            Ok((length, source)) if source.port() == PORT => return length,
            Ok(_) => {}
            Err(error) => {
                log::debug!("receiving mDNS: {error}");
                // An error that stays must not spin the shard.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// The interfaces that are up: an IPv4 address of each, and the index of each with IPv6.
fn interfaces() -> (Vec<Ipv4Addr>, Vec<u32>) {
    let mut v4 = BTreeMap::new();
    let mut v6 = Vec::new();
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => {
            for interface in interfaces.iter().filter(|interface| interface.is_oper_up()) {
                match (interface.ip(), interface.index) {
                    (IpAddr::V4(ip), _) => {
                        v4.entry(interface.name.clone()).or_insert(ip);
                    }
                    (IpAddr::V6(_), Some(index)) => v6.push(index),
                    (IpAddr::V6(_), None) => {}
                }
            }
        }
        Err(error) => log::warn!("cannot read the interfaces of this machine: {error}"),
    }
    v6.sort_unstable();
    v6.dedup();
    (v4.into_values().collect(), v6)
}

fn usable<T>(
    version: &str,
    opened: io::Result<(UdpSocket, Vec<T>)>,
) -> Option<(UdpSocket, Vec<T>)> {
    match opened {
        Ok(opened) if opened.1.is_empty() => None,
        Ok(opened) => Some(opened),
        Err(error) => {
            log::warn!("no {version} socket for mDNS: {error}");
            None
        }
    }
}

fn open_v4(interfaces: Vec<Ipv4Addr>) -> io::Result<(UdpSocket, Vec<Ipv4Addr>)> {
    let socket = shared_socket(Domain::IPV4)?;
    socket.set_multicast_loop_v4(true)?;
    socket.set_multicast_ttl_v4(HOPS)?;
    // Bound to the group, Linux delivers nothing else; other systems cannot bind to it.
    let bound = if cfg!(target_os = "linux") {
        GROUP_V4
    } else {
        Ipv4Addr::UNSPECIFIED
    };
    socket.bind(&SocketAddr::from((bound, PORT)).into())?;
    let joined = joined(interfaces, |interface| {
        socket.join_multicast_v4(&GROUP_V4, interface)
    });
    Ok((UdpSocket::from_std(socket.into())?, joined))
}

fn open_v6(interfaces: Vec<u32>) -> io::Result<(UdpSocket, Vec<u32>)> {
    let socket = shared_socket(Domain::IPV6)?;
    socket.set_only_v6(true)?;
    socket.set_multicast_loop_v6(true)?;
    socket.set_multicast_hops_v6(HOPS)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
    let joined = joined(interfaces, |interface| {
        socket.join_multicast_v6(&GROUP_V6, *interface)
    });
    Ok((UdpSocket::from_std(socket.into())?, joined))
}

/// RFC 6762 section 15.1: others on this machine have the port, too.
fn shared_socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    Ok(socket)
}

/// The interfaces on which the group could be joined.
fn joined<T>(interfaces: Vec<T>, join: impl Fn(&T) -> io::Result<()>) -> Vec<T> {
    interfaces
        .into_iter()
        .filter(|interface| match join(interface) {
            Ok(()) => true,
            Err(error) => {
                log::debug!("joining the mDNS group: {error}");
                false
            }
        })
        .collect()
}
