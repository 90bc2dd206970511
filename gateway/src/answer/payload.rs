//! Answers with the one message of a call, and what they say beside it.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use chassis::status::{Fault, Reason};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use transcode::{MAX_JSON_BYTES, Payload, ResponseError};
use upstream::IDEMPOTENCY_REPLAYED;

use crate::request::headers;

/// Bytes with the type that the service gave them.
pub(crate) fn bytes(payload: Payload) -> Response {
    let mut response = Response::new(Body::from(payload.data));
    response.headers_mut().insert(header::CONTENT_TYPE, headers::media_type(&payload.content_type));
    response
}

/// Why a service's answer is not passed on as JSON.
pub(crate) fn unprintable(error: &ResponseError) -> Fault {
    match error {
        ResponseError::TooLong => {
            let most = MAX_JSON_BYTES >> 20;
            let message = format!(
                "the service's answer is longer as JSON than the {most} MiB that are passed on, or on the way there"
            );
            Fault::new(Reason::UpstreamResponseTooLarge, message)
        }
        error => Fault::internal(error),
    }
}

/// JSON that is a message.
pub(crate) fn json(json: Bytes) -> Response {
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What an answer says of its request.
pub(crate) fn note(headers: &mut HeaderMap, replayed: bool, ignored: &[String]) {
    if replayed {
        headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    if let Some(names) = headers::names(ignored) {
        headers.insert(headers::X_IGNORED, names);
    }
}

/// Adds what a service says in metadata of these names.
pub(crate) fn returned(names: &[HeaderName], metadata: &[HeaderMap; 2], headers: &mut HeaderMap) {
    for name in names {
        let mut values = metadata.iter().flat_map(|part| part.get_all(name)).cloned();
        if let Some(first) = values.next() {
            headers.insert(name, first);
            for value in values {
                headers.append(name, value);
            }
        }
    }
}
