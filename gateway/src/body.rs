//! Reads the body of a request: up to its limit, within what all bodies together may take, and not for ever.

mod rest;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    time::Duration,
};

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use chassis::status::{Fault, Reason};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt as _;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tower::{ServiceExt as _, service_fn};
use tower_http::decompression::{DecompressionBody, RequestDecompression};

pub(crate) use self::rest::Rest;
use crate::{
    edge::overloaded,
    headers::declares_json,
    metrics::{limit, refused},
    problem::Problem,
};

type Unpacked = DecompressionBody<Body>;

/// A client that sends nothing more of its body for so long is given up.
const PAUSE: Duration = Duration::from_secs(10);

/// What bodies may take: each alone, and all together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room<'r> {
    /// Of one body, in bytes.
    pub(crate) each: usize,
    /// Of all, a permit a byte.
    pub(crate) all: &'r Semaphore,
}

/// A body, with the room that it takes until it is dropped.
#[derive(Debug)]
pub(crate) struct Received<'r> {
    pub(crate) bytes: Bytes,
    /// Given back when it is dropped.
    room: Option<SemaphorePermit<'r>>,
}

/// Reads a body, which is unpacked where it has a coding; `typed` where it means something, and so must be JSON.
///
/// # Errors
/// BODY_TOO_LARGE; UNSUPPORTED_MEDIA_TYPE when it is not declared as JSON, or not declared and not empty, or has a coding that is not
/// read; MALFORMED_REQUEST when the client does not send what it announced; RATE_LIMITED when the others leave no room.
pub(crate) async fn read<'r>(
    headers: &HeaderMap,
    body: Body,
    room: Room<'r>,
    typed: bool,
) -> Result<Received<'r>, Problem> {
    if typed && !declares_json(headers) {
        return Err(unsupported());
    }
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    // Who asks before sending gets the answer now.
    if announced.is_some_and(|length| length > room.each) && headers.contains_key(header::EXPECT) {
        return Err(too_large(room.each));
    }
    // Bytes of any type are unpacked as well: their message has no place for a coding.
    let received = if headers.contains_key(header::CONTENT_ENCODING) && !body.is_end_stream() {
        collect(decompressed(headers, body).await?, room).await?
    } else {
        collect(body, room).await?
    };
    if typed && !received.bytes.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
        return Err(unsupported());
    }
    Ok(received)
}

async fn collect(mut body: Body, room: Room<'_>) -> Result<Received<'_>, Problem> {
    let mut received = Received { bytes: Bytes::new(), room: None };
    if body.is_end_stream() {
        return Ok(received);
    }
    // Copied together: a part of the connection's buffer would keep the whole of it.
    let mut whole = BytesMut::new();
    while let Some(data) = next(&mut body).await? {
        if whole.len() + data.len() > room.each {
            return Err(too_large(room.each));
        }
        take(&mut received.room, data.len(), room.all).ok_or_else(|| overloaded(limit::BUFFERED_BYTES))?;
        whole.extend_from_slice(&data);
    }
    received.bytes = whole.freeze();
    Ok(received)
}

/// The next part of a body; `None` after the last one.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = timeout(PAUSE, body.frame()).await.map_err(|_| broken("the body stopped coming"))?;
        match frame
            .transpose()
            .map_err(|_| broken("the body broke off, or is not what it should be"))?
            .map(|frame| frame.into_data())
        {
            None => return Ok(None),
            Some(Ok(data)) => return Ok(Some(data)),
            // Trailers.
            Some(Err(_)) => {}
        }
    }
}

/// Takes room for so many bytes more; `None` when there is not so much.
fn take<'r>(held: &mut Option<SemaphorePermit<'r>>, bytes: usize, all: &'r Semaphore) -> Option<()> {
    let more = all.try_acquire_many(u32::try_from(bytes).ok()?).ok()?;
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
    Some(())
}

fn broken(problem: &str) -> Problem {
    Fault::new(Reason::MalformedRequest, problem).into()
}

/// The body without its coding. tower-http's layer, but only around the bodies that need it.
async fn decompressed(headers: &HeaderMap, body: Body) -> Result<Body, Problem> {
    let mut request = http::Request::new(body);
    for coding in headers.get_all(header::CONTENT_ENCODING) {
        let coding = match coding.as_bytes().to_ascii_lowercase().as_slice() {
            // The same (RFC 9110, section 8.4.1.3).
            b"x-gzip" => Ok(HeaderValue::from_static("gzip")),
            other => HeaderValue::from_bytes(other),
        };
        // Several codings, one over the other, are none that is read.
        if let Ok(coding) = coding
            && request.headers_mut().insert(header::CONTENT_ENCODING, coding).is_some()
        {
            return Err(Problem::unsupported_coding());
        }
    }
    match RequestDecompression::new(service_fn(taken)).oneshot(request).await {
        Ok(response) if response.status().is_success() => Ok(Body::new(response.into_body())),
        _ => Err(Problem::unsupported_coding()),
    }
}

/// The service inside of the layer: what it gets is what is wanted.
fn taken(request: http::Request<Unpacked>) -> Ready<Result<http::Response<Unpacked>, Infallible>> {
    ready(Ok(http::Response::new(request.into_body())))
}

fn too_large(most: usize) -> Problem {
    refused(limit::BODY_BYTES);
    Fault::new(Reason::BodyTooLarge, format!("the body is larger than {most} bytes")).into()
}

fn unsupported() -> Problem {
    Fault::new(Reason::UnsupportedMediaType, "the body must be application/json in UTF-8").into()
}
