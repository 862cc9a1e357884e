//! From which addresses the peer has proved itself, for a driver that must tell whose a datagram
//! is before an engine has seen it.

use std::net::SocketAddr;

/// Proofs kept until the driver asks for them, which it does after every step: more pairs of
/// addresses than one batch of an honest peer's checks has.
const MAX_KEPT: usize = 64;

/// An authenticated STUN message of the peer came this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Our address.
    pub local: SocketAddr,
    /// The address it came from, as the datagram says.
    pub remote: SocketAddr,
    /// It answered a check that we had sent there: who made it can be reached at `remote`. A
    /// request proves only who made it; its source address may be forged.
    pub reached: bool,
}

/// The proofs since the driver last asked.
#[derive(Debug, Default)]
pub(super) struct Proofs(Vec<Proof>);

impl Proofs {
    /// Adds one; two of the same way are one.
    pub(super) fn add(&mut self, proof: Proof) {
        let known = self
            .0
            .iter_mut()
            .find(|known| known.local == proof.local && known.remote == proof.remote);
        if let Some(known) = known {
            known.reached |= proof.reached;
        } else if self.0.len() < MAX_KEPT {
            self.0.push(proof);
        }
    }

    /// All of them, which are forgotten.
    pub(super) fn take(&mut self) -> Vec<Proof> {
        std::mem::take(&mut self.0)
    }
}
