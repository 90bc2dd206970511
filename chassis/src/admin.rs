//! The operator's listener: is the process alive, is it ready, what does it measure, and what else it answers there.

mod healthcheck;
mod hosts;

use std::{io::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode, Uri, header};
use hyper::{body::Incoming, server::conn::http1::Builder};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tower::util::MapRequest;

pub use self::{
    healthcheck::healthcheck,
    hosts::{HostSettings, Hosts},
};
use crate::{
    accept::{Permits, accept},
    catalogue, metrics,
    peer::Peer,
    problem::{PROBLEM_JSON, retry_after},
    readiness::{Readiness, Report},
    status::{Fault, Reason},
    tls::{Acceptor, Protocols, ServerTls},
};

/// What whoever asks may take: a probe or a scrape is one short request, and its answer is there within seconds.
const BOUNDS: Bounds = Bounds {
    connections: 256,
    head: Duration::from_secs(5),
    whole: Duration::from_secs(15),
    head_bytes: 16 << 10,
};

/// Bounds on whoever asks.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// At once; the next one waits.
    connections: usize,
    /// For the head of a request.
    head: Duration,
    /// For a connection, which has one request: whatever is not sent or taken by then is cut.
    whole: Duration,
    /// The longest head, and so the most that is read of a body at a time: what takes one has a bound for it.
    head_bytes: usize,
}

/// Serves `/livez` (200 as long as the process runs), `/readyz` (200 when it can do its work for its callers, otherwise 503; the state of
/// each part, and why it is not `ok`), `/metrics` (the text format of Prometheus) and the routes of `api` until `stop`, over HTTP/1.1 and a
/// connection for each request. Without TLS only who calls it by a name that nobody can own, or by one of `hosts`, is answered; with TLS a
/// browser looks for the name in the certificate.
///
/// # Errors
/// When something else in the process records its metrics.
pub async fn serve(
    listener: TcpListener,
    tls: ServerTls,
    hosts: Hosts,
    readiness: Vec<Readiness>,
    api: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let api = (readiness, api, hosts);
    serve_within(BOUNDS, listener, tls, api, stop).await
}

async fn serve_within(
    bounds: Bounds,
    listener: TcpListener,
    tls: ServerTls,
    (readiness, api, hosts): (Vec<Readiness>, Router, Hosts),
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let recorder = metrics::recorder()?;
    let mut app = routes(recorder.clone(), readiness, api);
    if !tls.is_on() {
        app = app.layer(from_fn(move |request: Request, next: Next| guarded(hosts.clone(), request, next)));
    }
    let upkeep = async {
        loop {
            tokio::time::sleep(metrics::UPKEEP).await;
            recorder.run_upkeep();
        }
    };
    let mut server = Builder::new();
    server.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(bounds.head);
    server.max_buf_size(bounds.head_bytes);
    let permits = Permits::new(bounds.connections);
    let acceptor = Acceptor::new(tls, "admin", Protocols::Http1, bounds.head);
    let connection = |stream, client, permit| {
        let (acceptor, server, app, stop) = (acceptor.clone(), server.clone(), app.clone(), stop.clone());
        async move {
            let serving = async {
                let stream = acceptor.accept(stream, client, &stop).await?;
                let app = MapRequest::new(app, move |mut request: http::Request<Incoming>| {
                    request.extensions_mut().insert(Peer(client.ip()));
                    request
                });
                server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)).await.ok()
            };
            if !matches!(timeout(bounds.whole, serving).await, Ok(Some(()))) {
                tracing::debug!("a connection of the operator's ended early");
            }
            drop(permit);
        }
    };
    let serving = async {
        let mut connections = accept(listener, &permits, &stop, connection).await;
        while connections.join_next().await.is_some() {}
    };
    tokio::select! {
        () = serving => {}
        () = upkeep => {}
    }
    Ok(())
}

/// Answers a request that is for this listener.
async fn guarded(hosts: Hosts, request: Request, next: Next) -> Response {
    let checked = hosts.check(request.uri(), request.headers());
    match checked {
        Ok(()) => next.run(request).await,
        Err(fault) => refusal(&fault, request.uri().path()),
    }
}

/// What is answered, and that there is nothing else.
fn routes(recorder: PrometheusHandle, readiness: Vec<Readiness>, api: Router) -> Router {
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Router::new()
        .route("/livez", get(async || "alive"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(move || std::future::ready((text, metrics::text(&recorder)))))
        .with_state(Arc::new(readiness))
        .merge(api)
        .method_not_allowed_fallback(async |uri: Uri| {
            let fault = Fault::new(Reason::MethodNotAllowed, "nothing has this path with this method");
            refusal(&fault, uri.path())
        })
        .fallback(async |uri: Uri, headers: HeaderMap| {
            // Problem details lead there.
            catalogue::answer(uri.path(), &headers).unwrap_or_else(|| {
                let message = "the admin listener of this process has no such path";
                refusal(&Fault::new(Reason::RouteNotFound, message), uri.path())
            })
        })
}

/// The answer to a request of this path that failed: problem details, with a challenge where the caller was not let in.
pub fn refusal(fault: &Fault, path: &str) -> Response {
    let mut response = fault.details(path).to_string().into_response();
    *response.status_mut() = fault.reason.http();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(PROBLEM_JSON));
    headers.extend(fault.challenge().map(|challenge| (header::WWW_AUTHENTICATE, challenge)));
    headers.extend(fault.retry_after.map(|time| (header::RETRY_AFTER, retry_after(time))));
    response
}

async fn readyz(State(readiness): State<Arc<Vec<Readiness>>>) -> (StatusCode, Json<Value>) {
    let reports = join_all(readiness.iter().map(Readiness::report)).await;
    let report = reports.into_iter().reduce(Report::and).unwrap_or_default();
    let code = if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let (mut parts, mut states) = (Map::new(), Map::new());
    for (name, state) in &report.parts {
        parts.insert(name.clone(), state.reason().unwrap_or("ready").into());
        states.insert(name.clone(), state.name().into());
    }
    let stopping = readiness.iter().any(Readiness::is_stopping);
    (
        code,
        Json(json!({ "ready": report.is_ready(), "stopping": stopping, "parts": parts, "states": states })),
    )
}

/// Prints on standard output where the process listens, one line an address: the port 0 of a setting is the one taken. The
/// log has a line of it, too.
pub fn announce(listeners: &[(&str, SocketAddr)]) {
    let mut out = std::io::stdout().lock();
    for (name, address) in listeners {
        // A closed standard output is no reason to stop.
        let _unheard = writeln!(out, "listening {name}={address}");
        tracing::info!(listener = name, %address, "listening");
    }
    let _unheard = out.flush();
}

#[cfg(test)]
mod tests;
