//! Senders that keep to their estimate, through a bottleneck, on a virtual clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod hostile;
mod pacing;
mod path;
mod rates;

use super::*;
