//! The envelope: a message with everything that travels with it, from the row in the outbox to the handler.

mod tracestate;

use bytes::Bytes;
use prost::{Message, Name};
use uuid::Uuid;

pub(crate) use self::tracestate::read as read_tracestate;

/// One message. It is made once, when its row is written, and never changes afterwards: a second delivery is the same envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Distinguishes a redelivery from a new message. UUIDv7.
    pub id: Uuid,
    /// The full name of the payload's protobuf message, version included: `ordermesh.orders.v1.OrderPlaced`.
    pub kind: String,
    /// Messages with the same key keep their order and meet in the same partition.
    pub key: String,
    /// Who wrote it: the `source` of CloudEvents, such as `/ordermesh/orders`.
    pub source: String,
    /// The encoded protobuf message.
    pub payload: Bytes,
    /// The W3C trace context of the request that caused it.
    pub traceparent: Option<String>,
    /// What tracing systems add to it, as W3C limits it; only beside a `traceparent`.
    pub tracestate: Option<String>,
    /// On whose behalf it was written: the claim `sub` of the token. Informative, as [`crate::origin`] says.
    pub subject: Option<String>,
    /// The claim `jti` of that token; only beside a `subject`.
    pub token_id: Option<String>,
    /// When the row was written, in microseconds since the Unix epoch.
    pub create_time: i64,
}

impl Envelope {
    /// A message with the full name of `payload` as its kind. The relay fills in the source.
    pub fn new<M: Message + Name>(id: Uuid, key: impl Into<String>, payload: &M, create_time: i64) -> Self {
        Self {
            id,
            kind: M::full_name(),
            key: key.into(),
            source: String::new(),
            payload: payload.encode_to_vec().into(),
            traceparent: None,
            tracestate: None,
            subject: None,
            token_id: None,
            create_time,
        }
    }

    /// The same message, caused by the request with this trace context. A `tracestate` that is malformed is left out, and of one beyond the
    /// limits what is beyond them.
    #[must_use]
    pub fn with_trace(self, traceparent: Option<String>, tracestate: Option<&str>) -> Self {
        let tracestate = tracestate.filter(|_| traceparent.is_some()).and_then(read_tracestate);
        Self { traceparent, tracestate, ..self }
    }

    /// The same message, on behalf of this subject by this token.
    #[must_use]
    pub fn on_behalf_of(self, subject: Option<&str>, token_id: Option<&str>) -> Self {
        let token_id = token_id.filter(|_| subject.is_some()).map(str::to_owned);
        Self { subject: subject.map(str::to_owned), token_id, ..self }
    }

    /// The same message, in the trace of the one that caused it.
    #[must_use]
    pub fn in_trace_of(self, cause: &Self) -> Self {
        Self { traceparent: cause.traceparent.clone(), tracestate: cause.tracestate.clone(), ..self }
    }
}

/// The content type of every payload.
pub const CONTENT_TYPE: &str = "application/protobuf";
