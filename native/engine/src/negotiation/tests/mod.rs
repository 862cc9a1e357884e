//! Two negotiations against each other, and against descriptions as other endpoints write them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod candidates;
mod codecs;
mod directions;
mod errors;
mod exchange;
mod ice;
mod local_descriptions;
mod properties;
mod proposed;
mod recycling;
mod requests;
mod rollback;
mod samples;
mod simulcast;
mod support;
