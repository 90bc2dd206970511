//! How a process reaches a service of gRPC with bytes instead of messages: over HTTP/2 at the endpoints that answer, or in the same
//! process.
//!
//! ```text
//! Call ── Upstream ──┬── Remote: Pool ── Member ── Channel ── HTTP/2
//!                    └── Local: a tower service
//! ```
//!
//! Errors, deadlines, metadata, streams and cancellation are the same on both ways; the tests see to that.

mod metadata;
mod error;
mod metrics;
mod channel;
mod unary;
mod local;
mod connection;
mod pool;
mod resolve;
mod service;
mod call;
mod outcome;
mod retry;
pub mod reflection;

pub use self::{
    call::{Answer, Call, grpc_timeout},
    error::TransportError,
    local::Local,
    metadata::{GRPC_TIMEOUT, IDEMPOTENCY_REPLAYED, OF_CALLER, check_length, length, mark_replayed, named},
    metrics::begin,
    outcome::{is_answered_unknown, is_unknown},
    pool::Tried,
    resolve::{Resolver, SystemResolver},
    retry::Retries,
    service::{Endpoint, Location, Trust, Upstream},
    unary::{MAX_RESPONSE_BYTES, cut_off, of_http, too_large},
};
