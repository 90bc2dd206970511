//! gRPC and gRPC-Web on the same port: calls of the services that have routes travel on as they are.

mod fault;
mod passing;

use std::{
    convert::{self, Infallible},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{body::Body, extract::Request, response::Response};
use chassis::{
    deadline,
    metrics::Call as Counted,
    status::{Fault, Reason},
    trace,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt as _, Full};
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Status, body::Body as GrpcBody};
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tracing::Span;
use upstream::{GRPC_TIMEOUT, check_length, grpc_timeout, of_http};

use self::{
    fault::{deadline_exceeded, fault},
    passing::{Held, Pace, Passing, end, note},
};
use crate::{
    admit::{Admitted, Client},
    answer::problem::{Problem, Style},
    contract::Called,
    edge::Edge,
    metrics::Seen,
    request::{
        body::{self, BodyLimit, Received},
        headers,
    },
    settings::timeout::LONGEST,
};

const GRPC: &str = "application/grpc";
/// What tonic-web reads: binary and base64.
const GRPC_WEB: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];

/// What a service may have sent of an answer that its client does not take: the window of its call.
const UNTAKEN: usize = 64 << 10;

/// The longest message that services of gRPC take by default, with its prefix: so long a body of a call may always be.
const MESSAGE_BYTES: usize = (4 << 20) + 5;

/// Headers that the call to the service gets anew; `Expect` was the edge's to answer.
const LEFT_OUT: [HeaderName; 3] = [header::HOST, header::CONTENT_LENGTH, header::EXPECT];

/// Answers a gRPC or gRPC-Web call.
pub(crate) async fn answer(edge: &Edge, request: Request, client: Client, seen: &mut Seen) -> Response {
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
        Ok::<_, Infallible>(answered(edge, call, &client, called.as_deref(), counted).await)
    });
    let Ok(response) = GrpcWebLayer::new().layer(call).oneshot(request).await;
    response.map(Body::new)
}

/// What the service of a call answers, or the edge in its place.
pub(crate) async fn answered(
    edge: &Edge,
    request: http::Request<GrpcBody>,
    client: &Client,
    called: Option<&Called>,
    mut counted: Option<Counted>,
) -> http::Response<GrpcBody> {
    match forward(edge, request, client, called, &mut counted).await {
        Ok(response) => response,
        Err(fault) => {
            let status = Status::from(fault);
            end(&mut counted, status.code(), &Span::current());
            status.into_http()
        }
    }
}

async fn forward(
    edge: &Edge,
    request: http::Request<GrpcBody>,
    client: &Client,
    called: Option<&Called>,
    counted: &mut Option<Counted>,
) -> Result<http::Response<GrpcBody>, Fault> {
    let Some(called) = called else {
        edge.admission.count(&client.who(None), None, &mut None)?;
        return Err(Fault::new(Reason::Unimplemented, "no service of the edge has this method"));
    };
    let method = request.uri().path();
    let by = (method, called.rule.as_ref());
    // Of a stream its client knows how long it lasts.
    let asked = time(request.headers());
    let usual = edge.config.request_timeout;
    let time = if called.streams { asked } else { Some(asked.unwrap_or(usual).min(LONGEST)) };
    let deadline = time.map(|time| Instant::now() + time);
    let standing = &mut None;
    let admitted = edge.admission.admit(client, request.headers(), by, standing);
    let Admitted { who, expires } = within(deadline, admitted).await??;
    let open = called.streams.then(|| edge.admission.streams.open(&who, method)).transpose()?;
    // What its client says travels as it is spelled, within the bound.
    let request = outgoing(request, time.filter(|_| !called.streams && asked != time));
    check_length(request.headers())?;
    // Streams are counted, and bounded for each caller, by themselves. Of other calls the body comes first: clients that send slowly would
    // take the slots of all others, and their places on the connections to the service.
    let (request, slot, _received) = if called.streams {
        (request, None, None)
    } else {
        let (request, received) = within(deadline, whole(edge, request, client)).await??;
        (request, Some(edge.admission.slot(called.service(), &who)?), Some(received))
    };
    let writes = !called.streams && !called.reads;
    let outcome = within(deadline, called.upstream.pass(request, called.streams)).await?;
    let response = outcome.map_err(|status| fault(&status, writes))?;
    if response.status() != StatusCode::OK && !response.headers().contains_key(Status::GRPC_STATUS) {
        return Err(fault(&of_http(response.status()), writes));
    }
    let mut counted = counted.take();
    note(&mut counted, response.headers(), &Span::current());
    // A stream counts among the streams from now on, any other call is open until its client has taken the answer.
    let place = match open {
        Some(open) => Held::Stream(open),
        None => Held::Request(slot, client.answers.count(UNTAKEN)),
    };
    let pace = (!called.streams).then(|| Pace::begin(edge.config.idle_timeout));
    let account = Arc::clone(&client.answers);
    let stopping = called.streams.then(|| Box::pin(edge.ending.stopping.clone().cancelled_owned()));
    let expiry = expires.filter(|_| called.streams).map(|expires| Box::pin(sleep_until(expires)));
    Ok(response.map(|body| {
        let body = Some(body);
        let span = Span::current();
        GrpcBody::new(Passing { body, stopping, expiry, writes, pace, account, counted, _held: place, span })
    }))
}

/// What comes of `work` before the deadline, if there is one.
pub(crate) async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Result<T, Fault> {
    match deadline {
        None => Ok(work.await),
        Some(deadline) => timeout_at(deadline, work).await.map_err(|_| deadline_exceeded()),
    }
}

/// The request once all of its body is there, and the body, which counts until it is dropped.
async fn whole(
    edge: &Edge,
    request: http::Request<GrpcBody>,
    client: &Client,
) -> Result<(http::Request<GrpcBody>, Received), Fault> {
    let each = edge.config.max_body_bytes.max(MESSAGE_BYTES);
    let limit = BodyLimit { each, account: Arc::clone(&client.bodies) };
    let (head, body) = request.into_parts();
    let received = body::collect(Body::new(body), &limit).await?;
    let body = GrpcBody::new(Full::new(received.bytes.clone()));
    Ok((http::Request::from_parts(head, body), received))
}

/// How long a client waits, when that can be read.
fn time(headers: &HeaderMap) -> Option<Duration> {
    headers.get(GRPC_TIMEOUT).and_then(|time| deadline::parse(time.to_str().ok()?))
}

/// The request as the service gets it, with the `time` that it has where its client does not say it.
fn outgoing(request: http::Request<GrpcBody>, time: Option<Duration>) -> http::Request<GrpcBody> {
    let (parts, body) = request.into_parts();
    // Without the length that tonic-web gives to text: it is that before decoding, and the service would refuse the body.
    let mut outgoing = http::Request::new(GrpcBody::new(body.map_frame(convert::identity)));
    *outgoing.method_mut() = parts.method;
    *outgoing.version_mut() = Version::HTTP_2;
    *outgoing.uri_mut() = parts.uri.into_parts().path_and_query.map(Uri::from).unwrap_or_default();
    *outgoing.headers_mut() = parts.headers;
    let headers = outgoing.headers_mut();
    headers::remove_hops(headers);
    for name in LEFT_OUT {
        headers.remove(name);
    }
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    if let Some(own) = trace::onward(None).and_then(|own| HeaderValue::from_str(&own).ok()) {
        headers.insert(trace::TRACEPARENT, own);
    }
    if let Some(time) = time {
        headers.insert(GRPC_TIMEOUT, grpc_timeout(time));
    }
    outgoing
}
