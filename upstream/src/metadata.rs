//! The metadata of calls: the names that every call may have, and how long it may be.

use chassis::{
    metadata,
    status::{Fault, Reason},
    trace,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The time that a service has for a call.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Marks an answer as that of an earlier request with the same key.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static(metadata::IDEMPOTENCY_REPLAYED);

/// Headers that say who calls, by which request and in which trace.
pub const OF_CALLER: [HeaderName; 4] = [
    header::AUTHORIZATION,
    HeaderName::from_static(metadata::X_REQUEST_ID),
    HeaderName::from_static(trace::TRACEPARENT),
    HeaderName::from_static(trace::TRACESTATE),
];

/// Marks a stream that ends without a message, and would however often it were called again.
const STREAM_COMPLETE: HeaderName = HeaderName::from_static(metadata::STREAM_COMPLETE);

/// Longest metadata that travels, as RFC 9113, section 6.5.2, counts it. Services take 16 KiB together with what HTTP/2 adds (that is the
/// usual limit of gRPC in Rust), and may end the connection over longer ones, with the calls of others on it.
const METADATA_BYTES: usize = 12 << 10;

/// What that section counts for each field beside its name and value.
const FIELD_BYTES: usize = 32;

/// The headers with these names, in the order of the names.
#[must_use]
pub fn named(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut named = HeaderMap::new();
    for name in names {
        for value in headers.get_all(name) {
            named.append(name.clone(), value.clone());
        }
    }
    named
}

/// Refuses metadata that no service would take.
///
/// # Errors
/// HEADERS_TOO_LARGE.
pub fn check_length(metadata: &HeaderMap) -> Result<(), Fault> {
    if length(metadata) <= METADATA_BYTES {
        return Ok(());
    }
    let message = format!(
        "the headers that travel on to the service are longer than the {METADATA_BYTES} bytes that do"
    );
    Err(Fault::new(Reason::HeadersTooLarge, message))
}

/// The length of a head, in bytes as HTTP/2 counts them.
#[must_use]
pub fn length(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum()
}

/// Says of an answer that it is that of an earlier request.
pub fn mark_replayed(headers: &mut HeaderMap) {
    headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
}

/// What is said about metadata that a service does not take, though it could travel.
pub(crate) fn too_long() -> Fault {
    Fault::new(Reason::HeadersTooLarge, "the headers that travel on to the service are longer than it takes")
}

/// Whether a service says that its answer is that of an earlier request.
pub(crate) fn replayed(metadata: &HeaderMap) -> bool {
    is_true(metadata, &IDEMPOTENCY_REPLAYED)
}

/// Whether a service says that its stream has no message, now and for ever.
pub(crate) fn stream_complete(metadata: &HeaderMap) -> bool {
    is_true(metadata, &STREAM_COMPLETE)
}

fn is_true(metadata: &HeaderMap, name: &HeaderName) -> bool {
    metadata.get(name).is_some_and(|value| value == "true")
}

/// Adds what every request of gRPC has.
pub(crate) fn complete(headers: &mut HeaderMap) {
    const USER_AGENT: &str = concat!("grpc-rust-ordermesh/", env!("CARGO_PKG_VERSION"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/grpc"));
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
}
