//! Metadata beside messages: of a call, and that by which a service says more about an answer than its message does; the edge makes headers of it.

/// The id of a request, which its caller or the edge has given it.
pub const X_REQUEST_ID: &str = "x-request-id";

/// `true` for an answer that was given before, to an earlier request with the same key.
pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";

/// `true` for a stream that ends without a message, and would however often it were called again.
pub const STREAM_COMPLETE: &str = "stream-complete";
