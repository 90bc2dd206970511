//! gRPC and gRPC-Web on the same port: calls of the services that have routes travel on as they are.

mod fault;
mod forward;
mod json;
mod passing;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{body::Body, extract::Request, response::Response};
use chassis::{
    metrics::Call as Counted,
    status::{Fault, Reason},
};
use futures_util::FutureExt as _;
use http::{HeaderValue, Version, header};
use tonic::{Status, body::Body as GrpcBody};
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tracing::Span;

use self::passing::{CodeOf, Passing};
pub(crate) use self::{
    fault::fault,
    forward::{Asked, Begun, Sent, forward},
    passing::end,
};
use crate::{
    admit::Client,
    answer::problem::{Problem, Style},
    contract::{Called, Form},
    edge::Edge,
    metrics::Seen,
    request::body::{self, BodyLimit},
};

const GRPC: &str = "application/grpc";
/// What tonic-web reads: binary and base64.
const GRPC_WEB: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];

/// The same with messages in JSON, and as what tonic-web reads it.
const WEB_JSON: [(&str, &str); 2] = [
    ("application/grpc-web+json", "application/grpc-web+proto"),
    ("application/grpc-web-text+json", "application/grpc-web-text+proto"),
];

/// The longest message that services of gRPC take by default, with its prefix: so long a body of a call may always be.
const MESSAGE_BYTES: usize = (4 << 20) + 5;

/// Answers a gRPC or gRPC-Web call.
pub(crate) async fn answer(edge: &Edge, mut request: Request, client: Client, seen: &mut Seen) -> Response {
    let in_json = in_json(&mut request);
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    let native = content_type == GRPC || content_type.starts_with("application/grpc+");
    if !(GRPC_WEB.contains(&content_type) || native && request.version() == Version::HTTP_2) {
        let problem = "gRPC needs HTTP/2; over HTTP/1.1 there is gRPC-Web, as application/grpc-web or application/grpc-web-text";
        let style = Style::of(request.headers(), request.uri().path());
        return Problem::from(Fault::new(Reason::UnsupportedMediaType, problem)).into_response(&style);
    }
    let (called, counted) = edge.thread.method(request.uri().path());
    *seen = Seen::Call(Arc::clone(&counted));
    let counted = Counted::begin(&counted);
    let counted = Mutex::new(Some(counted));
    let call = service_fn(|call| async {
        // There is one call.
        let counted = counted.lock().unwrap_or_else(PoisonError::into_inner).take();
        let begun = begun(edge, call, &client, called.as_ref(), in_json.as_ref()).await;
        Ok::<_, Infallible>(answered(edge, &client, counted, begun, Status::code))
    });
    let Ok(mut response) = GrpcWebLayer::new().layer(call).oneshot(request).await;
    if let Some(InJson { kind, .. }) = in_json {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response.map(Body::new)
}

/// A call with messages in JSON.
struct InJson {
    /// Its type.
    kind: &'static str,
    /// How its messages are compressed.
    coding: Option<HeaderValue>,
}

/// Whether messages are in JSON. The call becomes one that tonic-web reads, and says no more of codings: its service gets what the edge
/// makes of a message, and its answer is read here.
fn in_json(request: &mut Request) -> Option<InJson> {
    let headers = request.headers_mut();
    let given = headers.get(header::CONTENT_TYPE)?;
    let (kind, read) = WEB_JSON.into_iter().find(|(kind, _)| given == kind)?;
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        headers.insert(name, HeaderValue::from_static(read));
    }
    headers.remove("grpc-accept-encoding");
    Some(InJson { kind, coding: headers.remove("grpc-encoding") })
}

async fn begun(
    edge: &Edge,
    request: http::Request<GrpcBody>,
    client: &Client,
    called: Option<&Arc<Called>>,
    in_json: Option<&InJson>,
) -> Result<Begun, Fault> {
    let Some(called) = called else {
        edge.admission.count(&client.who(None), None, &mut None)?;
        return Err(Fault::new(Reason::Unimplemented, "no service of the edge has this method"));
    };
    let (head, body) = request.into_parts();
    let (each, account) = (edge.config.max_body_bytes, Arc::clone(&client.bodies));
    let asked = |sent| Asked { edge, client, called, head, sent };
    if let Some(InJson { coding, .. }) = in_json {
        // As long as over HTTP/JSON: it becomes much more.
        let limit = BodyLimit { each, account };
        let sent = json::sent(body, limit, called, edge.config.lenient, coding.as_ref());
        if sent.is_err() {
            // Nobody is asked who sends what is not called.
            edge.admission.count(&client.who(None), None, &mut None)?;
        }
        let sent = sent?;
        return Ok(forward(asked(sent), &mut None).await?.in_form(called, Form::Json));
    }
    let limit = BodyLimit { each: each.max(MESSAGE_BYTES), account };
    let sent = match called.client_streams {
        true => Sent::Stream(body),
        false => Sent::Message(async move { body::collect(Body::new(body), &limit).await }.boxed()),
    };
    forward(asked(sent), &mut None).await
}

/// The answer to a call on its way to its client, or a failure in its place.
pub(crate) fn answered(
    edge: &Edge,
    client: &Client,
    mut counted: Option<Counted>,
    begun: Result<Begun, Fault>,
    code_of: CodeOf,
) -> http::Response<GrpcBody> {
    match begun {
        Ok(begun) => Passing::of(edge, client, counted, begun, code_of),
        Err(fault) => {
            let status = Status::from(fault);
            end(&mut counted, code_of(&status), &Span::current());
            status.into_http()
        }
    }
}
