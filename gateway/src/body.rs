//! Reads the body of a request, up to its limit.

use std::{
    convert::Infallible,
    future::{Ready, ready},
};

use axum::body::Body;
use bytes::Bytes;
use chassis::status::{Fault, Reason};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tower::{ServiceExt as _, service_fn};
use tower_http::decompression::{DecompressionBody, RequestDecompression};

use crate::{headers::declares_json, problem::Problem};

/// Of a body that is too large, so much is read and thrown away: a client that is still sending when the connection
/// closes would see a reset, not the answer.
const DRAIN_BYTES: usize = 16 << 20;

type Unpacked = DecompressionBody<Body>;

/// Reads a body of at most `limit` bytes, those after decompression; `typed` where it means something, and so must be JSON.
///
/// # Errors
/// BODY_TOO_LARGE; UNSUPPORTED_MEDIA_TYPE when it is not declared as JSON, or not declared and not empty, or has a coding that is not
/// read; MALFORMED_REQUEST when the client does not send what it announced.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    typed: bool,
) -> Result<Bytes, Problem> {
    if typed && !declares_json(headers) {
        return Err(unsupported());
    }
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    // Who asks before sending gets the answer now.
    if announced.is_some_and(|length| length > limit) && headers.contains_key(header::EXPECT) {
        return Err(too_large(limit));
    }
    let bytes = if typed && headers.contains_key(header::CONTENT_ENCODING) {
        // Of a bomb nothing more is unpacked: it is short on the wire.
        collect(decompressed(headers, body).await?, limit, 0).await?
    } else {
        collect(body, limit, DRAIN_BYTES).await?
    };
    if typed && !bytes.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
        return Err(unsupported());
    }
    Ok(bytes)
}

async fn collect(mut body: Body, limit: usize, drain: usize) -> Result<Bytes, Problem> {
    match Limited::new(&mut body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let _whatever_comes = Limited::new(body, drain).collect().await;
            Err(too_large(limit))
        }
        Err(_) => {
            Err(Fault::new(Reason::MalformedRequest, "the body broke off, or is not what it should be")
                .into())
        }
    }
}

/// The body without its coding. tower-http's layer, but only around the bodies that need it.
async fn decompressed(headers: &HeaderMap, body: Body) -> Result<Body, Problem> {
    let mut request = http::Request::new(body);
    for coding in headers.get_all(header::CONTENT_ENCODING) {
        let coding = HeaderValue::from_bytes(&coding.as_bytes().to_ascii_lowercase());
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

fn too_large(limit: usize) -> Problem {
    Fault::new(Reason::BodyTooLarge, format!("the body is larger than {limit} bytes")).into()
}

fn unsupported() -> Problem {
    Fault::new(Reason::UnsupportedMediaType, "the body must be application/json in UTF-8").into()
}
