//! Answers with the one message of a call, and what they say beside it.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use chassis::status::{Chain, Fault, Reason};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use transcode::{Decoded, MAX_JSON_BYTES, Payload, ResponseError, Route};
use upstream::mark_replayed;

use crate::{aside, request::headers};

/// Bytes with the type that the service gave them.
pub(crate) fn bytes(payload: Payload) -> Response {
    let mut response = Response::new(Body::from(payload.data));
    response.headers_mut().insert(header::CONTENT_TYPE, headers::media_type(&payload.content_type));
    response
}

/// Why a service's answer is not passed on as JSON. Its call took effect, which whoever might repeat it has to know.
pub(crate) fn unprintable(error: ResponseError) -> Fault {
    let why = match &error {
        ResponseError::TooLong => {
            let most = MAX_JSON_BYTES >> 20;
            let message = format!(
                "the call took effect, but the service's answer is longer as JSON than the {most} MiB that are passed on, or on the way there"
            );
            return Fault::new(Reason::UpstreamResponseTooLarge, message);
        }
        // What is wrong with its bytes is for the log.
        ResponseError::Decode(_) => "it is no message of the contract".to_owned(),
        ResponseError::Encode(problem) => problem.to_string(),
    };
    tracing::error!(error = %Chain(&error), "an answer of a service has no form in JSON");
    let message = format!("the call took effect, but its answer cannot be passed on as JSON: {why}");
    Fault::new(Reason::AnswerNotRepresentable, message)
}

/// The JSON of a message that a service has sent.
///
/// # Errors
/// Why it is not passed on.
pub(crate) async fn decoded(route: &Arc<Route>, wire: Bytes) -> Result<Decoded, Fault> {
    let decoded = if aside::is_long(wire.len()) {
        let route = Arc::clone(route);
        aside::run(move || transcode::response_to_json(&route, wire)).await?
    } else {
        transcode::response_to_json(route, wire)
    };
    decoded.map_err(unprintable)
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
        mark_replayed(headers);
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
