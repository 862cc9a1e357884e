//! The servers of a configuration, as gathering asks them.

use super::turn::TurnServer;
use engine::w3c::IceServer;
use rtc_ice::url::{ProtoType, SchemeType};

/// Servers that are asked; each costs requests from every host address.
const MAX_SERVERS: usize = 8;

/// What a server is asked for, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A Binding over UDP.
    Stun,
    /// An allocation over UDP.
    TurnUdp(TurnServer),
    /// An allocation over TCP.
    TurnTcp(TurnServer),
    /// An allocation over TLS.
    TurnTls(TurnServer),
}

/// One URL.
#[derive(Clone, Debug)]
pub struct Server {
    /// As configured.
    pub url: String,
    /// A name or an address.
    pub host: String,
    /// With the scheme's default.
    pub port: u16,
    /// What for.
    pub protocol: Protocol,
    /// Its name was looked up, with whatever outcome.
    pub resolved: bool,
}

/// The servers to ask, and the URLs that can't be asked with the reason.
pub fn servers(configured: &[IceServer]) -> (Vec<Server>, Vec<(String, String)>) {
    let mut found = Vec::new();
    let mut unusable = Vec::new();
    for server in configured {
        // One by one: a URL that is none must not take the others with it.
        for text in &server.urls {
            let alone = IceServer {
                urls: vec![text.clone()],
                ..server.clone()
            };
            let url = match alone.urls().map(|urls| urls.into_iter().next()) {
                Ok(Some(url)) => url,
                Ok(None) => continue,
                Err(error) => {
                    unusable.push((text.clone(), error.to_string()));
                    continue;
                }
            };
            let turn = TurnServer {
                url: text.clone(),
                username: url.username,
                credential: url.password,
            };
            let protocol = match (url.scheme, url.proto) {
                (SchemeType::Stun, ProtoType::Udp) => Ok(Protocol::Stun),
                (SchemeType::Turn, ProtoType::Udp) => Ok(Protocol::TurnUdp(turn)),
                (SchemeType::Turn, ProtoType::Tcp) => Ok(Protocol::TurnTcp(turn)),
                (SchemeType::Turns, ProtoType::Tcp) => Ok(Protocol::TurnTls(turn)),
                (SchemeType::Stun | SchemeType::Stuns, _) => {
                    Err("STUN over TCP or TLS says nothing about UDP, and is not asked")
                }
                (SchemeType::Turns, _) => Err("TURN over DTLS is not supported"),
                _ => Err("not a URL of a STUN or TURN server"),
            };
            match protocol {
                Ok(protocol) if found.len() < MAX_SERVERS => found.push(Server {
                    url: text.clone(),
                    host: url
                        .host
                        .trim_start_matches('[')
                        .trim_end_matches(']')
                        .to_owned(),
                    port: url.port,
                    protocol,
                    resolved: false,
                }),
                Ok(_) => unusable.push((text.clone(), "too many servers".to_owned())),
                Err(reason) => unusable.push((text.clone(), reason.to_owned())),
            }
        }
    }
    (found, unusable)
}
