//! A stream as the body of an answer: server-sent events, or lines.

use std::convert::Infallible;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderName, HeaderValue, StatusCode, header};
use tracing::{Instrument as _, Span};

use super::{
    feed::{Feed, Step},
    framing::Framing,
    raw,
};
use crate::answer::problem::Problem;

/// Keeps nginx, and what understands its header, from holding a stream back
/// (<https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering>).
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The answer. Raw bytes have their type with the first message, so it waits for that one.
///
/// # Errors
/// What ends such a stream before its first message.
pub(crate) async fn response(feed: Feed) -> Result<Response, Problem> {
    match feed.framing {
        Framing::Raw => raw::response(feed).await,
        Framing::Sse if feed.complete => Ok(nothing_follows()),
        Framing::Sse | Framing::Ndjson => Ok(frames(feed)),
    }
}

/// Makes a browser's `EventSource` stop: it reconnects after every other end of a stream (WHATWG HTML, section 9.2.3).
fn nothing_follows() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn frames(feed: Feed) -> Response {
    let (content_type, begin) = (feed.framing.content_type(), feed.framing.begin());
    let begin = stream::iter((!begin.is_empty()).then_some(Ok(begin)));
    // The request's: what goes wrong is logged with its id.
    let span = Span::current();
    let frames = stream::unfold(Some((feed, None)), move |state| {
        let next = async {
            let (mut feed, mut last) = state?;
            let (mut frame, mut goes_on) = next(&mut feed, &mut last).await;
            // An empty chunk would end a chunked body.
            while frame.is_empty() && goes_on {
                (frame, goes_on) = next(&mut feed, &mut last).await;
            }
            (!frame.is_empty()).then(|| (Ok::<_, Infallible>(frame), goes_on.then_some((feed, last))))
        };
        next.instrument(span.clone())
    });
    let mut response = Response::new(Body::from_stream(begin.chain(frames)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// The next frame, and whether others follow; `last` is the version in the last message.
async fn next(feed: &mut Feed, last: &mut Option<i64>) -> (Bytes, bool) {
    match feed.step().await {
        Step::Message(wire) => match feed.decoded(wire).await {
            Ok(decoded) => {
                *last = decoded.version.or(*last);
                (feed.framing.message(decoded), true)
            }
            Err(fault) => (feed.framing.error(&fault.into(), &feed.style, *last), false),
        },
        Step::Silence => (feed.framing.heartbeat(), true),
        Step::End => (feed.framing.end(*last), false),
        Step::Failed(problem) => (feed.framing.error(&problem, &feed.style, *last), false),
    }
}
