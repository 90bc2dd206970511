//! Calls whose messages stream: each is in an envelope, and the last envelope of the answer says how the stream ended.

use std::{convert::Infallible, io::Read as _, sync::Arc};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use chassis::status::{Fault, Reason};
use flate2::read::MultiGzDecoder;
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::{Value, json};
use tonic::{Status, body::Body as GrpcBody};

use super::{
    call::{Call, STREAM_CODING, ended, is_of_service},
    envelope::{COMPRESSED, END, Envelopes, enveloped},
    failure,
};
use crate::{
    admit::Permit,
    contract::{Called, Form},
    request::body::BodyLimit,
};

/// What a message of a service may take, as over HTTP/JSON.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// The answer, which is 200 in any case.
pub(super) async fn answer(mut call: Call<'_>, parts: Parts, body: Body) -> Response {
    let (asked, called, lenient) = (call.asked, Arc::clone(&call.called), call.edge.config.lenient);
    let answered = match Sent::of(&call, &parts.headers, body) {
        Ok(sent) => call.made(parts, GrpcBody::new(StreamBody::new(sent.messages(lenient)))).await,
        Err(fault) => Err(fault),
    };
    let mut response = match answered {
        Err(fault) => Response::new(Body::from(end(Err(fault.into()), &HeaderMap::new()))),
        Ok(answered) => {
            let (head, body) = answered.into_parts();
            let answer = Answered {
                body,
                head: head.headers,
                envelopes: Envelopes::default(),
                called,
                form: asked.form,
                is_over: false,
            };
            let leading = answer.head.clone();
            let mut response = Response::new(Body::from_stream(answer.envelopes()));
            for (name, value) in leading.iter().filter(|(name, _)| is_of_service(name)) {
                response.headers_mut().append(name, value.clone());
            }
            response
        }
    };
    response.headers_mut().insert(header::CONTENT_TYPE, asked.content_type());
    response
}

/// What the client sends.
struct Sent {
    body: Body,
    envelopes: Envelopes,
    /// What has come and is no whole message yet.
    permit: Permit,
    limit: BodyLimit,
    called: Arc<Called>,
    form: Form,
}

impl Sent {
    fn of(call: &Call<'_>, headers: &HeaderMap, body: Body) -> Result<Self, Fault> {
        let read = |coding: &HeaderValue| [&b"gzip"[..], b"identity"].contains(&coding.as_bytes());
        if !headers.get(STREAM_CODING).is_none_or(read) {
            let problem = "messages of a stream are read in gzip or without a coding";
            return Err(Fault::new(Reason::Unimplemented, problem));
        }
        let limit = call.limit();
        let permit = limit.account.nothing();
        let (called, form) = (Arc::clone(&call.called), call.asked.form);
        Ok(Self { body, envelopes: Envelopes::default(), permit, limit, called, form })
    }

    /// The messages as the service gets them.
    fn messages(self, lenient: bool) -> impl Stream<Item = Result<Frame<Bytes>, Status>> + Send {
        stream::try_unfold(self, move |mut sent| async move {
            let message = sent.next(lenient).await?;
            Ok(message.map(|wire| (Frame::data(enveloped(0, &wire)), sent)))
        })
    }

    async fn next(&mut self, lenient: bool) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some((flags, message)) = self.envelopes.next(self.limit.each)? {
                self.permit = self.limit.account.nothing();
                let message = match flags {
                    0 => message,
                    COMPRESSED => gunzip(&message, self.limit.each)?,
                    _ => return Err(Status::invalid_argument("an envelope has flags that no message has")),
                };
                return self.called.wire(self.form, &message, lenient).map(Some);
            }
            match self.body.frame().await {
                None if self.envelopes.is_empty() => return Ok(None),
                None | Some(Err(_)) => return Err(Status::invalid_argument("the body broke off")),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.permit.grow(data.len()).map_err(Status::from)?;
                        self.envelopes.push(&data);
                    }
                }
            }
        }
    }
}

fn gunzip(message: &[u8], most: usize) -> Result<Bytes, Status> {
    let mut unpacked = Vec::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(message).take(bound).read_to_end(&mut unpacked);
    match read {
        Ok(_) if unpacked.len() <= most => Ok(unpacked.into()),
        Ok(_) => Err(Status::resource_exhausted(format!("a message is larger than {most} bytes"))),
        Err(_) => Err(Status::invalid_argument("a message is not in gzip")),
    }
}

/// What the service answers.
struct Answered {
    body: GrpcBody,
    head: HeaderMap,
    envelopes: Envelopes,
    called: Arc<Called>,
    form: Form,
    is_over: bool,
}

impl Answered {
    fn envelopes(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut answered| async move {
            if answered.is_over {
                return None;
            }
            let envelope = match answered.next().await {
                Ok(message) => message,
                Err(ended) => {
                    answered.is_over = true;
                    ended
                }
            };
            Some((Ok(envelope), answered))
        })
    }

    /// The next message, or the end.
    async fn next(&mut self) -> Result<Bytes, Bytes> {
        let failed = |status: Status| end(Err(status), &HeaderMap::new());
        loop {
            if let Some((_, message)) = self.envelopes.next(MAX_ANSWER_BYTES).map_err(failed)? {
                let printed = self.called.printed(self.form, message).map_err(failed)?;
                return Ok(enveloped(0, &printed));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.envelopes.push(&data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        return Err(end(ended(&self.head, &trailers), &trailers));
                    }
                },
                Some(Err(status)) => return Err(failed(status)),
                None => return Err(end(ended(&self.head, &HeaderMap::new()), &HeaderMap::new())),
            }
        }
    }
}

/// The last envelope (<https://connectrpc.com/docs/protocol#error-end-stream>).
fn end(outcome: Result<(), Status>, trailers: &HeaderMap) -> Bytes {
    let mut object = json!({});
    if let Err(status) = outcome {
        object["error"] = failure::object(&status);
    }
    for (name, value) in trailers.iter().filter(|(name, _)| is_of_service(name)) {
        let Ok(text) = value.to_str() else { continue };
        let values = &mut object["metadata"][name.as_str()];
        match values {
            Value::Array(values) => values.push(text.into()),
            other => *other = json!([text]),
        }
    }
    enveloped(END, object.to_string().as_bytes())
}
