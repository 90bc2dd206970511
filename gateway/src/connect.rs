//! The Connect protocol (<https://connectrpc.com/docs/protocol>): calls of methods by their names, as JSON or protobuf over any version of
//! HTTP. They become calls of gRPC, and their answers Connect's again.

mod asked;
mod call;
mod envelope;
mod failure;
mod streaming;
mod unary;

use std::sync::Arc;

use axum::{body::Body, response::Response};
use chassis::metrics::{Call as Counted, Method as Counts};
use http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};

pub(crate) use self::asked::Asked;
use self::call::Call;
use crate::{admit::Client, contract::Called, edge::Edge};

/// Answers a call of this method.
pub(crate) async fn answer(
    edge: &Edge,
    (parts, body): (Parts, Body),
    client: Client,
    (called, counts): (Arc<Called>, Arc<Counts>),
    asked: Asked,
) -> Response {
    if asked.streams != called.streams || (parts.method == Method::GET && !called.is_safe()) {
        return unsupported(&parts.method, called.streams);
    }
    let counted = Some(Counted::begin(&counts));
    let call = Call { edge, client: &client, called, counted, asked };
    if asked.streams {
        return streaming::answer(call, parts, body).await;
    }
    unary::answer(call, parts, body).await.unwrap_or_else(|status| failure::response(&status))
}

/// A method that is called in a way that is not its own: 405 for one that must not be called by GET, otherwise 415.
fn unsupported(method: &Method, streams: bool) -> Response {
    let mut response = Response::new(Body::empty());
    let (status, name, value) = match (method, streams) {
        (&Method::GET, _) => (StatusCode::METHOD_NOT_ALLOWED, header::ALLOW, "POST"),
        (_, true) => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ACCEPT_POST,
            "application/connect+json, application/connect+proto",
        ),
        (_, false) => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, ACCEPT_POST, "application/json, application/proto")
        }
    };
    *response.status_mut() = status;
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// What a method takes (<https://www.w3.org/TR/ldp/#header-accept-post>).
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
