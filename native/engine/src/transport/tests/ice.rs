//! ICE between two agents on a virtual link.

mod candidates;
mod connecting;
mod failover;
mod pairs;
mod restarts;
mod tcp;
