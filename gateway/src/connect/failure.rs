//! Errors of Connect (<https://connectrpc.com/docs/protocol#error-end-stream>).

use axum::{body::Body, response::Response};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use chassis::status::{Fault, Reason};
use http::{HeaderValue, StatusCode, header};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{StatusExt as _, pb};

use crate::{
    answer::problem::{self, Info},
    contract::{Called, Form},
};

/// How a call failed.
pub(super) struct Failure {
    status: Status,
    pub(super) code: Code,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self { code: code_of(&status), status }
    }
}

/// The code of a status in this protocol.
pub(super) fn code_of(status: &Status) -> Code {
    // Its clients know what is too large by this code. Those of gRPC would come again.
    let is_too_large = status.code() == Reason::BodyTooLarge.code()
        && Fault::from_status(status).is_some_and(|fault| fault.reason == Reason::BodyTooLarge);
    if is_too_large { Code::ResourceExhausted } else { status.code() }
}

impl Failure {
    /// The error object. Fields of a request are named as in the form that its client sends, where that is known.
    pub(super) fn object(&self, sent: Option<(&Called, Form)>) -> Value {
        let mut error = json!({ "code": name(self.code) });
        if !self.status.message().is_empty() {
            error["message"] = self.status.message().into();
        }
        let details = pb::Status::decode(self.status.details()).map(|status| status.details);
        let details = details.unwrap_or_default();
        if !details.is_empty() {
            let each = details.into_iter().map(|detail| {
                let name =
                    detail.type_url.rsplit_once('/').map_or(detail.type_url.as_str(), |(_, name)| name);
                let named =
                    sent.filter(|_| name == BAD_REQUEST).and_then(|sent| spelled(&detail.value, sent));
                json!({ "type": name, "value": BASE64_STANDARD_NO_PAD.encode(named.unwrap_or(detail.value)) })
            });
            error["details"] = each.collect();
        }
        error
    }

    /// The answer to a unary call that failed.
    pub(super) fn response(&self, sent: Option<(&Called, Form)>) -> Response {
        let mut response = Response::new(Body::from(self.object(sent).to_string()));
        let http = http_status(self.code);
        *response.status_mut() = http;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let details = self.status.get_error_details();
        let info = Info::of(&details);
        let retry_after = details.retry_info().and_then(|retry| retry.retry_delay);
        problem::hint(headers, http, self.status.message(), info.as_ref(), retry_after);
        response
    }
}

const BAD_REQUEST: &str = "google.rpc.BadRequest";

/// The violations of a request with the names that its fields have in this form.
fn spelled(detail: &[u8], (called, form): (&Called, Form)) -> Option<Vec<u8>> {
    let mut bad = pb::BadRequest::decode(detail).ok()?;
    bad.field_violations.iter_mut().for_each(|at| at.field = called.named(form, &at.field));
    Some(bad.encode_to_vec())
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
