//! Two network namespaces with a router between them, and connections in processes of their own.
//!
//! ```text
//! inside 10.N.0.2 ── 10.N.0.1 router 198.18.N.1 ── 198.18.N.2 outside
//! ```
//!
//! The router masquerades what comes from inside. The other process of a test is this test's own
//! binary, told by `NETNS_PEER` to serve commands over its standard input and output.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::coturn::Coturn;
use crate::support::{Output, Peer, config, runtime};
use engine::config::{Config, IceTcp};
use engine::ids::TrackId;
use engine::w3c::{IceServer, Kind, SdpType, SessionDescription};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

const MARK: &str = "peer> ";

static NEXT: AtomicU8 = AtomicU8::new(1);

pub struct Network {
    name: String,
    number: u8,
}

impl Network {
    /// Fails where this may not be done: a test that did nothing would say that it passed.
    pub fn with_nat(name: &str) -> Self {
        let user = Command::new("id").arg("-u").output().unwrap();
        assert!(
            user.stdout.trim_ascii() == b"0",
            "Network namespaces need root. Leave these tests out with: -- --skip needs_root"
        );
        let network = Self {
            name: format!("{name}{}", std::process::id()),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
        };
        network.build();
        network
    }

    /// The router gives each destination another port of its own (RFC 4787 section 4.1), as the
    /// NATs of many companies do.
    pub fn make_symmetric(&self) {
        self.nft("flush chain ip nat out");
        self.nft("add rule ip nat out oifname out masquerade fully-random");
    }

    /// Over TCP the router maps one port inside to another one of its own, whoever it is for, and lets
    /// everybody in there (RFC 5382: endpoint-independent mapping and filtering).
    pub fn map_port(&self, inside: u16, outside: u16) {
        let (host, router) = (self.inside(), self.router());
        self.nft("flush chain ip nat out");
        self.nft(&format!(
            "add rule ip nat out oifname out ip saddr {host} tcp sport {inside} snat to {router}:{outside}"
        ));
        self.nft("add rule ip nat out oifname out masquerade");
        self.nft("add chain ip nat in { type nat hook prerouting priority -100 ; }");
        self.nft(&format!(
            "add rule ip nat in iifname out tcp dport {outside} dnat to {host}:{inside}"
        ));
    }

    fn build(&self) {
        let (inside, router, outside) = (self.ns("i"), self.ns("r"), self.ns("o"));
        for ns in [&inside, &router, &outside] {
            run(&["ip", "netns", "add", ns]);
            run(&["ip", "-n", ns, "link", "set", "lo", "up"]);
        }
        let (i, o) = (self.inside(), self.outside());
        for (ns, address, gateway, end) in [
            (&inside, &i, self.gateway(), "in"),
            (&outside, &o, self.router(), "out"),
        ] {
            run(&[
                "ip", "-n", ns, "link", "add", "eth", "type", "veth", "peer", "name", end, "netns",
                &router,
            ]);
            run(&[
                "ip",
                "-n",
                ns,
                "addr",
                "add",
                &format!("{address}/24"),
                "dev",
                "eth",
            ]);
            run(&[
                "ip",
                "-n",
                &router,
                "addr",
                "add",
                &format!("{gateway}/24"),
                "dev",
                end,
            ]);
            run(&["ip", "-n", ns, "link", "set", "eth", "up"]);
            run(&["ip", "-n", &router, "link", "set", end, "up"]);
        }
        run(&[
            "ip",
            "-n",
            &inside,
            "route",
            "add",
            "default",
            "via",
            &self.gateway(),
        ]);
        self.exec("r", &["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
        self.nft("add table ip nat");
        self.nft("add chain ip nat out { type nat hook postrouting priority 100 ; }");
        self.nft("add rule ip nat out oifname out masquerade");
        self.nft("add table ip loss");
        self.nft("add chain ip loss forward { type filter hook forward priority 10 ; }");
    }

    pub fn inside(&self) -> String {
        format!("10.{}.0.2", self.number)
    }

    fn gateway(&self) -> String {
        format!("10.{}.0.1", self.number)
    }

    pub fn router(&self) -> String {
        format!("198.18.{}.1", self.number)
    }

    pub fn outside(&self) -> String {
        format!("198.18.{}.2", self.number)
    }

    fn ns(&self, part: &str) -> String {
        format!("{}{part}", self.name)
    }

    fn exec(&self, part: &str, command: &[&str]) {
        let ns = self.ns(part);
        run(&[&["ip", "netns", "exec", &ns], command].concat());
    }

    fn nft(&self, rule: &str) {
        self.exec("r", &["nft", rule]);
    }

    /// Between inside and outside only TCP passes.
    pub fn block_udp(&self) {
        self.nft("add table ip filter");
        self.nft("add chain ip filter forward { type filter hook forward priority 0 ; }");
        self.nft("add rule ip filter forward meta l4proto udp drop");
    }

    /// Of a hundred packets in either direction, this many are lost from now on.
    pub fn lose(&self, percent: u8) {
        self.nft("flush chain ip loss forward");
        let matched = match percent {
            0 => return,
            1..=99 => format!("numgen random mod 100 < {percent} "),
            _ => String::new(),
        };
        self.nft(&format!("add rule ip loss forward {matched}drop"));
    }

    /// Delays packets of either direction, and doubles and reorders some, where this machine's
    /// kernel has netem.
    pub fn impair(&self) {
        for end in ["in", "out"] {
            let netem = "delay 20ms 5ms duplicate 2% reorder 5%";
            let output = Command::new("ip")
                .args(["netns", "exec", &self.ns("r"), "tc", "qdisc", "replace"])
                .args(["dev", end, "root", "netem"])
                .args(netem.split(' '))
                .output()
                .unwrap();
            if !output.status.success() {
                let error = String::from_utf8_lossy(&output.stderr);
                assert!(error.contains("qdisc kind is unknown"), "{error}");
                eprintln!("this kernel has no netem (sch_netem): nothing is late or doubled");
                return;
            }
        }
    }

    /// The host inside gets another address.
    pub fn move_inside(&self) {
        let ns = self.ns("i");
        let new = format!("10.{}.0.77/24", self.number);
        run(&["ip", "-n", &ns, "addr", "flush", "dev", "eth"]);
        run(&["ip", "-n", &ns, "addr", "add", &new, "dev", "eth"]);
        run(&[
            "ip",
            "-n",
            &ns,
            "route",
            "add",
            "default",
            "via",
            &self.gateway(),
        ]);
    }

    /// A STUN and TURN server outside.
    pub fn coturn(&self) -> Coturn {
        Coturn::start_in(&self.ns("o"), &self.outside())
    }

    pub fn peer_inside(&self, environment: &[(&str, &str)]) -> PeerProcess {
        PeerProcess::start(&self.ns("i"), environment)
    }

    pub fn peer_outside(&self, environment: &[(&str, &str)]) -> PeerProcess {
        PeerProcess::start(&self.ns("o"), environment)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for part in ["i", "r", "o"] {
            // The links between them go with them.
            let _ = Command::new("ip")
                .args(["netns", "del", &self.ns(part)])
                .status();
        }
    }
}

fn run(command: &[&str]) {
    let output = Command::new(command[0])
        .args(&command[1..])
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// A connection in another namespace.
pub struct PeerProcess {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl PeerProcess {
    fn start(ns: &str, environment: &[(&str, &str)]) -> Self {
        let mut process = Command::new("ip")
            .args(["netns", "exec", ns])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "peer_process", "--nocapture"])
            .env("NETNS_PEER", "1")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: process.stdin.take().unwrap(),
            output: BufReader::new(process.stdout.take().unwrap()),
            process,
        }
    }

    /// Carries out a command (see [`serve`]) and returns its answer.
    pub fn ask(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        loop {
            let mut line = String::new();
            let length = self.output.read_line(&mut line).unwrap();
            assert!(length > 0, "the peer's process ended at {command:.40}");
            if let Some((_, answer)) = line.split_once(MARK) {
                return answer.trim_end().to_owned();
            }
        }
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves commands as a peer's process; returns at once in every other one.
pub fn serve() {
    if std::env::var_os("NETNS_PEER").is_none() {
        return;
    }
    let runtime = runtime(1);
    let variable = |name| std::env::var(name).unwrap_or_default();
    let server = IceServer {
        urls: vec![variable("ICE_SERVER")],
        username: variable("ICE_USER"),
        credential: variable("ICE_PASSWORD"),
    };
    let has_server = std::env::var_os("ICE_SERVER").is_some();
    let mut served = Served {
        peer: Peer::open(
            &runtime,
            Config {
                ice_servers: has_server.then_some(server).into_iter().collect(),
                ice_tls_ca_pem: std::env::var("ICE_CA").ok(),
                ice_ports: variable("ICE_PORT").parse().into_iter().collect(),
                ice_tcp: IceTcp {
                    active: variable("ICE_TCP") == "active",
                    passive: variable("ICE_TCP") == "passive",
                },
                host_addresses: None,
                ..config()
            },
        ),
        has_track: false,
        next: 0,
        received: HashSet::new(),
        twice: 0,
    };
    for line in std::io::stdin().lines() {
        let answer = served.carry_out(&line.unwrap());
        println!("{MARK}{answer}");
    }
}

const TRACK: TrackId = TrackId(1);

struct Served {
    peer: Peer,
    has_track: bool,
    next: u16,
    received: HashSet<Vec<u8>>,
    twice: usize,
}

impl Served {
    fn carry_out(&mut self, line: &str) -> String {
        let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
        let description = |sdp_type| SessionDescription {
            sdp_type,
            sdp: argument.replace("\\n", "\r\n"),
        };
        let told = |description: SessionDescription| description.sdp.replace("\r\n", "\\n");
        match command {
            "offer" => {
                self.has_track = true;
                self.peer.add_track(Kind::Video, TRACK.0);
                told(self.peer.offer())
            }
            "restart" => told(self.peer.restart_offer()),
            "answer" => {
                if !std::mem::replace(&mut self.has_track, true) {
                    self.peer.add_track(Kind::Video, TRACK.0);
                }
                told(self.peer.answer(description(SdpType::Offer)))
            }
            "accept" => {
                self.peer.accept(description(SdpType::Answer));
                "ok".to_owned()
            }
            "wait" => self.wait(argument),
            "send" => {
                for _ in 0..argument.parse::<u16>().unwrap() {
                    self.next += 1;
                    let payload = format!("packet {}", self.next);
                    self.peer
                        .send_packet(TRACK, 96, self.next, payload.as_bytes());
                    std::thread::sleep(Duration::from_millis(1));
                }
                "ok".to_owned()
            }
            "received" => {
                self.take_packets();
                assert_eq!(self.twice, 0, "packets that were delivered twice");
                self.received.len().to_string()
            }
            other => panic!("no command: {other}"),
        }
    }

    fn take_packets(&mut self) {
        for output in self.peer.drain() {
            match output {
                Output::Rtp { payload, .. } => {
                    if !self.received.insert(payload) {
                        self.twice += 1;
                    }
                }
                other => self.peer.put_back(other),
            }
        }
    }

    /// Until the newest connection state is the wanted one.
    fn wait(&mut self, argument: &str) -> String {
        let (state, time) = argument.split_once(' ').unwrap();
        let deadline = Instant::now() + Duration::from_millis(time.parse().unwrap());
        while Instant::now() < deadline {
            if self.peer.connection_state().as_str() == state {
                return "ok".to_owned();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        format!("still {:?}", self.peer.connection_state())
    }
}
