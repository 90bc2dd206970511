//! Calls with one message each way: the message is the body.

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, Method, header, request::Parts};
use http_body_util::{BodyExt as _, Full};
use tokio::time::Instant;
use tonic::{Status, body::Body as GrpcBody};
use upstream::{cut_off, too_large};

use super::{
    asked::of_query,
    call::{Call, ended, is_of_service},
    envelope::{Envelopes, enveloped},
};
use crate::{grpc::within, request::body};

/// What metadata begins with that comes after the message.
const TRAILER: &str = "trailer-";

/// The answer of a service may be so long, as over HTTP/JSON.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// The answer, or the status where that is an error.
pub(super) async fn answer(mut call: Call<'_>, mut parts: Parts, body: Body) -> Result<Response, Status> {
    let body = if parts.method == Method::GET { of_query(&mut parts)? } else { body };
    let (limit, deadline) = (call.limit(), Instant::now() + call.edge.config.request_timeout);
    let read = within(Some(deadline), body::read(&parts.headers, body, &limit, false));
    let received = read.await?.map_err(|problem| problem.status())?;
    let wire = call.called.wire(call.asked.form, &received.bytes, call.edge.config.lenient)?;
    let wire = GrpcBody::new(Full::new(enveloped(0, &wire)));
    let (head, mut body) = call.made(parts, wire).await?.into_parts();
    let (mut envelopes, mut trailers) = (Envelopes::default(), HeaderMap::new());
    let mut length = 0;
    while let Some(frame) = body.frame().await.transpose()? {
        match frame.into_data() {
            Ok(data) => {
                length += data.len();
                if length > MAX_ANSWER_BYTES {
                    return Err(too_large().into());
                }
                envelopes.push(&data);
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    ended(&head.headers, &trailers)?;
    let (_, message) = envelopes.next(MAX_ANSWER_BYTES)?.ok_or_else(cut_off)?;
    let mut response = Response::new(Body::from(call.called.printed(call.asked.form, message)?));
    let headers = response.headers_mut();
    for (name, value) in head.headers.iter().filter(|(name, _)| is_of_service(name)) {
        headers.append(name, value.clone());
    }
    for (name, value) in trailers.iter().filter(|(name, _)| is_of_service(name)) {
        if let Ok(name) = HeaderName::try_from(format!("{TRAILER}{name}")) {
            headers.append(name, value.clone());
        }
    }
    headers.insert(header::CONTENT_TYPE, call.asked.content_type());
    Ok(response)
}
