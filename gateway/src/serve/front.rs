//! What every request gets, whatever it asks for: an id, a span, a line in the log, and an answer even when the edge panics.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{Extension, Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
};
use chassis::{
    metadata,
    status::{Fault, Reason},
    trace,
};
use futures_util::FutureExt as _;
use http::{
    HeaderValue, Method, StatusCode, Version,
    header::{self, Entry},
};
use tower::{ServiceBuilder, ServiceExt as _};
use tracing::{Instrument as _, Span};

use super::coding::coded;
use crate::{
    admit::{Admission, Client, host},
    answer::{
        problem::{ActualStatus, Problem, Style},
        refusal::{call_type, is_call, of_call, refusal},
    },
    contract::Found,
    documents::pages,
    edge::Edge,
    handle::answer,
    metrics::Seen,
    request::headers::{self, X_REQUEST_ID},
};

/// Digits and hyphens of an id in text (RFC 9562, section 4).
const UUID_LENGTH: usize = 36;

/// The edge, as connections see it. Cloning it is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Front(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    edge: Arc<Edge>,
    /// The documents, and the layers that are switched on, around the handler.
    router: Router,
    /// The same with the shop, for as long as what is served has what it calls.
    with_shop: Router,
    /// Whether there are such layers.
    layered: bool,
}

impl Front {
    pub(crate) fn new(edge: Edge) -> Self {
        let edge = Arc::new(edge);
        let (cors, compresses) = (edge.cors.clone(), edge.config.compress);
        let layered = cors.is_some() || compresses;
        let layers = ServiceBuilder::new()
            .option_layer(cors)
            .layer(from_fn(caught))
            .option_layer(compresses.then(|| from_fn(coded)));
        let [router, with_shop] = [false, true].map(|has_shop| {
            let documents = pages::router(edge.config.jwks.clone(), has_shop).with_state(Arc::clone(&edge));
            // What is called counts for its caller, which the handler knows.
            let documents = match edge.admission.counts() {
                true => documents.route_layer(from_fn_with_state(Arc::clone(&edge.admission), counted)),
                false => documents,
            };
            let documents = documents.route_layer(from_fn_with_state(Arc::clone(&edge), routes_first));
            documents.fallback(handler).with_state(Arc::clone(&edge)).layer(layers.clone())
        });
        Self(Arc::new(Inner { edge, router, with_shop, layered }))
    }

    /// Answers a request. Deadlines are the handler's: it alone knows how long a request wants to wait, and a stream has none.
    pub(crate) async fn answer(self, mut request: Request, client: Client) -> Response {
        let id = self.identify(&mut request);
        let client = self.0.edge.admission.behind_proxies(client, request.headers());
        if let Entry::Occupied(mut secrets) = request.headers_mut().entry(header::AUTHORIZATION) {
            secrets.iter_mut().for_each(|secret| secret.set_sensitive(true));
        }
        let parent = trace::settle(request.headers_mut());
        let span = span(&request, &id, parent.as_deref());
        let (begun, method) = (Instant::now(), request.method().clone());
        let is_call = is_call(&method, request.headers());
        let answered = async {
            let mut seen = Seen::default();
            let mut response = self.route(request, client, &mut seen).await;
            let status_of = response.status();
            let headers = response.headers_mut();
            headers.insert(X_REQUEST_ID, id);
            // It has no body whose length it could say (RFC 9110, section 8.6).
            if status_of == StatusCode::NOT_MODIFIED {
                headers.remove(header::CONTENT_LENGTH);
            }
            if !is_call {
                // Caches guess how long an answer is fresh, above all one with a tag (RFC 9111, section 4.2.2): they have to ask.
                headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
            }
            let actual = response.extensions().get::<ActualStatus>();
            let (latency, status) = (begun.elapsed(), actual.map_or(response.status(), |actual| actual.0));
            seen.record(&method, status, latency);
            tracing::info!(latency_us = latency.as_micros(), status = status.as_u16(), "answered");
            if trace::is_exported() {
                seen.note(&Span::current(), &method, status);
            }
            response
        };
        answered.instrument(span).await
    }

    /// Answers a request, and says what was seen of it.
    async fn route(&self, mut request: Request, client: Client, seen: &mut Seen) -> Response {
        let Inner { edge, router, with_shop, layered } = &*self.0;
        if let (Version::HTTP_2, Err(fault)) = (request.version(), headers::check_head(request.headers())) {
            return refusal(&request, fault);
        }
        if let Err(fault) = host::check(&request, edge.config.own_machine) {
            return refusal(&request, fault);
        }
        // Most requests need none of the layers: each would cost them a copy of itself and several allocations.
        if *layered || pages::may_have(request.uri().path()) {
            request.extensions_mut().insert(client);
            let router = if edge.thread.has_shop() { with_shop } else { router };
            let Ok(mut response) = router.clone().oneshot(request).await;
            *seen = response.extensions_mut().remove().unwrap_or_default();
            return response;
        }
        let (head, call) = (request.method() == Method::HEAD, call_type(request.method(), request.headers()));
        let answered = AssertUnwindSafe(answer(edge, request, client, seen)).catch_unwind().await;
        let response = answered.unwrap_or_else(|_| panicked(call));
        if head { without_body(response) } else { response }
    }

    /// Gives a request its id. A client's goes into logs and metadata: one that cannot be used gives way to a new one.
    fn identify(&self, request: &mut Request) -> HeaderValue {
        if let Some(id) = metadata::request_id(request.headers()) {
            return id.clone();
        }
        let mut text = [0; UUID_LENGTH];
        let id = self.0.edge.config.clock.new_id();
        // Hexadecimal digits and hyphens are a header value.
        let id = HeaderValue::from_str(id.hyphenated().encode_lower(&mut text));
        let id = id.unwrap_or_else(|_| HeaderValue::from_static("-"));
        request.headers_mut().insert(X_REQUEST_ID, id.clone());
        id
    }
}

/// The answer to HEAD: the headers of GET's (RFC 9110, section 9.3.2). The router does the same, after its layers.
fn without_body(mut response: Response) -> Response {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = Body::empty();
    response
}

async fn handler(
    State(edge): State<Arc<Edge>>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    let mut seen = Seen::default();
    let mut response = answer(&edge, request, client, &mut seen).await;
    response.extensions_mut().insert(seen);
    response
}

/// Lets a request for a document on, unless a route has its path: what a contract promises comes before what the edge says of it. The keys of the
/// issuer are no stranger's to publish.
async fn routes_first(
    State(edge): State<Arc<Edge>>,
    client: Extension<Client>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    match edge.thread.find(request.method().as_str(), path) {
        Found::Route(..) | Found::OtherMethods(_) if path != pages::JWKS => {
            handler(State(edge), client, request).await
        }
        _ => next.run(request).await,
    }
}

/// Lets a request for a document on, unless its address has had its share; the answer says what is left of that.
async fn counted(
    State(admission): State<Arc<Admission>>,
    Extension(client): Extension<Client>,
    request: Request,
    next: Next,
) -> Response {
    let mut standing = None;
    let mut response = match admission.count(&client.who(None), None, &mut standing) {
        Ok(()) => next.run(request).await,
        Err(fault) => refusal(&request, fault),
    };
    if let Some(standing) = standing {
        standing.note(response.headers_mut());
    }
    response
}

/// The query stays out of the log: it may hold what nobody but the service should read.
fn span(request: &Request, id: &HeaderValue, parent: Option<&str>) -> Span {
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        http.method = request.method().as_str(),
        http.path = start(request.uri().path()),
        request.id = id.to_str().unwrap_or_default(),
        trace.parent = parent,
    );
    trace::join(&span, parent, request.headers());
    // The span has begun a trace.
    if let (None, Some(own)) = (parent, trace::of_span(&span)) {
        span.record("trace.parent", own);
    }
    span
}

/// So much of a path is logged, in bytes: a head may be much longer than what a line should be.
const LOGGED_BYTES: usize = 512;

fn start(path: &str) -> &str {
    &path[..path.floor_char_boundary(LOGGED_BYTES)]
}

/// Answers also when what is inside panics.
async fn caught(request: Request, next: Next) -> Response {
    let call = call_type(request.method(), request.headers());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answered.unwrap_or_else(|_| panicked(call))
}

/// The answer to a request that made the edge panic, in the protocol of its call if it is one.
fn panicked(call: Option<HeaderValue>) -> Response {
    tracing::error!("a request made the edge panic");
    let fault = Fault::new(Reason::Internal, "internal error");
    match call {
        Some(call_type) => of_call(call_type, fault),
        None => Problem::from(fault).into_response(&Style::of(&http::HeaderMap::new(), "")),
    }
}
