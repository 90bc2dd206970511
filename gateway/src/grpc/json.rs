//! Calls whose messages are in JSON, for services that know protobuf.

use std::sync::Arc;

use axum::body::Body;
use chassis::status::Fault;
use futures_util::FutureExt as _;
use http::HeaderValue;
use http_body_util::StreamBody;
use tonic::body::Body as GrpcBody;

use super::forward::Sent;
use crate::{
    contract::{Called, Form},
    messages::{envelope::enveloped, sent},
    request::body::BodyLimit,
};

/// What a client sends in JSON, in messages of this coding.
///
/// # Errors
/// UNIMPLEMENTED for a coding that is not read.
pub(super) fn sent(
    body: GrpcBody,
    limit: BodyLimit,
    called: &Arc<Called>,
    lenient: bool,
    coding: Option<&HeaderValue>,
) -> Result<Sent<'static>, Fault> {
    let sent = sent::Sent::of(Body::new(body), limit, called, Form::Json, lenient).coded(coding)?;
    if called.client_streams {
        return Ok(Sent::Stream(GrpcBody::new(StreamBody::new(sent.messages()))));
    }
    let message = async {
        let message = sent.message().await?;
        let envelope = enveloped(0, &message.bytes);
        message.becomes(envelope)
    };
    Ok(Sent::Message(message.boxed()))
}
