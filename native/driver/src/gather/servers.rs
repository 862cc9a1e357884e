//! The servers of a configuration, as gathering asks them.

use super::turn::TurnServer;
use engine::w3c::IceServer;
use rtc_ice::url::{ProtoType, SchemeType};

/// Servers that are asked; each costs requests from every host address.
const MAX_SERVERS: usize = 8;

/// How a NAT maps TCP connections says nothing about UDP.
const NOT_LISTENING: &str = "a STUN server over TCP or TLS serves passive TCP candidates only: \
                             turn them on with the option ice_tcp";

/// What a server is asked for, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A Binding over UDP.
    Stun,
    /// A Binding over TCP.
    StunTcp,
    /// A Binding over TLS.
    StunTls,
    /// An allocation over UDP.
    TurnUdp(TurnServer),
    /// An allocation over TCP.
    TurnTcp(TurnServer),
    /// An allocation over TLS.
    TurnTls(TurnServer),
}

impl Protocol {
    /// Whether it gives server-reflexive candidates only.
    pub const fn is_stun(&self) -> bool {
        matches!(self, Self::Stun | Self::StunTcp | Self::StunTls)
    }
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

/// What a URL of STUN says of the transport, apart from the rest of it. RFC 7064 has no query in such
/// URLs, but programs write it as they do for TURN.
fn stun_transport(text: &str) -> (&str, Option<&str>) {
    let stun = text.starts_with("stun:") || text.starts_with("stuns:");
    match text.split_once("?transport=") {
        Some((rest, transport)) if stun => (rest, Some(transport)),
        _ => (text, None),
    }
}

/// The servers to ask, and the URLs that can't be asked with the reason. `listening` is whether
/// there are TCP candidates that peers connect to.
pub fn servers(configured: &[IceServer], listening: bool) -> (Vec<Server>, Vec<(String, String)>) {
    let mut found = Vec::new();
    let mut unusable = Vec::new();
    for server in configured {
        // One by one: a URL that is none must not take the others with it.
        for text in &server.urls {
            let (plain, transport) = stun_transport(text);
            let alone = IceServer {
                urls: vec![plain.to_owned()],
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
            let over_tcp = |protocol| match listening {
                true => Ok(protocol),
                false => Err(NOT_LISTENING),
            };
            let protocol = match (url.scheme, url.proto) {
                (SchemeType::Stun, _) => match transport {
                    None | Some("udp") => Ok(Protocol::Stun),
                    Some("tcp") => over_tcp(Protocol::StunTcp),
                    Some(_) => Err("a STUN server is asked over udp or tcp"),
                },
                (SchemeType::Stuns, _) => match transport {
                    None | Some("tcp") => over_tcp(Protocol::StunTls),
                    Some(_) => Err("STUN over DTLS is not supported"),
                },
                (SchemeType::Turn, ProtoType::Udp) => Ok(Protocol::TurnUdp(turn)),
                (SchemeType::Turn, ProtoType::Tcp) => Ok(Protocol::TurnTcp(turn)),
                (SchemeType::Turns, ProtoType::Tcp) => Ok(Protocol::TurnTls(turn)),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of one URL: what is asked, or why it is not.
    fn protocol(url: &str, listening: bool) -> Result<(Protocol, String, u16), String> {
        let configured = IceServer {
            urls: vec![url.to_owned()],
            ..IceServer::default()
        };
        let (mut found, mut unusable) = servers(&[configured], listening);
        assert_eq!(found.len() + unusable.len(), 1);
        match (found.pop(), unusable.pop()) {
            (Some(server), _) => {
                assert_eq!(server.url, url);
                Ok((server.protocol, server.host, server.port))
            }
            (_, Some((told, reason))) => {
                assert_eq!(told, url);
                Err(reason)
            }
            _ => Err(String::new()),
        }
    }

    #[test]
    fn the_scheme_and_the_transport_say_how_a_stun_server_is_asked() {
        for (url, asked, host, port) in [
            ("stun:example.org", Protocol::Stun, "example.org", 3478),
            ("stun:[::1]:9", Protocol::Stun, "::1", 9),
            ("stun:a?transport=udp", Protocol::Stun, "a", 3478),
            ("stun:a:1?transport=tcp", Protocol::StunTcp, "a", 1),
            ("stun:[::1]?transport=tcp", Protocol::StunTcp, "::1", 3478),
            ("stuns:example.org", Protocol::StunTls, "example.org", 5349),
            ("stuns:a:443?transport=tcp", Protocol::StunTls, "a", 443),
        ] {
            let found = protocol(url, true);
            assert_eq!(found, Ok((asked, host.to_owned(), port)), "{url}");
        }
    }

    #[test]
    fn other_transports_and_queries_are_errors() {
        for (url, reason) in [
            ("stuns:a?transport=udp", "DTLS"),
            ("stun:a?transport=sctp", "udp or tcp"),
            ("stun:a?transport=", "udp or tcp"),
            ("stun:a?transport=tcp&x=y", "udp or tcp"),
            ("stun:a?x=y", ""),
            ("stun:?transport=tcp", ""),
        ] {
            let told = protocol(url, true).expect_err(url);
            assert!(told.contains(reason), "{url}: {told}");
        }
    }

    #[test]
    fn where_nobody_listens_over_tcp_a_server_over_tcp_is_an_error_that_names_the_option() {
        for url in ["stun:a?transport=tcp", "stuns:a"] {
            let told = protocol(url, false).expect_err(url);
            assert!(told.contains("ice_tcp"), "{url}: {told}");
        }
        assert!(protocol("stun:a?transport=udp", false).is_ok());
    }
}
