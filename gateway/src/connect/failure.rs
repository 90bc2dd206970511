//! Errors of Connect (<https://connectrpc.com/docs/protocol#error-end-stream>).

use axum::{body::Body, response::Response};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use http::{HeaderValue, StatusCode, header};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::pb;

use crate::answer::problem;

/// The error object.
pub(super) fn object(status: &Status) -> Value {
    let mut error = json!({ "code": name(status.code()) });
    if !status.message().is_empty() {
        error["message"] = status.message().into();
    }
    let details = pb::Status::decode(status.details()).map(|status| status.details).unwrap_or_default();
    if !details.is_empty() {
        let each = details.iter().map(|detail| {
            let name = detail.type_url.rsplit_once('/').map_or(detail.type_url.as_str(), |(_, name)| name);
            json!({ "type": name, "value": BASE64_STANDARD_NO_PAD.encode(&detail.value) })
        });
        error["details"] = each.collect();
    }
    error
}

/// The answer to a unary call that failed.
pub(super) fn response(status: &Status) -> Response {
    let mut response = Response::new(Body::from(object(status).to_string()));
    *response.status_mut() = http_status(status.code());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// As the protocol spells a code.
fn name(code: Code) -> &'static str {
    match code {
        // An answer that is no error is no failure.
        Code::Ok | Code::Unknown => "unknown",
        Code::Cancelled => "canceled",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

/// The status of HTTP that the protocol gives a code (<https://connectrpc.com/docs/protocol#error-codes>): that of any other answer.
fn http_status(code: Code) -> StatusCode {
    // An answer that is no error is no failure.
    if code == Code::Ok { StatusCode::INTERNAL_SERVER_ERROR } else { problem::http_status(code) }
}
