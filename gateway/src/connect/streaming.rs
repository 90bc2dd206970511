//! Calls whose messages stream: each is in an envelope, and the last envelope of the answer says how the stream ended.

use std::{convert::Infallible, sync::Arc};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use chassis::{metrics::Call as Counted, status::Fault};
use futures_util::{FutureExt as _, Stream, stream};
use http::{HeaderMap, header, request::Parts};
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::{Value, json};
use tonic::{Code, Status, body::Body as GrpcBody};
use upstream::cut_off;

use super::{
    call::{Call, STREAM_CODING, head, of_service, status},
    failure::{Failure, code_of},
};
use crate::{
    admit::Standing,
    contract::{Called, Form},
    grpc::{self, Begun, answered},
    messages::{
        envelope::{END, enveloped},
        sent::Sent,
    },
    request::{body::Received, fields, headers::check_conditions},
};

/// The answer, which is 200 in any case.
pub(super) async fn answer(
    call: Call<'_>,
    parts: Parts,
    body: Body,
    counted: Counted,
    standing: &mut Option<Standing>,
) -> Response {
    let (called, form) = (Arc::clone(call.called), call.asked.form);
    let begun = begun(call, parts, body, standing).await.map(|begun| begun.in_form(&called, form));
    let (head, body) = answered(call.edge, call.client, Some(counted), begun, code_of).into_parts();
    let leading = head.headers.clone();
    let answer = Answered { body, head: head.headers, called, form, is_over: false };
    let mut response = Response::new(Body::from_stream(answer.envelopes()));
    let headers = response.headers_mut();
    for (name, value) in of_service(&leading) {
        headers.append(name, value.clone());
    }
    headers.insert(header::CONTENT_TYPE, call.asked.content_type());
    response
}

async fn begun(
    call: Call<'_>,
    parts: Parts,
    body: Body,
    standing: &mut Option<Standing>,
) -> Result<Begun, Fault> {
    let called = call.called;
    let headers = parts.headers.clone();
    let prepared = sent(&call, &headers, body).and_then(|sent| {
        // What streams is no one message that a condition could be put in.
        if called.client_streams {
            check_conditions(&headers)?;
        }
        Ok((sent, head(parts)?))
    });
    let prepared = prepared.map(|(sent, head)| match called.client_streams {
        true => (head, grpc::Sent::Stream(GrpcBody::new(StreamBody::new(sent.messages())))),
        false => (head, grpc::Sent::Message(message(Arc::clone(called), headers.clone(), sent).boxed())),
    });
    call.begin(prepared, standing).await
}

/// What the client sends.
fn sent(call: &Call<'_>, headers: &HeaderMap, body: Body) -> Result<Sent, Fault> {
    let lenient = call.edge.config.lenient;
    Sent::of(body, call.limit(), call.called, call.asked.form, lenient).coded(headers.get(STREAM_CODING))
}

/// The one message of a stream that its service sends, with what its headers stand for.
async fn message(called: Arc<Called>, headers: HeaderMap, sent: Sent) -> Result<Received, Fault> {
    let message = sent.message().await?;
    let wire = fields::bound(message.bytes.clone(), &headers, &called.input(), called.is_safe)?;
    message.becomes(enveloped(0, &wire))
}

/// What the service answers.
struct Answered {
    body: GrpcBody,
    head: HeaderMap,
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
        let none = HeaderMap::new();
        match self.body.frame().await {
            Some(Ok(frame)) => frame.into_data().map_err(|frame| {
                let trailers = frame.into_trailers().unwrap_or_default();
                let status = status(&self.head, &trailers).unwrap_or_else(cut_off);
                self.end(status, &trailers)
            }),
            Some(Err(status)) => Err(self.end(status, &none)),
            None => Err(self.end(status(&self.head, &none).unwrap_or_else(cut_off), &none)),
        }
    }

    /// The last envelope (<https://connectrpc.com/docs/protocol#error-end-stream>).
    fn end(&self, status: Status, trailers: &HeaderMap) -> Bytes {
        let mut object = json!({});
        if status.code() != Code::Ok {
            object["error"] = Failure::from(status).object(Some((&*self.called, self.form)));
        }
        for (name, value) in of_service(trailers) {
            let Ok(text) = value.to_str() else { continue };
            let values = &mut object["metadata"][name.as_str()];
            match values {
                Value::Array(values) => values.push(text.into()),
                other => *other = json!([text]),
            }
        }
        enveloped(END, object.to_string().as_bytes())
    }
}
