//! Reads the body of a request, up to its limit.

use axum::body::Body;
use bytes::Bytes;
use chassis::status::{Fault, Reason};
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::{headers::declares_json, problem::Problem};

/// Of a body that is too large, so much is read and thrown away: a client that is still sending when the connection
/// closes would see a reset, not the answer.
const DRAIN_BYTES: usize = 16 << 20;

/// Reads a body of at most `limit` bytes; `typed` where it means something, and so must be JSON.
///
/// # Errors
/// BODY_TOO_LARGE; UNSUPPORTED_MEDIA_TYPE when it is not declared as JSON, or not declared and not empty; MALFORMED_REQUEST
/// when the client does not send what it announced.
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
    let bytes = collect(body, limit).await?;
    if typed && !bytes.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
        return Err(unsupported());
    }
    Ok(bytes)
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    match Limited::new(&mut body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let _whatever_comes = Limited::new(body, DRAIN_BYTES).collect().await;
            Err(too_large(limit))
        }
        Err(_) => Err(Fault::new(Reason::MalformedRequest, "the body broke off").into()),
    }
}

fn too_large(limit: usize) -> Problem {
    Fault::new(Reason::BodyTooLarge, format!("the body is larger than {limit} bytes")).into()
}

fn unsupported() -> Problem {
    Fault::new(Reason::UnsupportedMediaType, "the body must be application/json in UTF-8").into()
}
