//! A stream of `google.api.HttpBody`: the bytes of its messages as one body, with the type of the first.

use std::io;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header;
use tracing::{Instrument as _, Span};
use transcode::Payload;

use super::feed::{Feed, Step};
use crate::{
    answer::{payload::unprintable, problem::Problem},
    request::headers,
};

/// The answer, once the first message has said of what type it is.
///
/// # Errors
/// What ends the stream before its first message.
pub(super) async fn response(mut feed: Feed) -> Result<Response, Problem> {
    let Some(Payload { content_type, data }) = next(&mut feed).await? else {
        return Ok(Response::new(Body::empty()));
    };
    let first = stream::iter((!data.is_empty()).then_some(Ok(data)));
    // The request's: what goes wrong is logged with its id.
    let span = Span::current();
    let others = stream::unfold(Some(feed), move |feed| other(feed).instrument(span.clone()));
    let mut response = Response::new(Body::from_stream(first.chain(others)));
    response.headers_mut().insert(header::CONTENT_TYPE, headers::media_type(&content_type));
    Ok(response)
}

/// The next bytes, and the feed unless they are the last ones.
async fn other(feed: Option<Feed>) -> Option<(io::Result<Bytes>, Option<Feed>)> {
    let mut feed = feed?;
    loop {
        match next(&mut feed).await {
            // An empty chunk would end a chunked body.
            Ok(Some(payload)) if payload.data.is_empty() => {}
            Ok(Some(payload)) => return Some((Ok(payload.data), Some(feed))),
            Ok(None) => return None,
            // Bytes of any type have no place for an error: the body breaks off, which no client takes for its end.
            Err(_) => return Some((Err(io::Error::other("the stream failed")), None)),
        }
    }
}

/// The next message; `None` after the last one.
async fn next(feed: &mut Feed) -> Result<Option<Payload>, Problem> {
    loop {
        return match feed.step().await {
            Step::Message(wire) => {
                let payload = transcode::response_payload(&feed.served.route, &wire);
                let payload = payload.map_err(unprintable)?;
                feed.account.check(payload.data.len())?;
                Ok(Some(payload))
            }
            Step::Silence => continue,
            Step::End => Ok(None),
            Step::Failed(problem) => Err(problem),
        };
    }
}
