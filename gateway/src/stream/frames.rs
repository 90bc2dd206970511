//! A stream as the body of an answer: server-sent events, or lines.

use std::convert::Infallible;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use tracing::{Instrument as _, Span};

use super::{
    feed::{Feed, Step},
    framing::Framing,
    raw,
};
use crate::answer::problem::Problem;

/// The answer. Raw bytes have their type with the first message, so it waits for that one.
///
/// # Errors
/// What ends such a stream before its first message.
pub(crate) async fn response(feed: Feed) -> Result<Response, Problem> {
    if feed.framing == Framing::Raw { raw::response(feed).await } else { Ok(frames(feed)) }
}

fn frames(feed: Feed) -> Response {
    let content_type = feed.framing.content_type();
    // The request's: what goes wrong is logged with its id.
    let span = Span::current();
    let frames = stream::unfold(Some(feed), move |feed| {
        let next = async {
            let mut feed = feed?;
            let (mut frame, mut goes_on) = next(&mut feed).await;
            // An empty chunk would end a chunked body.
            while frame.is_empty() && goes_on {
                (frame, goes_on) = next(&mut feed).await;
            }
            (!frame.is_empty()).then(|| (Ok::<_, Infallible>(frame), goes_on.then_some(feed)))
        };
        next.instrument(span.clone())
    });
    let mut response = Response::new(Body::from_stream(frames));
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The next frame, and whether others follow.
async fn next(feed: &mut Feed) -> (Bytes, bool) {
    match feed.step().await {
        Step::Message(wire) => match feed.decoded(wire) {
            Ok(decoded) => (feed.framing.message(decoded), true),
            Err(problem) => (feed.framing.error(&problem, &feed.style), false),
        },
        Step::Silence => (feed.framing.heartbeat(), true),
        Step::End => (feed.framing.end(), false),
        Step::Failed(problem) => (feed.framing.error(&problem, &feed.style), false),
    }
}
