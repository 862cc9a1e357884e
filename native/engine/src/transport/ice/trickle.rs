//! Candidates of the peer: which session they belong to, and those that wait for it or for the
//! address behind their name.

use super::{Ice, MAX_WAITING_CANDIDATES};
use crate::config::IceTcp;
use crate::error::Error;
use crate::outbox::Outbox;
use crate::transport::candidate::{self, Host, RemoteCandidate, Transport};
use crate::w3c::TcpType;
use std::net::IpAddr;
use std::time::Instant;

pub(super) struct Waiting {
    pub candidate: RemoteCandidate,
    pub ufrag: Option<String>,
}

impl Ice {
    /// Hands candidates that came early to the session they belong to, forgets those of no one.
    pub(super) fn release_waiting(&mut self, now: Instant, ufrag: &str) {
        let Some(session) = &mut self.current else {
            return;
        };
        for waiting in std::mem::take(&mut self.waiting) {
            let named = matches!(waiting.candidate.host, Host::Name(_));
            if waiting.ufrag.as_deref().is_some_and(|other| other != ufrag) {
                self.dropped_candidates += 1;
            } else if named {
                self.waiting.push(waiting);
            } else if !session.add_remote(now, waiting.candidate) {
                self.dropped_candidates += 1;
            }
        }
    }

    /// Adds a candidate of the peer, or says which name must be resolved first.
    pub(in crate::transport) fn add_remote(
        &mut self,
        now: Instant,
        attribute: &str,
        ufrag: Option<&str>,
        out: &mut Outbox,
    ) -> Result<Option<String>, Error> {
        let candidate = candidate::parse(attribute)?;
        // Only component 1 exists with rtcp-mux.
        if !is_used(candidate.transport, self.settings.tcp) || candidate.component != 1 {
            self.dropped_candidates += 1;
            return Ok(None);
        }
        let ufrag = ufrag.map(str::to_owned).or_else(|| candidate.ufrag.clone());
        if let Host::Address(ip) = candidate.host
            && !candidate::is_usable(ip)
        {
            self.dropped_candidates += 1;
            return Ok(None);
        }
        let remote = self
            .current
            .as_ref()
            .and_then(|session| session.remote.as_ref());
        let for_current =
            remote.is_some_and(|remote| ufrag.as_deref().is_none_or(|ufrag| ufrag == remote.ufrag));
        let stale = self
            .previous
            .as_ref()
            .and_then(|session| session.remote.as_ref())
            .is_some_and(|remote| ufrag.as_deref() == Some(remote.ufrag.as_str()));
        if stale && !for_current {
            self.dropped_candidates += 1;
            return Ok(None);
        }
        let name = match &candidate.host {
            Host::Name(name) => Some(name.clone()),
            Host::Address(_) => None,
        };
        // Nobody sends to one that connects, so its name need not be known.
        let connects = candidate.transport == Transport::Tcp(TcpType::Active);
        if connects && name.is_some() {
            return Ok(None);
        }
        if for_current && name.is_none() {
            if let Some(session) = &mut self.current
                && !session.add_remote(now, candidate)
            {
                self.dropped_candidates += 1;
            }
            self.drive(now, out);
            return Ok(None);
        }
        let known = self
            .waiting
            .iter()
            .any(|waiting| waiting.candidate == candidate && waiting.ufrag == ufrag);
        if known || self.waiting.len() >= MAX_WAITING_CANDIDATES {
            self.dropped_candidates += 1;
            return Ok(None);
        }
        self.waiting.push(Waiting { candidate, ufrag });
        Ok(name)
    }

    pub(in crate::transport) fn mdns_resolved(
        &mut self,
        now: Instant,
        name: &str,
        address: Option<IpAddr>,
        out: &mut Outbox,
    ) {
        let address = address.filter(|ip| candidate::is_usable(*ip));
        let (mut resolved, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| matches!(&waiting.candidate.host, Host::Name(known) if known.eq_ignore_ascii_case(name)));
        self.waiting = rest;
        let Some(ip) = address else {
            self.dropped_candidates += resolved.len() as u64;
            return;
        };
        for waiting in &mut resolved {
            waiting.candidate.host = Host::Address(ip);
        }
        self.waiting.append(&mut resolved);
        let ufrag = self
            .current
            .as_ref()
            .and_then(|session| session.remote.as_ref())
            .map(|remote| remote.ufrag.clone());
        if let Some(ufrag) = ufrag {
            self.release_waiting(now, &ufrag);
        }
        self.drive(now, out);
    }
}

/// RFC 6544 section 6.2: whoever connects pairs with who listens. Simultaneous open is not
/// spoken, since a browser does not either.
const fn is_used(transport: Transport, tcp: IceTcp) -> bool {
    match transport {
        Transport::Udp => true,
        Transport::Tcp(TcpType::Passive) => tcp.active,
        Transport::Tcp(TcpType::Active) => tcp.passive,
        Transport::Tcp(TcpType::So) | Transport::Other => false,
    }
}
