//! Calls with one message each way: the message is the body.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use chassis::{
    metrics::Call as Counted,
    status::{Fault, Reason},
};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, Method, header, request::Parts};
use tonic::{Code, Status};
use tracing::Span;
use upstream::cut_off;

use super::{
    asked::of_query,
    call::{Call, head, of_service, status},
    failure::Failure,
};
use crate::{
    admit::Standing,
    contract::Form,
    grpc::{Begun, Sent, end, fault},
    messages::{
        answer::{Answer, Part, wrong},
        envelope::enveloped,
    },
    request::{
        body::{self, READ, Received},
        deadline::within,
        fields,
    },
};

/// What metadata begins with that comes after the message.
const TRAILER: &str = "trailer-";

/// The answer.
pub(super) async fn answer(
    call: &Call<'_>,
    parts: Parts,
    body: Body,
    counted: Counted,
    standing: &mut Option<Standing>,
) -> Response {
    let mut metadata = [HeaderMap::new(), HeaderMap::new()];
    let (mut response, code) = match message(call, parts, body, &mut metadata, standing).await {
        Ok(message) => (Response::new(Body::from(message)), Code::Ok),
        Err(status) => {
            let failure = Failure::from(status);
            (failure.response(Some((&**call.called, call.asked.form))), failure.code)
        }
    };
    end(&mut Some(counted), code, &Span::current());
    let headers = response.headers_mut();
    let [leading, trailing] = &metadata;
    for (name, value) in of_service(leading) {
        headers.append(name, value.clone());
    }
    for (name, value) in of_service(trailing) {
        if let Ok(name) = HeaderName::try_from(format!("{TRAILER}{name}")) {
            headers.append(name, value.clone());
        }
    }
    if code == Code::Ok {
        headers.insert(header::CONTENT_TYPE, call.asked.content_type());
    }
    response
}

/// The message of the answer, in the form of the request, and the `metadata` that the service has for its caller before and after it.
async fn message(
    call: &Call<'_>,
    parts: Parts,
    body: Body,
    metadata: &mut [HeaderMap; 2],
    standing: &mut Option<Standing>,
) -> Result<Bytes, Status> {
    let Begun { response, writes, deadline, held: _held, .. } = begun(call, parts, body, standing).await?;
    let (head, body) = response.into_parts();
    metadata[0] = head.headers;
    let [leading, trailing] = metadata;
    // As it is on the wire: only what comes behind it says whether the call took effect.
    let answer = Answer::of(body, call.called, Form::Proto);
    let message = within(deadline, collected(answer, trailing)).await?;
    let message = message.map_err(|status| fault(&status, writes))?;
    match status(leading, trailing) {
        Some(status) if status.code() == Code::Ok => {}
        Some(status) => return Err(status),
        None => return Err(fault(&cut_off(), writes).into()),
    }
    // It has said that all is well.
    let message = message.ok_or_else(|| wrong("the answer has no message"))?;
    let printed = call.called.printed(call.asked.form, message);
    // What a write has done is answered, however much is being answered already, and however long it is printed.
    let message = within(deadline.filter(|_| !writes), printed).await??;
    if !writes {
        call.client.answers.check(message.len())?;
    }
    Ok(message)
}

async fn begun(
    call: &Call<'_>,
    mut parts: Parts,
    body: Body,
    standing: &mut Option<Standing>,
) -> Result<Begun, Fault> {
    let body = if parts.method == Method::GET { of_query(&mut parts) } else { Ok(body) };
    let headers = parts.headers.clone();
    let prepared = body.and_then(|body| Ok((body, head(parts)?)));
    let prepared = prepared.map(|(body, head)| (head, Sent::Message(received(*call, headers, body).boxed())));
    call.begin(prepared, standing).await
}

/// The message as the service gets it.
async fn received(call: Call<'_>, headers: HeaderMap, body: Body) -> Result<Received, Fault> {
    let Call { edge, called, asked, .. } = call;
    let received = body::unpacked(&headers, body, &call.limit()).await?;
    let unread = || format!("the message has a coding that is not read; {READ} are");
    let received = received.ok_or_else(|| Fault::new(Reason::Unimplemented, unread()))?;
    let wire = called.wire(asked.form, &received.bytes, edge.config.lenient).await?;
    received.becomes(enveloped(0, &fields::bound(wire, &headers, &called.input(), called.is_safe)?))
}

/// The one message of an answer, if it has one, and its trailers.
async fn collected(mut answer: Answer, trailers: &mut HeaderMap) -> Result<Option<Bytes>, Status> {
    let mut message = None;
    while let Some(part) = answer.next().await? {
        match part {
            Part::Message(_) if message.is_some() => return Err(wrong("the answer has several messages")),
            Part::Message(one) => message = Some(one),
            Part::Trailers(found) => *trailers = found,
        }
    }
    Ok(message)
}
