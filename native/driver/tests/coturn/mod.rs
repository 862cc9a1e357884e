//! A coturn of the test's own, on loopback.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support::free_tcp_port;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const USER: &str = "user";
pub const PASSWORD: &str = "secret";

pub struct Coturn {
    process: Child,
    directory: PathBuf,
    /// UDP and TCP.
    pub port: u16,
    pub tls_port: u16,
    /// What vouches for its certificate, which is for `localhost`, or where it is in a network
    /// namespace, for its address there.
    pub ca_pem: String,
}

impl Coturn {
    /// On loopback, ready to be asked.
    pub fn start(options: &[&str]) -> Self {
        let both = [
            &[
                "--listening-ip=127.0.0.1",
                "--listening-ip=::1",
                "--relay-ip=127.0.0.1",
                "--relay-ip=::1",
                "--allow-loopback-peers",
            ],
            options,
        ];
        // A port that was free may have been taken by another test before the server has it.
        for _attempt in 0..3 {
            let turnserver = Command::new("turnserver");
            let server = Self::spawn(turnserver, &both.concat(), free_tcp_port(), "DNS:localhost");
            if server.is_ready_in_time() {
                return server;
            }
        }
        panic!("turnserver did not start");
    }

    /// In a network namespace, on the standard port of an address there.
    pub fn start_in(namespace: &str, address: &str) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "turnserver"]);
        let (listen, relay) = (
            format!("--listening-ip={address}"),
            format!("--relay-ip={address}"),
        );
        let server = Self::spawn(command, &[&listen, &relay], 3478, &format!("IP:{address}"));
        server.wait_until_listening(namespace, address);
        server
    }

    fn wait_until_listening(&self, namespace: &str, address: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let sockets = Command::new("ip")
                .args(["netns", "exec", namespace, "ss", "-Hlntu"])
                .output()
                .unwrap();
            let listening = String::from_utf8_lossy(&sockets.stdout);
            let there = |protocol: &str, port: u16| {
                let at = format!("{address}:{port} ");
                let mut lines = listening.lines();
                lines.any(|line| line.starts_with(protocol) && line.contains(&at))
            };
            if there("udp", self.port) && there("tcp", self.port) && there("tcp", self.tls_port) {
                return;
            }
            assert!(Instant::now() < deadline, "turnserver did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn spawn(mut command: Command, options: &[&str], port: u16, name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("coturn-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&directory).unwrap();
        let ca_pem = certificate(&directory, name);
        let tls_port = free_tcp_port();
        let process = command
            .args(["-n", "--no-cli", "--lt-cred-mech", "--fingerprint"])
            .args(["--realm", "example.org"])
            .arg(format!("--user={USER}:{PASSWORD}"))
            .arg(format!("--listening-port={port}"))
            .arg(format!("--tls-listening-port={tls_port}"))
            .arg(format!("--cert={}", directory.join("server.pem").display()))
            .arg(format!("--pkey={}", directory.join("server.key").display()))
            .arg(format!("--pidfile={}", directory.join("pid").display()))
            .args([
                "--log-file=stdout",
                "--no-multicast-peers",
                "--relay-threads=1",
            ])
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("turnserver, of Debian's package coturn, is needed for this test");
        Self {
            process,
            directory,
            port,
            tls_port,
            ca_pem,
        }
    }

    fn is_ready_in_time(&self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        for port in [self.port, self.tls_port] {
            while TcpStream::connect(("127.0.0.1", port)).is_err()
                || TcpStream::connect(("::1", port)).is_err()
            {
                if Instant::now() >= deadline {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        true
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// A certificate for `name` with its own authority, whose PEM is returned.
fn certificate(directory: &std::path::Path, name: &str) -> String {
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(directory)
            .output()
            .expect("openssl is needed for this test");
        assert!(output.status.success(), "{output:?}");
    };
    let names = format!("subjectAltName={name}\n");
    std::fs::write(directory.join("names"), names).unwrap();
    let curve = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    openssl(
        &[
            &["req", "-x509", "-days", "2", "-subj", "/CN=test authority"][..],
            &curve,
            &["-keyout", "ca.key", "-out", "ca.pem"],
        ]
        .concat(),
    );
    openssl(
        &[
            &["req", "-subj", "/CN=localhost"][..],
            &curve,
            &["-keyout", "server.key", "-out", "server.csr"],
        ]
        .concat(),
    );
    openssl(&[
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-extfile",
        "names",
        "-out",
        "server.pem",
    ]);
    std::fs::read_to_string(directory.join("ca.pem")).unwrap()
}
