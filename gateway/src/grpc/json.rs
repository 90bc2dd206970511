//! Calls whose messages are in JSON, for services that know protobuf.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use chassis::status::Fault;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tonic::{Status, body::Body as GrpcBody};
use upstream::too_large;

use super::forward::Sent;
use crate::{
    contract::{Called, Form},
    messages::{
        envelope::{Envelopes, enveloped},
        sent,
    },
    request::body::BodyLimit,
};

/// What a message of a service may take, as over HTTP/JSON.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// What a client sends in JSON.
pub(super) fn sent(body: GrpcBody, limit: BodyLimit, called: &Arc<Called>, lenient: bool) -> Sent<'static> {
    let sent = sent::Sent::of(Body::new(body), limit, called, Form::Json, lenient);
    if called.client_streams {
        return Sent::Stream(GrpcBody::new(StreamBody::new(sent.messages())));
    }
    let message = async { sent.message().await?.map(|wire| Ok(enveloped(0, &wire))) };
    Sent::Message(message.boxed())
}

/// An answer in JSON.
pub(super) fn answered(body: GrpcBody, called: &Arc<Called>) -> GrpcBody {
    let answer = Answer { body, envelopes: Envelopes::default(), called: Arc::clone(called), is_over: false };
    GrpcBody::new(StreamBody::new(answer.frames().boxed()))
}

struct Answer {
    body: GrpcBody,
    envelopes: Envelopes,
    called: Arc<Called>,
    is_over: bool,
}

impl Answer {
    fn frames(self) -> impl Stream<Item = Result<Frame<Bytes>, Status>> + Send {
        stream::unfold(self, |mut answer| async move {
            let frame = answer.next().await?;
            answer.is_over |= !frame.as_ref().is_ok_and(Frame::is_data);
            Some((frame, answer))
        })
    }

    /// The next message, or the end.
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, Status>> {
        while !self.is_over {
            match self.envelopes.next(MAX_ANSWER_BYTES) {
                Ok(None) => {}
                Ok(Some((_, message))) => {
                    let printed = self.called.printed(Form::Json, message);
                    return Some(Ok(printed.map_or_else(failed, |json| Frame::data(enveloped(0, &json)))));
                }
                Err(_) => return Some(Ok(failed(too_large()))),
            }
            match self.body.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => self.envelopes.push(&data),
                    Err(frame) => return Some(Ok(frame)),
                },
                Err(status) => return Some(Err(status)),
            }
        }
        None
    }
}

/// The end of an answer that cannot be put in JSON.
fn failed(fault: Fault) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    if Status::from(fault).add_header(&mut trailers).is_err() {
        tracing::error!("a status of the edge is no header");
    }
    Frame::trailers(trailers)
}
