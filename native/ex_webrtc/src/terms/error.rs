//! `{:error, reason}`.

use crate::atoms;
use engine::error::Error;
use rustler::{Encoder, Env, Term};

/// `{:error, reason}` of the engine.
pub fn error_term<'a>(env: Env<'a>, error: Error) -> Term<'a> {
    (atoms::error(), atoms::named(env, error.as_str())).encode(env)
}
