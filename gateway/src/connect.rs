//! The Connect protocol (<https://connectrpc.com/docs/protocol>): calls of methods by their names, as JSON or protobuf over any version of
//! HTTP. They become calls of gRPC, and their answers Connect's again.

mod asked;
mod call;
mod failure;
mod streaming;
mod unary;

use std::sync::Arc;

use axum::{body::Body, response::Response};
use chassis::{
    metrics::Call as Counted,
    status::{Fault, Reason},
};
use http::{HeaderName, HeaderValue, Method, header, request::Parts};
use tonic::Status;

use self::{asked::Asked, call::Call, failure::Failure};
use crate::{
    admit::{Client, Standing},
    contract::Called,
    edge::Edge,
    metrics::Seen,
};

/// Answers a request for the path of this method, which is none of a route.
pub(crate) async fn answer(
    edge: &Edge,
    (parts, body): (Parts, Body),
    client: &Client,
    called: &Arc<Called>,
    seen: &mut Seen,
    standing: &mut Option<Standing>,
) -> Response {
    let Some(asked) = Asked::of(&parts, called) else {
        // Nobody is asked who sends what is not called.
        return match edge.admission.count(&client.who(None), None, standing) {
            Ok(()) => unsupported(&parts.method, called),
            Err(fault) => Failure::from(Status::from(fault)).response(None),
        };
    };
    *seen = Seen::Call(Arc::clone(&called.over_connect));
    let counted = Counted::begin(&called.over_connect);
    let call = Call { edge, client, called, asked };
    if asked.streams {
        streaming::answer(call, parts, body, counted, standing).await
    } else {
        unary::answer(&call, parts, body, counted, standing).await
    }
}

/// A method that is called in a way that is not its own: 405 where it is the verb, otherwise 415.
fn unsupported(method: &Method, called: &Called) -> Response {
    let by_get = called.is_safe && !called.streams;
    let is_verb = *method == Method::POST || *method == Method::GET && by_get;
    let types = match called.streams {
        true => "application/connect+json, application/connect+proto",
        false => "application/json, application/proto",
    };
    let (reason, problem, name, value) = if is_verb {
        let problem = format!("a call of this method is one of {types}; by GET, `encoding` is json or proto");
        (Reason::UnsupportedMediaType, problem, ACCEPT_POST, types)
    } else {
        let verbs = if by_get { "GET, POST" } else { "POST" };
        (Reason::MethodNotAllowed, format!("this method is called by {verbs}"), header::ALLOW, verbs)
    };
    let mut response = Failure::from(Status::from(Fault::new(reason, problem))).response(None);
    *response.status_mut() = reason.http();
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// What a method takes (<https://www.w3.org/TR/ldp/#header-accept-post>).
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
