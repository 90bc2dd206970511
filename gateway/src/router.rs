//! The layers around the one handler, outermost first.

use std::{any::Any, sync::Arc};

use axum::{Router, body::Body, extract::Request, middleware::from_fn_with_state, response::Response};
use chassis::{
    clock::Clock,
    status::{Fault, Reason},
    trace,
};
use http::{HeaderValue, header};
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer,
        predicate::{NotForContentType, Predicate, SizeAbove},
    },
    map_response_body::MapResponseBodyLayer,
    request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
    sensitive_headers::SetSensitiveRequestHeadersLayer,
    trace::{DefaultOnResponse, TraceLayer},
};
use tracing::{Level, Span};

use crate::{
    answer::answer,
    docs,
    edge::Edge,
    headers::X_REQUEST_ID,
    limit::limit,
    problem::{Problem, Style},
    stream::NDJSON,
};

/// Longest request id that is taken over from a client, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// The edge as a service that can be mounted or served. Deadlines are the handler's: it alone knows how long a request
/// wants to wait, and a stream has none.
pub fn router(edge: Edge) -> Router {
    let layers = ServiceBuilder::new()
        .map_request(drop_unusable_request_id)
        .layer(SetRequestIdLayer::new(X_REQUEST_ID, NewRequestId(Arc::clone(edge.clock()))))
        .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION]))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(span)
                .on_request(())
                .on_response(DefaultOnResponse::new().level(Level::INFO))
                .on_failure(()),
        )
        .layer(PropagateRequestIdLayer::new(X_REQUEST_ID))
        .option_layer(edge.cors())
        .layer(CatchPanicLayer::custom(panicked))
        .option_layer(edge.limits().map(|limits| from_fn_with_state(limits, limit)))
        .option_layer(edge.compresses().then(|| (MapResponseBodyLayer::new(Body::new), compression())));
    docs::router(&edge).fallback(answer).with_state(edge).layer(layers)
}

/// What is shorter gains nothing, and a stream would be held back until there is enough of it.
fn compression() -> CompressionLayer<impl Predicate> {
    let worthwhile = SizeAbove::new(256)
        .and(NotForContentType::GRPC)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new(NDJSON));
    CompressionLayer::new().compress_when(worthwhile)
}

#[derive(Debug, Clone)]
struct NewRequestId(Arc<dyn Clock>);

impl MakeRequestId for NewRequestId {
    fn make_request_id<B>(&mut self, _: &http::Request<B>) -> Option<RequestId> {
        HeaderValue::from_str(&self.0.new_id().to_string()).ok().map(RequestId::new)
    }
}

/// A client's request id goes into logs and metadata: one that is too long or not printable gives way to a new one.
fn drop_unusable_request_id(mut request: Request) -> Request {
    let usable = |id: &HeaderValue| !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.to_str().is_ok();
    let mut ids = request.headers().get_all(X_REQUEST_ID).iter();
    if !(ids.next().is_none_or(usable) && ids.next().is_none()) {
        request.headers_mut().remove(X_REQUEST_ID);
    }
    request
}

/// The query stays out of the log: it may hold what nobody but the service should read.
fn span(request: &Request) -> Span {
    let id = request.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let parent = trace::incoming(request.headers());
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        http.method = %request.method(),
        http.path = request.uri().path(),
        request.id = id,
        trace.parent = parent,
    );
    trace::join(&span, parent);
    span
}

fn panicked(_: Box<dyn Any + Send>) -> Response<Body> {
    tracing::error!("a request made the edge panic");
    let style = Style::of(&http::HeaderMap::new(), "");
    Problem::from(Fault::new(Reason::Internal, "internal error")).into_response(&style)
}
