//! Answers to requests that are not worked on, each in the protocol of its request.

use axum::{extract::Request, response::Response};
use chassis::status::Fault;
use http::{HeaderMap, HeaderValue, Method, header};
use tonic::Status;

use super::problem::{Problem, Style};

/// The content types of gRPC and gRPC-Web begin so.
const GRPC: &[u8] = b"application/grpc";

/// Whether a request is a gRPC or gRPC-Web call.
pub(crate) fn is_call(method: &Method, headers: &HeaderMap) -> bool {
    let is_grpc = |kind: &HeaderValue| kind.as_bytes().starts_with(GRPC);
    *method == Method::POST && headers.get(header::CONTENT_TYPE).is_some_and(is_grpc)
}

/// The content type of a request that is a gRPC or gRPC-Web call.
pub(crate) fn call_type(method: &Method, headers: &HeaderMap) -> Option<HeaderValue> {
    if is_call(method, headers) { headers.get(header::CONTENT_TYPE).cloned() } else { None }
}

/// The answer to a request that is not let in.
pub(crate) fn refusal(request: &Request, fault: Fault) -> Response {
    match call_type(request.method(), request.headers()) {
        Some(call_type) => of_call(call_type, fault),
        None => Problem::from(fault).into_response(&Style::of(request.headers(), request.uri().path())),
    }
}

/// The answer to a call of this content type, which it has as well, as gRPC-Web wants it.
pub(crate) fn of_call(call_type: HeaderValue, fault: Fault) -> Response {
    let mut response = Status::from(fault).into_http();
    response.headers_mut().insert(header::CONTENT_TYPE, call_type);
    response
}
