//! Opens TCP and TLS connections.

use super::{ByteStream, Opened, Opening};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// One attempt to connect. A server may have several addresses, and all are tried in the five
/// seconds of a gathering round.
const ATTEMPT: Duration = Duration::from_millis(1500);

/// Addresses that are tried.
const MAX_ATTEMPTS: usize = 8;

/// How the bytes get to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// Plain TCP.
    None,
    /// TLS.
    Tls {
        /// Who the server must prove to be.
        server_name: String,
        /// The authorities to trust, as PEM, instead of the system's.
        ca_pem: Option<String>,
    },
}

/// A connection to the first of `remotes` that takes one, from the first of `locals` that can
/// (from wherever the system likes, where empty).
pub fn connect(locals: Vec<IpAddr>, remotes: Vec<SocketAddr>, security: Security) -> Opening {
    Box::pin(async move {
        let attempts = attempts(&locals, &remotes);
        let attempts = attempts.into_iter();
        let attempts = attempts.map(|(local, remote)| (socket(local, remote), remote));
        secured(first_of(attempts).await?, security).await
    })
}

/// The same over sockets that are bound already, each to the address beside it.
pub fn connect_over(sockets: Vec<(TcpSocket, SocketAddr)>, security: Security) -> Opening {
    Box::pin(async move {
        let attempts = sockets.into_iter();
        let attempts = attempts.map(|(socket, remote)| (Ok(socket), remote));
        secured(first_of(attempts).await?, security).await
    })
}

async fn secured(stream: TcpStream, security: Security) -> io::Result<Opened> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let io: Box<dyn ByteStream> = match security {
        Security::None => Box::new(stream),
        Security::Tls {
            server_name,
            ca_pem,
        } => {
            let name = ServerName::try_from(server_name.clone()).map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{server_name} is no server name"),
                )
            })?;
            let connector = TlsConnector::from(client_config(ca_pem).await?);
            Box::new(connector.connect(name, stream).await?)
        }
    };
    Ok(Opened { local, io })
}

fn attempts(locals: &[IpAddr], remotes: &[SocketAddr]) -> Vec<(Option<IpAddr>, SocketAddr)> {
    let pairs = remotes.iter().flat_map(|remote| {
        let able = locals
            .iter()
            .filter(|local| crate::gather::interfaces::can_reach(**local, remote.ip()))
            .map(|local| (Some(*local), *remote));
        able.chain(locals.is_empty().then_some((None, *remote)))
    });
    pairs.take(MAX_ATTEMPTS).collect()
}

/// A connection from an address of ours, where there is one within `patience`.
pub fn connect_from(local: IpAddr, remote: SocketAddr, patience: Duration) -> Opening {
    Box::pin(async move {
        let connecting = socket(Some(local), remote)?.connect(remote);
        let stream = tokio::time::timeout(patience, connecting).await??;
        stream.set_nodelay(true)?;
        Ok(Opened {
            local: stream.local_addr()?,
            io: Box::new(stream),
        })
    })
}

async fn first_of(
    attempts: impl Iterator<Item = (io::Result<TcpSocket>, SocketAddr)>,
) -> io::Result<TcpStream> {
    let mut last = io::Error::new(
        io::ErrorKind::NotFound,
        "no address of ours reaches the server",
    );
    for (socket, remote) in attempts {
        let connecting = async { socket?.connect(remote).await };
        match tokio::time::timeout(ATTEMPT, connecting).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                last = io::Error::new(error.kind(), format!("connecting to {remote}: {error}"));
            }
            Err(_) => {
                let text = format!("connecting to {remote}: no answer");
                last = io::Error::new(io::ErrorKind::TimedOut, text);
            }
        }
    }
    Err(last)
}

fn socket(local: Option<IpAddr>, remote: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if remote.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(local) = local {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    Ok(socket)
}

/// Reading the system's authorities takes tens of milliseconds: once, and off the shard.
async fn client_config(ca_pem: Option<String>) -> io::Result<Arc<ClientConfig>> {
    static SYSTEM: LazyLock<Result<Arc<ClientConfig>, String>> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let text = "the system has no CA certificates (Debian: ca-certificates)";
            return Err(text.to_owned());
        }
        config_with(roots)
    });
    let loading = tokio::task::spawn_blocking(move || match ca_pem {
        None => SYSTEM.clone(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| error.to_string())?;
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
            config_with(roots)
        }
    });
    let config = loading.await.map_err(io::Error::other)?;
    config.map_err(io::Error::other)
}

fn config_with(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(
        builder.with_root_certificates(roots).with_no_client_auth(),
    ))
}
