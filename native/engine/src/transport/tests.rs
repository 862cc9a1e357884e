#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
//! Two transports on a virtual clock, with a link between them that can lose, repeat and reorder.

mod link;

mod dtls;
mod hostile;
mod ice;
mod media;
mod nomination;
mod proofs;
