//! Answers with the one message of a call.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use transcode::Payload;

use crate::request::headers;

/// Bytes with the type that the service gave them.
pub(crate) fn bytes(payload: Payload) -> Response {
    let mut response = Response::new(Body::from(payload.data));
    response.headers_mut().insert(header::CONTENT_TYPE, headers::media_type(&payload.content_type));
    response
}

/// JSON that is a message.
pub(crate) fn json(json: Bytes) -> Response {
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
