//! Reads the body of a request: up to its limit, within what all bodies together may take, and not for ever.

mod kept;
mod unpacking;
mod rest;

use std::{
    convert::Infallible,
    error::Error,
    future::{Ready, ready},
    time::Duration,
};

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use chassis::status::{Fault, Reason};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;
use tower::{ServiceExt as _, service_fn};
use tower_http::decompression::{DecompressionBody, RequestDecompression};

pub(crate) use self::{
    kept::{BodyLimit, Received, too_large},
    rest::{MOST_DISCARDED, Rest},
    unpacking::unzipped,
};
use self::{
    kept::{BoundedBuffer, broken, no_body},
    unpacking::{Decoder, Unpacking},
};
use crate::{answer::problem::Problem, request::headers::declares_json};

type Unpacked = DecompressionBody<Body>;

/// A client that sends nothing more of its body for so long is given up.
const PAUSE: Duration = Duration::from_secs(10);

/// The codings that are read.
pub(crate) const READ: &str = "gzip, br, zstd";

/// Reads a body, which is unpacked where it has a coding; `typed` where it means something, and so must be JSON.
///
/// # Errors
/// BODY_TOO_LARGE; UNSUPPORTED_MEDIA_TYPE when it is not declared as JSON, or not declared and not empty, or has a coding that is not
/// read; MALFORMED_REQUEST when the client does not send what it announced; RATE_LIMITED when the others leave no room.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: &BodyLimit,
    typed: bool,
) -> Result<Received, Problem> {
    if typed && !declares_json(headers) {
        return Err(unsupported());
    }
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    // Who asks before sending gets the answer now.
    if announced.is_some_and(|length| length > limit.each) && headers.contains_key(header::EXPECT) {
        return Err(too_large(limit.each).into());
    }
    // Bytes of any type are unpacked as well: their message has no place for a coding.
    let received = unpacked(headers, body, limit).await?.ok_or_else(|| Problem::unsupported_coding(READ))?;
    if typed && !received.bytes.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
        return Err(unsupported());
    }
    Ok(received)
}

/// Reads a body without its coding; `None` for one that is not read.
///
/// # Errors
/// As [`read`], but for what the type may be wrong with.
pub(crate) async fn unpacked(
    headers: &HeaderMap,
    body: Body,
    limit: &BodyLimit,
) -> Result<Option<Received>, Fault> {
    // What is packed into nothing is bounded as well.
    let packed = |body| Body::new(Limited::new(body, limit.each));
    let received = match coding(headers).filter(|_| !body.is_end_stream()) {
        None => collect(body, limit).await?,
        Some(Coding::Gzip) => unpack(packed(body), Unpacking::gzip(limit), limit).await?,
        Some(Coding::Brotli) => unpack(packed(body), Unpacking::brotli(limit), limit).await?,
        Some(Coding::Zstd) => match decompressed(packed(body)).await {
            Some(body) => collect(body, limit).await?,
            None => return Ok(None),
        },
        Some(Coding::Unread) => return Ok(None),
    };
    Ok(Some(received))
}

/// What a body is compressed with.
enum Coding {
    Gzip,
    Brotli,
    Zstd,
    /// Nothing that is read; several, one over the other, are not either.
    Unread,
}

/// The coding of a body, if it has one. `x-gzip` is gzip (RFC 9110, section 8.4.1.3), and `identity` is none.
fn coding(headers: &HeaderMap) -> Option<Coding> {
    let lines = headers.get_all(header::CONTENT_ENCODING).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let mut names = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
    let (first, second) = (names.next()?, names.next());
    Some(match (first.to_ascii_lowercase().as_slice(), second) {
        (b"gzip" | b"x-gzip", None) => Coding::Gzip,
        (b"br", None) => Coding::Brotli,
        (b"zstd", None) => Coding::Zstd,
        _ => Coding::Unread,
    })
}

/// Whether a body has a coding: of streams none is read.
pub(crate) fn is_coded(headers: &HeaderMap) -> bool {
    coding(headers).is_some()
}

/// Reads a body as it comes.
///
/// # Errors
/// As [`read`], but for what a coding or a type may be wrong with.
pub(crate) async fn collect(mut body: Body, limit: &BodyLimit) -> Result<Received, Fault> {
    let mut kept = BoundedBuffer::within(limit);
    if !body.is_end_stream() {
        while let Some(data) = next(&mut body, limit).await? {
            kept.push(&data)?;
        }
    }
    Ok(kept.into())
}

/// A body without its coding, whose end has to be that of the body.
async fn unpack(
    mut body: Body,
    mut unpacking: Unpacking<impl Decoder>,
    limit: &BodyLimit,
) -> Result<Received, Fault> {
    while let Some(data) = next(&mut body, limit).await? {
        unpacking.push(&data)?;
    }
    unpacking.finish()
}

/// The next part of a body; `None` after the last one.
async fn next(body: &mut Body, limit: &BodyLimit) -> Result<Option<Bytes>, Fault> {
    loop {
        let frame = timeout(PAUSE, body.frame()).await.map_err(|_| broken("the body stopped coming"))?;
        match frame.transpose().map_err(|error| failed(&error, limit))?.map(|frame| frame.into_data()) {
            None => return Ok(None),
            Some(Ok(data)) => return Ok(Some(data)),
            // Trailers.
            Some(Err(_)) => {}
        }
    }
}

/// Why a body cannot be read.
fn failed(error: &axum::Error, limit: &BodyLimit) -> Fault {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return too_large(limit.each);
        }
        cause = error.source();
    }
    no_body()
}

/// A body in zstd without its coding, of all its frames. tower-http's layer, but only around the bodies that need it.
async fn decompressed(body: Body) -> Option<Body> {
    let mut request = http::Request::new(body);
    request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("zstd"));
    match RequestDecompression::new(service_fn(taken)).oneshot(request).await {
        Ok(response) if response.status().is_success() => Some(Body::new(response.into_body())),
        _ => None,
    }
}

/// The service inside of the layer: what it gets is what is wanted.
fn taken(request: http::Request<Unpacked>) -> Ready<Result<http::Response<Unpacked>, Infallible>> {
    ready(Ok(http::Response::new(request.into_body())))
}

fn unsupported() -> Problem {
    Fault::new(Reason::UnsupportedMediaType, "the body must be application/json in UTF-8").into()
}
