//! What the edge counts. Names follow the semantic conventions of OpenTelemetry where they have one, as Prometheus writes them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chassis::{
    metrics::{Method as Calls, at_scrape},
    trace,
};
use http::{Method, StatusCode};
use metrics::{Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tracing::Span;
use upstream::Endpoint;

/// What the edge is called beside the services of the same process.
const SERVICE: &str = "gateway";

const DURATION: &str = "http_server_request_duration_seconds";
const CONNECTIONS: &str = "http_server_connections";
const REQUESTS: &str = "http_server_open_requests";
const STREAMS: &str = "http_server_open_streams";
const BUFFERED: &str = "http_server_buffered_bytes";
const REFUSED: &str = "http_server_refused_requests_total";
const ENDPOINTS: &str = "gateway_upstream_endpoints";
const VERSIONS: &str = "gateway_upstream_descriptor_versions";
const CHANGES: &str = "gateway_upstream_descriptor_changes_total";

/// Limits that requests are refused by, as their flags are spelled; they are counted from the start.
pub(crate) mod limit {
    pub(crate) const CONNECTIONS_PER_CLIENT: &str = "--max-connections-per-client";
    pub(crate) const REQUESTS: &str = "--max-requests";
    pub(crate) const REQUESTS_PER_CLIENT: &str = "--max-requests-per-client";
    pub(crate) const STREAMS: &str = "--max-streams";
    pub(crate) const STREAMS_PER_CLIENT: &str = "--max-streams-per-client";
    pub(crate) const BUFFERED_BYTES: &str = "--max-buffered-bytes";
    pub(crate) const BODY_BYTES: &str = "--max-body-bytes";
    pub(crate) const RATE: &str = "--rate-limit";
    pub(crate) const METHOD_RATE: &str = "--method-limit";
    pub(crate) const METHOD_STREAMS: &str = "--method-streams";
}

/// Says what the metrics mean, and begins those that a rare event counts: an alarm cannot distinguish an absent number from one that never rises.
pub(crate) fn begin() {
    describe_histogram!(DURATION, "requests of HTTP, until their answer or their stream begins");
    describe_gauge!(CONNECTIONS, "open connections of clients");
    describe_gauge!(REQUESTS, "requests that are being worked on; a stream until it has begun");
    describe_gauge!(STREAMS, "open streams");
    describe_gauge!(BUFFERED, "what bodies of requests take, and answers that are not taken");
    describe_counter!(REFUSED, "requests and connections that a limit refused");
    describe_gauge!(ENDPOINTS, "endpoints of each service, by whether they are called or left out");
    describe_gauge!(
        VERSIONS,
        "different descriptors that the endpoints of a service give of themselves; above 1 they disagree"
    );
    describe_counter!(CHANGES, "changed descriptors of a service, by whether they are served now");
    for outcome in ["taken", "refused"] {
        counter!(CHANGES, "outcome" => outcome).increment(0);
    }
    let limits = [
        limit::CONNECTIONS_PER_CLIENT,
        limit::REQUESTS,
        limit::REQUESTS_PER_CLIENT,
        limit::STREAMS,
        limit::STREAMS_PER_CLIENT,
        limit::BUFFERED_BYTES,
        limit::BODY_BYTES,
        limit::RATE,
        limit::METHOD_RATE,
        limit::METHOD_STREAMS,
    ];
    for limit in limits {
        counter!(REFUSED, "limit" => limit).increment(0);
    }
    upstream::begin();
}

/// A request was refused by this limit.
pub(crate) fn refused(limit: &'static str) {
    counter!(REFUSED, "limit" => limit).increment(1);
}

/// A service has given other descriptors of itself, and they are served now or not.
pub(crate) fn descriptors_changed(taken: bool) {
    counter!(CHANGES, "outcome" => if taken { "taken" } else { "refused" }).increment(1);
}

/// What a request led to, as far as is known when it is answered.
#[derive(Debug, Default, Clone)]
pub(crate) enum Seen {
    /// No route.
    #[default]
    Nothing,
    /// This route.
    Route(Arc<Meter>),
    /// A call of a method, which is counted as such.
    Call(Arc<Calls>),
}

/// One route: what most of its answers are counted by is found once, not with each request.
#[derive(Debug)]
pub(crate) struct Meter {
    method: String,
    /// As its contract spells it, such as `/gateway/orders/{order_id}`.
    pub(crate) route: String,
    /// Of answers that went well.
    ok: Histogram,
}

impl Meter {
    pub(crate) fn new(method: &str, route: String) -> Arc<Self> {
        let ok = duration(method, Some(&route), StatusCode::OK);
        Arc::new(Self { method: method.to_owned(), route, ok })
    }
}

impl Seen {
    /// Counts a request with this answer.
    pub(crate) fn record(&self, method: &Method, status: StatusCode, took: Duration) {
        let seconds = took.as_secs_f64();
        match self {
            Self::Route(meter) if status == StatusCode::OK && meter.method == method.as_str() => {
                meter.ok.record(seconds);
            }
            Self::Route(meter) => duration(known(method), Some(&meter.route), status).record(seconds),
            Self::Nothing => duration(known(method), None, status).record(seconds),
            // When it has its status.
            Self::Call(_) => {}
        }
    }
}

impl Seen {
    /// Says of a span what the request was and how it was answered. Only what is wrong on this side makes it an error (OpenTelemetry,
    /// semantic conventions of HTTP).
    pub(crate) fn note(&self, span: &Span, method: &Method, status: StatusCode) {
        let (known, status_code) = (known(method), status.as_str());
        let error = status.is_server_error().then_some(status_code);
        let route = match self {
            Self::Route(meter) => meter.route.as_str(),
            // Its status comes later than its head.
            Self::Call(called) => {
                trace::name(span, called.name().to_owned());
                return trace::ended(
                    span,
                    &[("rpc.system.name", called.system()), ("rpc.method", called.name())],
                    None,
                );
            }
            Self::Nothing => {
                trace::name(span, known.to_owned());
                let attributes = [("http.request.method", known), ("http.response.status_code", status_code)];
                return trace::ended(span, &attributes, error);
            }
        };
        trace::name(span, format!("{known} {route}"));
        let attributes = [
            ("http.request.method", known),
            ("http.route", route),
            ("http.response.status_code", status_code),
        ];
        trace::ended(span, &attributes, error);
    }
}

/// A method as it is called over gRPC or gRPC-Web.
pub(crate) fn call(name: &str) -> Arc<Calls> {
    Arc::new(Calls::new(SERVICE, name))
}

/// The same, as it is called over Connect.
pub(crate) fn connect_call(name: &str) -> Arc<Calls> {
    Arc::new(Calls::new(SERVICE, name).over("connectrpc"))
}

/// A client may make up as many methods as it likes: those that no standard names are counted together.
fn known(method: &Method) -> &str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// A route without a path, where there is none, is no label: the conventions have none then.
fn duration(method: &str, route: Option<&str>, status: StatusCode) -> Histogram {
    let (method, status) = (method.to_owned(), status.as_str().to_owned());
    match route {
        Some(route) => histogram!(
            DURATION,
            "http_request_method" => method,
            "http_route" => route.to_owned(),
            "http_response_status_code" => status,
        ),
        None => histogram!(DURATION, "http_request_method" => method, "http_response_status_code" => status),
    }
}

/// What is open at an edge.
#[derive(Debug)]
pub(crate) struct Open {
    /// Connections of clients.
    pub(crate) connections: usize,
    /// Requests that are being worked on.
    pub(crate) requests: usize,
    pub(crate) streams: usize,
    /// What bodies of requests take, in bytes,
    pub(crate) bodies: usize,
    /// and answers that their clients have not taken.
    pub(crate) answers: usize,
    /// The endpoints of each service, and whether each is called.
    pub(crate) endpoints: BTreeMap<String, BTreeMap<Endpoint, bool>>,
    /// How many versions of its descriptors a service that is asked for them has at its endpoints.
    pub(crate) descriptor_versions: usize,
}

/// Shows what is open at an edge each time that somebody looks, as long as there is one.
pub(crate) fn watch(open: impl Fn() -> Option<Open> + Send + Sync + 'static) {
    at_scrape(move || {
        let Some(open) = open() else { return false };
        gauge!(CONNECTIONS).set(open.connections as f64);
        gauge!(REQUESTS).set(open.requests as f64);
        gauge!(STREAMS).set(open.streams as f64);
        for (kind, bytes) in [("request", open.bodies), ("response", open.answers)] {
            gauge!(BUFFERED, "kind" => kind).set(bytes as f64);
        }
        gauge!(VERSIONS).set(open.descriptor_versions as f64);
        for (service, endpoints) in open.endpoints {
            endpoints_of(service, &endpoints);
        }
        true
    });
}

/// The endpoints of a service, and whether each is called.
fn endpoints_of(service: String, endpoints: &BTreeMap<Endpoint, bool>) {
    for (state, wanted) in [("called", true), ("left_out", false)] {
        let count = endpoints.values().filter(|is_in| **is_in == wanted).count();
        gauge!(ENDPOINTS, "service" => service.clone(), "state" => state).set(count as f64);
    }
}
