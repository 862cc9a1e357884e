//! Against `rtc-mdns` as the one that has the name, over real multicast on this machine.

use super::*;
use bytes::BytesMut;
use rtc_mdns::{MDNS_DEST_ADDR, Mdns, MdnsConfig, MulticastSocket};
use rtc_shared::{TransportContext, TransportMessage, TransportProtocol};
use sansio::Protocol;
use std::net::Ipv4Addr;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// Answers for `name` until dropped.
async fn responder(name: String, address: Ipv4Addr) {
    let config = MdnsConfig::default()
        .with_local_names(vec![name])
        .with_local_ip(IpAddr::V4(address));
    let mut mdns = Mdns::new(Instant::now(), config);
    let socket = MulticastSocket::new()
        .with_interface(address)
        .into_std()
        .unwrap();
    socket2::SockRef::from(&socket)
        .set_multicast_if_v4(&address)
        .unwrap();
    let socket = UdpSocket::from_std(socket).unwrap();
    let mut buffer = [0; 2000];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
        let message = TransportMessage {
            now: Instant::now(),
            transport: TransportContext {
                local_addr: MDNS_DEST_ADDR,
                peer_addr: peer,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            },
            message: BytesMut::from(&buffer[..length]),
        };
        mdns.handle_read(message).unwrap();
        while let Some(answer) = mdns.poll_write() {
            socket
                .send_to(&answer.message, MDNS_DEST_ADDR)
                .await
                .unwrap();
        }
    }
}

async fn lookup(resolver: &Resolver, name: &str) -> Option<IpAddr> {
    let (sender, receiver) = oneshot::channel();
    resolver.ask(name.to_owned(), move |address| {
        sender.send(address).unwrap()
    });
    receiver.await.unwrap()
}

#[tokio::test]
async fn a_name_on_this_machine_is_found_on_every_kind_of_interface() {
    let (resolver, service) = resolver();
    let tasks = LocalSet::new();
    tasks.spawn_local(service.run());
    tasks
        .run_until(async {
            let mut addresses = vec![Ipv4Addr::LOCALHOST];
            addresses.extend(crate::host_addresses().into_iter().find_map(|ip| match ip {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(_) => None,
            }));
            for address in addresses {
                let name = format!("{:016x}.local", rand::random::<u64>());
                let answering = tokio::task::spawn_local(responder(name.clone(), address));
                let found = lookup(&resolver, &name).await;
                assert_eq!(found, Some(IpAddr::V4(address)), "{name}");
                answering.abort();
            }
        })
        .await;
}

#[tokio::test]
async fn a_question_after_the_end_of_the_runtime_is_answered_with_nothing() {
    let (resolver, service) = resolver();
    drop(service);
    assert_eq!(lookup(&resolver, "ab.local").await, None);
}
