//! A call of Connect as one of gRPC, and how that ended.

use std::sync::Arc;

use chassis::{
    metrics::Call as Counted,
    status::{Fault, Reason},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};
use tonic::{Status, body::Body as GrpcBody};
use upstream::GRPC_TIMEOUT;

use super::asked::Asked;
use crate::{admit::Client, contract::Called, edge::Edge, grpc, request::body::BodyLimit};

const TIMEOUT: HeaderName = HeaderName::from_static("connect-timeout-ms");
const VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");
/// How messages of a stream are compressed.
pub(super) const STREAM_CODING: HeaderName = HeaderName::from_static("connect-content-encoding");

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
pub(super) struct Call<'e> {
    pub(super) edge: &'e Edge,
    pub(super) client: &'e Client,
    pub(super) called: Arc<Called>,
    pub(super) counted: Option<Counted>,
    pub(super) asked: Asked,
}

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
pub(super) fn is_of_service(name: &HeaderName) -> bool {
    const OTHERS: [HeaderName; 5] =
        [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::TRAILER, header::DATE, header::TE];
    !name.as_str().starts_with("grpc-") && !OTHERS.contains(name)
}

impl Call<'_> {
    pub(super) fn limit(&self) -> BodyLimit {
        BodyLimit { each: self.edge.config.max_body_bytes, account: Arc::clone(&self.client.bodies) }
    }

    /// The answer of the service, in gRPC.
    pub(super) async fn made(
        &mut self,
        parts: Parts,
        body: GrpcBody,
    ) -> Result<http::Response<GrpcBody>, Fault> {
        let mut request = http::Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = parts.uri.path().parse().map_err(|error| Fault::internal(&error))?;
        *request.headers_mut() = metadata(parts.headers)?;
        let counted = self.counted.take();
        Ok(grpc::answered(self.edge, request, self.client, Some(self.called.as_ref()), counted).await)
    }
}

/// The status of a call that has ended, in its trailers or where others have headers.
pub(super) fn ended(headers: &HeaderMap, trailers: &HeaderMap) -> Result<(), Status> {
    let status = Status::from_header_map(trailers).or_else(|| Status::from_header_map(headers));
    match status {
        Some(status) if status.code() == tonic::Code::Ok => Ok(()),
        Some(status) => Err(status),
        None => Err(upstream::cut_off()),
    }
}
