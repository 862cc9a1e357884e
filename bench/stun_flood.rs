//! Floods a UDP port with STUN checks that nobody may believe: half with user names that nobody
//! has, half with the one given and a wrong MESSAGE-INTEGRITY.
//!
//! `stun_flood ADDRESS USER_NAME RATE SECONDS`; prints how many it has sent. No dependencies:
//! `rustc -O bench/stun_flood.rs`.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Source ports: the kernel spreads datagrams over the receiver's sockets by both addresses.
const SOURCES: usize = 64;

/// RFC 8489 section 5: a Binding request with USERNAME and MESSAGE-INTEGRITY.
fn check(user: &str, number: u64) -> Vec<u8> {
    let mut attributes = Vec::new();
    let name = format!("{user}:{number:08x}");
    attributes.extend([0x00, 0x06, 0x00, name.len() as u8]);
    attributes.extend(name.as_bytes());
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    attributes.extend([0x00, 0x08, 0x00, 20]);
    attributes.extend([0xAB; 20]);
    let mut message = vec![0x00, 0x01, 0x00, attributes.len() as u8];
    message.extend([0x21, 0x12, 0xA4, 0x42]);
    message.extend([0; 4]);
    message.extend(number.to_be_bytes());
    message.extend(attributes);
    message
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, address, user, rate, seconds] = &arguments[..] else {
        panic!("stun_flood ADDRESS USER_NAME RATE SECONDS");
    };
    let address: SocketAddr = address.parse().expect("an address");
    let rate: u64 = rate.parse().expect("datagrams a second");
    let seconds: u64 = seconds.parse().expect("a number of seconds");
    let sources: Vec<UdpSocket> = (0..SOURCES)
        .map(|_| {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).expect("a socket");
            socket.connect(address).expect("a connected socket");
            socket
        })
        .collect();
    let start = Instant::now();
    let mut sent = 0u64;
    while start.elapsed() < Duration::from_secs(seconds) {
        let due = start.elapsed().as_micros() as u64 * rate / 1_000_000;
        while sent < due {
            let datagram = match sent % 2 {
                0 => check("nobody", sent),
                _ => check(user, sent),
            };
            // What the system refuses is not sent.
            let _ = sources[sent as usize / 2 % SOURCES].send(&datagram);
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    println!("{sent}");
}
