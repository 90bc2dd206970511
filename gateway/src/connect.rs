//! The Connect protocol (<https://connectrpc.com/docs/protocol>): calls of methods by their names, as JSON or protobuf over any version of
//! HTTP. They become calls of gRPC, and their answers Connect's again.

mod asked;
mod envelope;
mod failure;
mod streaming;
mod unary;

use std::sync::Arc;

use axum::{body::Body, response::Response};
use chassis::{
    metrics::{Call as Counted, Method as Counts},
    status::{Fault, Reason},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use tonic::{Status, body::Body as GrpcBody};
use upstream::GRPC_TIMEOUT;

pub(crate) use self::asked::Asked;
use crate::{admit::Client, contract::Called, edge::Edge, grpc, request::body::BodyLimit};

const TIMEOUT: HeaderName = HeaderName::from_static("connect-timeout-ms");
const VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");
/// How messages of a stream are compressed.
const STREAM_CODING: HeaderName = HeaderName::from_static("connect-content-encoding");

/// Headers of this protocol and of the message as it came; those of the call to the service are its own.
const LEFT_OUT: [HeaderName; 7] = [
    TIMEOUT,
    VERSION,
    STREAM_CODING,
    HeaderName::from_static("connect-accept-encoding"),
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CONTENT_ENCODING,
];

/// A call that is answered.
struct Call<'e> {
    edge: &'e Edge,
    client: &'e Client,
    called: Arc<Called>,
    counted: Option<Counted>,
    asked: Asked,
}

/// Answers a call of this method.
pub(crate) async fn answer(
    edge: &Edge,
    (parts, body): (Parts, Body),
    client: Client,
    (called, counts): (Arc<Called>, Arc<Counts>),
    asked: Asked,
) -> Response {
    if asked.streams != called.streams || (parts.method == Method::GET && !called.is_safe()) {
        return unsupported(&parts.method, called.streams);
    }
    let counted = Some(Counted::begin(&counts));
    let call = Call { edge, client: &client, called, counted, asked };
    if asked.streams {
        return streaming::answer(call, parts, body).await;
    }
    unary::answer(call, parts, body).await.unwrap_or_else(|status| failure::response(&status))
}

/// A method that is called in a way that is not its own: 405 for one that must not be called by GET, otherwise 415.
fn unsupported(method: &Method, streams: bool) -> Response {
    let mut response = Response::new(Body::empty());
    let (status, name, value) = match (method, streams) {
        (&Method::GET, _) => (StatusCode::METHOD_NOT_ALLOWED, header::ALLOW, "POST"),
        (_, true) => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ACCEPT_POST,
            "application/connect+json, application/connect+proto",
        ),
        (_, false) => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, ACCEPT_POST, "application/json, application/proto")
        }
    };
    *response.status_mut() = status;
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// What a method takes (<https://www.w3.org/TR/ldp/#header-accept-post>).
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// The metadata of a call, with its time.
fn metadata(mut headers: HeaderMap) -> Result<HeaderMap, Fault> {
    let malformed = |problem: &str| Fault::new(Reason::MalformedRequest, problem);
    if headers.get(VERSION).is_some_and(|version| version != "1") {
        return Err(malformed("connect-protocol-version must be 1"));
    }
    if let Some(time) = headers.get(TIMEOUT) {
        let wrong = || malformed("connect-timeout-ms must be a number of 10 digits at most");
        let digits = time.to_str().ok().filter(|time| time.bytes().all(|byte| byte.is_ascii_digit()));
        let digits = digits.filter(|time| (1..=10).contains(&time.len())).ok_or_else(wrong)?;
        // gRPC has eight digits, and coarser units.
        let time = if digits.len() <= 8 {
            format!("{digits}m")
        } else {
            format!("{}S", &digits[..digits.len() - 3])
        };
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_str(&time).map_err(|_| wrong())?);
    }
    LEFT_OUT.iter().for_each(|name| drop(headers.remove(name)));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(headers)
}

/// Whether metadata of an answer is the service's, and not gRPC's.
fn is_of_service(name: &HeaderName) -> bool {
    const OTHERS: [HeaderName; 5] =
        [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::TRAILER, header::DATE, header::TE];
    !name.as_str().starts_with("grpc-") && !OTHERS.contains(name)
}

impl Call<'_> {
    fn limit(&self) -> BodyLimit {
        BodyLimit { each: self.edge.config.max_body_bytes, account: Arc::clone(&self.client.bodies) }
    }

    /// The answer of the service, in gRPC.
    async fn made(&mut self, parts: Parts, body: GrpcBody) -> Result<http::Response<GrpcBody>, Fault> {
        let mut request = http::Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = parts.uri.path().parse().map_err(|error| Fault::internal(&error))?;
        *request.headers_mut() = metadata(parts.headers)?;
        let counted = self.counted.take();
        Ok(grpc::answered(self.edge, request, self.client, Some(self.called.as_ref()), counted).await)
    }
}

/// The status of a call that has ended, in its trailers or where others have headers.
fn ended(headers: &HeaderMap, trailers: &HeaderMap) -> Result<(), Status> {
    let status = Status::from_header_map(trailers).or_else(|| Status::from_header_map(headers));
    match status {
        Some(status) if status.code() == tonic::Code::Ok => Ok(()),
        Some(status) => Err(status),
        None => Err(upstream::cut_off()),
    }
}
