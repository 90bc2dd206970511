//! A call of Connect as one of gRPC, and how that ended.

use std::sync::Arc;

use chassis::status::{Fault, Reason};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};
use tonic::Status;
use upstream::GRPC_TIMEOUT;

use super::asked;
use crate::{
    admit::{Client, Standing},
    contract::Called,
    edge::Edge,
    grpc::{Asked, Begun, Sent, forward},
    request::body::BodyLimit,
    settings::travels,
};

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
#[derive(Clone, Copy)]
pub(super) struct Call<'e> {
    pub(super) edge: &'e Edge,
    pub(super) client: &'e Client,
    pub(super) called: &'e Arc<Called>,
    pub(super) asked: asked::Asked,
}

impl<'e> Call<'e> {
    pub(super) fn limit(&self) -> BodyLimit {
        BodyLimit { each: self.edge.config.max_body_bytes, account: Arc::clone(&self.client.bodies) }
    }

    /// Passes the call on, unless something is wrong with it already.
    ///
    /// # Errors
    /// That, or why it is not answered.
    pub(super) async fn begin(
        &self,
        prepared: Result<(Parts, Sent<'e>), Fault>,
        standing: &mut Option<Standing>,
    ) -> Result<Begun, Fault> {
        let Self { edge, client, called, .. } = *self;
        match prepared {
            Ok((head, sent)) => forward(Asked { edge, client, called, head, sent }, standing).await,
            Err(fault) => {
                // Nobody is asked who sends what is not called.
                edge.admission.count(&client.who(None), None, standing)?;
                Err(fault)
            }
        }
    }
}

/// The head of the call to the service.
///
/// # Errors
/// MALFORMED_REQUEST.
pub(super) fn head(mut parts: Parts) -> Result<Parts, Fault> {
    parts.method = Method::POST;
    parts.uri = parts.uri.path().parse().map_err(|error: http::uri::InvalidUri| Fault::internal(&error))?;
    parts.headers = metadata(parts.headers)?;
    Ok(parts)
}

/// The metadata of a call, with its time.
fn metadata(mut headers: HeaderMap) -> Result<HeaderMap, Fault> {
    if headers.get(VERSION).is_some_and(|version| version != "1") {
        return Err(malformed("connect-protocol-version must be 1"));
    }
    let time = timeout(&headers)?;
    // What gRPC says of a call in headers is not its client's to say in this protocol.
    let of_grpc = |name: &&HeaderName| name.as_str().starts_with("grpc-");
    let left_out: Vec<HeaderName> = headers.keys().filter(of_grpc).cloned().collect();
    LEFT_OUT.iter().chain(&left_out).for_each(|name| drop(headers.remove(name)));
    headers.extend(time.map(|time| (GRPC_TIMEOUT, time)));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(headers)
}

/// The time of a call, as gRPC spells it.
fn timeout(headers: &HeaderMap) -> Result<Option<HeaderValue>, Fault> {
    let mut times = headers.get_all(TIMEOUT).iter();
    let Some(time) = times.next() else { return Ok(None) };
    if times.next().is_some() {
        return Err(malformed("connect-timeout-ms is there more than once"));
    }
    let wrong = || malformed("connect-timeout-ms must be a number of 10 digits at most");
    let digits = time.to_str().ok().filter(|time| time.bytes().all(|byte| byte.is_ascii_digit()));
    let digits = digits.filter(|time| (1..=10).contains(&time.len())).ok_or_else(wrong)?;
    // gRPC has eight digits, and coarser units.
    let time = match digits.len() {
        ..=8 => format!("{digits}m"),
        length => format!("{}S", &digits[..length - 3]),
    };
    HeaderValue::from_str(&time).map(Some).map_err(|_| wrong())
}

fn malformed(problem: &str) -> Fault {
    Fault::new(Reason::MalformedRequest, problem)
}

/// The metadata of an answer that is the service's, and not gRPC's or of how its message came.
pub(super) fn of_service(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    headers.iter().filter(|(name, _)| travels(name) && *name != header::DATE)
}

/// The status of a call that has ended, in its trailers or where others have headers.
pub(super) fn status(headers: &HeaderMap, trailers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(trailers).or_else(|| Status::from_header_map(headers))
}
