//! Which addresses of this machine are worth being host candidates.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a list of addresses is good for. Reading it costs a netlink dump, which hundreds of
/// connections that are opened together should share; what gathers because an address has changed,
/// as an ICE restart does, must see the change.
const MAX_AGE: Duration = Duration::from_millis(50);

static CACHE: Mutex<Option<(Instant, Vec<IpAddr>)>> = Mutex::new(None);

/// The addresses of this machine that host candidates are made of: those of every interface that
/// is up, in the system's order; loopback only where there is nothing else, link-local IPv6 never
/// (it means nothing without a zone, which candidates cannot carry: RFC 8445 section 5.1.1.1).
///
/// At most 50 ms old. Empty where the system does not say.
pub fn host_addresses() -> Vec<IpAddr> {
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known(&cache) {
        return known;
    }
    let found = match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces
            .iter()
            .filter(|interface| interface.is_oper_up())
            .map(|interface| interface.ip())
            .collect(),
        Err(error) => {
            log::warn!("cannot read the addresses of this machine: {error}");
            Vec::new()
        }
    };
    let addresses = usable(found);
    *cache = Some((Instant::now(), addresses.clone()));
    addresses
}

/// What [`host_addresses`] would say without asking the system; `None` where it would ask.
pub fn known_host_addresses() -> Option<Vec<IpAddr>> {
    known(&*CACHE.try_lock().ok()?)
}

fn known(cache: &Option<(Instant, Vec<IpAddr>)>) -> Option<Vec<IpAddr>> {
    let (read, addresses) = cache.as_ref()?;
    (read.elapsed() < MAX_AGE).then(|| addresses.clone())
}

/// Picks the usable ones of all addresses.
fn usable(all: Vec<IpAddr>) -> Vec<IpAddr> {
    let (loopback, mut others): (Vec<IpAddr>, Vec<IpAddr>) = all
        .into_iter()
        .filter(|ip| is_host_candidate(*ip))
        .partition(IpAddr::is_loopback);
    let mut kept = if others.is_empty() {
        loopback
    } else {
        std::mem::take(&mut others)
    };
    let mut seen = std::collections::HashSet::new();
    kept.retain(|ip| seen.insert(*ip));
    kept
}

fn is_host_candidate(ip: IpAddr) -> bool {
    if ip.is_unspecified() || ip.is_multicast() {
        return false;
    }
    match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => !ip.is_unicast_link_local() && !is_deprecated(ip),
    }
}

/// Site-local, IPv4-mapped and IPv4-compatible addresses must not be used (RFC 8445 section
/// 5.1.1.1).
fn is_deprecated(ip: Ipv6Addr) -> bool {
    let [first, ..] = ip.segments();
    let compatible = ip.to_ipv4().is_some() && !ip.is_loopback();
    first & 0xffc0 == 0xfec0 || compatible
}

/// Whether a request from `local` can get to `remote` at all.
pub fn can_reach(local: IpAddr, remote: IpAddr) -> bool {
    local.is_ipv4() == remote.is_ipv4() && (!local.is_loopback() || remote.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(addresses: &[&str]) -> Vec<IpAddr> {
        addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect()
    }

    #[test]
    fn loopback_counts_only_where_nothing_else_exists() {
        let all = list(&["127.0.0.1", "192.0.2.2", "::1", "2001:db8::1"]);
        assert_eq!(usable(all), list(&["192.0.2.2", "2001:db8::1"]));
        assert_eq!(
            usable(list(&["127.0.0.1", "::1"])),
            list(&["127.0.0.1", "::1"])
        );
        assert_eq!(
            usable(list(&["127.0.0.1", "fe80::1"])),
            list(&["127.0.0.1"])
        );
    }

    #[test]
    fn addresses_that_a_candidate_cannot_carry_are_left_out() {
        let all = list(&[
            "fe80::1",
            "fec0::1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "fd00::1",
            "10.0.0.1",
            "10.0.0.1",
        ]);
        assert_eq!(usable(all), list(&["fd00::1", "10.0.0.1"]));
    }

    #[test]
    fn this_machine_has_an_address() {
        assert!(!host_addresses().is_empty());
    }

    #[test]
    fn what_was_asked_a_moment_ago_is_known() {
        // The moment may pass in between on a machine that is busy.
        let mut asked = std::iter::repeat_with(|| (host_addresses(), known_host_addresses()));
        let (addresses, said) = asked.find(|(_, said)| said.is_some()).unwrap();
        assert_eq!(said.unwrap(), addresses);
        let old = Instant::now() - MAX_AGE;
        assert_eq!(known(&Some((old, addresses))), None);
    }
}
