//! What every request handler does first: check all fields at once, and know a request again that comes a second time.

use std::sync::Arc;

use auth::Caller;
use messaging::origin::{Origin, trace_id};
use prost::Message;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, metadata::MetadataValue};

use chassis::{
    metadata::{IDEMPOTENCY_REPLAYED, STREAM_COMPLETE, request_id},
    status::{Fault, Reason, Violation},
    trace,
};

/// Collects what is wrong with the fields of a request, so that its caller learns all of it at once.
#[derive(Debug, Default)]
pub struct Checks(Vec<Violation>);

impl Checks {
    /// Notes the problem of the field at this path, if there is one.
    pub fn field(&mut self, path: &str, verdict: Result<(), &'static str>) -> &mut Self {
        if let Err(problem) = verdict {
            self.0.push(Violation { field: path.to_owned(), description: problem.to_owned() });
        }
        self
    }

    /// INVALID_FIELD with every problem, if there was one.
    ///
    /// # Errors
    /// When a field was out of its limits.
    pub fn finish(&mut self) -> Result<(), Fault> {
        let violations = std::mem::take(&mut self.0);
        let Some(first) = violations.first() else { return Ok(()) };
        let message = format!("{}: {}", first.field, first.description);
        Err(Fault { violations, ..Fault::new(Reason::InvalidField, message) })
    }
}

/// What distinguishes one request from another: SHA-256 of its deterministic encoding. The caller clears the idempotency key and the
/// output-only fields first, so the same call over HTTP and over gRPC is the same.
#[must_use]
pub fn fingerprint(request: &impl Message) -> [u8; 32] {
    Sha256::digest(request.encode_to_vec()).into()
}

/// A text that may be left out; `None` for the empty one.
#[must_use]
pub fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// The refusal of a key that came again with another payload.
#[must_use]
pub fn key_reused() -> Fault {
    Fault::new(Reason::IdempotencyKeyReused, "the idempotency key was used for a different request")
}

/// Who sends a request: what is stored with whatever it does.
#[must_use]
pub fn origin<T>(request: &Request<T>) -> Origin {
    origin_in(request, trace::of_call(request.metadata()).as_ref())
}

/// The same, where the trace context of the call is at hand.
#[must_use]
pub fn origin_in<T>(request: &Request<T>, trace: Option<&trace::Context>) -> Origin {
    let caller = request.extensions().get::<Arc<Caller>>();
    Origin {
        subject: caller.map(|caller| caller.subject.to_string()),
        token_id: caller.and_then(|caller| caller.token_id.clone()),
        trace_id: trace.and_then(|context| trace_id(&context.parent)),
        x_request_id: request_id(request.metadata().as_ref())
            .and_then(|id| id.to_str().ok())
            .map(str::to_owned),
    }
}

/// An answer, marked when it was given before.
#[must_use]
pub fn answer<T>(message: T, replayed: bool) -> Response<T> {
    let mut response = Response::new(message);
    if replayed {
        response.metadata_mut().insert(IDEMPOTENCY_REPLAYED, MetadataValue::from_static("true"));
    }
    response
}

/// A stream, marked when nothing will ever come of it.
#[must_use]
pub fn stream<T>(messages: T, complete: bool) -> Response<T> {
    let mut response = Response::new(messages);
    if complete {
        response.metadata_mut().insert(STREAM_COMPLETE, MetadataValue::from_static("true"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once() {
        let mut checks = Checks::default();
        checks
            .field("user_id", Err("must be given"))
            .field("amount", Ok(()))
            .field("currency_code", Err("unknown"));
        let fault = checks.finish().expect_err("two fields are wrong");
        let fields: Vec<_> = fault.violations.iter().map(|at| at.field.as_str()).collect();
        assert_eq!((fault.reason, fields), (Reason::InvalidField, vec!["user_id", "currency_code"]));
        assert_eq!(Checks::default().finish(), Ok(()));
    }

    #[test]
    fn the_id_of_a_request_that_is_stored_is_the_one_that_the_edge_takes() {
        let stored = |ids: &[&str]| {
            let mut request = Request::new(());
            for id in ids {
                request.metadata_mut().append("x-request-id", id.parse().expect("a value"));
            }
            origin(&request).x_request_id
        };
        for length in [1, 129, 255] {
            let id = "a".repeat(length);
            assert_eq!(stored(&[&id]).as_ref(), Some(&id));
        }
        let long = "a".repeat(256);
        for ids in [&[][..], &[long.as_str()], &["a", "b"]] {
            assert_eq!(stored(ids), None, "{ids:?}");
        }
    }
}
