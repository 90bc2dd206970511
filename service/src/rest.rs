//! The admin services as JSON, for the operator's listener of their process: the routes of their contracts below the name of each service.
//!
//! A rule says `/admin/v1/parked`; orders has it at `/admin/v1/orders/parked`, and payments at `/admin/v1/payments/parked`.

mod mount;
mod call;
mod document;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::{any, get},
};
use bytes::Bytes;
use chassis::{
    admin::refusal,
    status::{Fault, Reason},
};
use http::{HeaderMap, header};
use tokio_util::sync::CancellationToken;
use upstream::mark_replayed;

use self::mount::{BASE, Found, Mounted};
use crate::wiring::Wired;

/// The services of a process that have something for operators.
#[derive(Debug)]
struct Mounts {
    each: Vec<Mounted>,
    document: Bytes,
    /// When the process has begun to stop.
    stopping: CancellationToken,
}

/// What the operator's listener answers for these services, each with the address of its gRPC: the routes of what they serve for operators, and
/// `/admin/v1/openapi.json`, and the operations room at `/console/`, which calls them. Where nobody can be an operator, that is said. Once
/// the process is `stopping`, which this listener outlives, an operator can look and change nothing.
///
/// # Errors
/// When a contract has a route that cannot be served.
pub fn router(services: &[(&Wired, SocketAddr)], stopping: CancellationToken) -> anyhow::Result<Router> {
    let mut each = Vec::new();
    for (service, address) in services {
        each.extend(Mounted::of(service, *address)?);
    }
    let text = document::of(&each).into();
    let mounts = Arc::new(Mounts { each, document: text, stopping });
    Ok(Router::new()
        .route("/admin/v1/openapi.json", get(document))
        .route("/admin/v1/{*rest}", any(answer))
        .with_state(mounts)
        .merge(console::operations()))
}

async fn document(State(mounts): State<Arc<Mounts>>) -> Response {
    json(mounts.document.clone())
}

async fn answer(State(mounts): State<Arc<Mounts>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    match answered(&mounts, request).await {
        Ok(response) => response,
        Err((fault, headers)) => {
            let mut response = refusal(&fault, &path);
            response.headers_mut().extend(headers);
            response
        }
    }
}

async fn answered(mounts: &Mounts, request: Request) -> Result<Response, (Fault, HeaderMap)> {
    let alone = |fault| (fault, HeaderMap::new());
    if mounts.each.is_empty() {
        let message = "this process has no admin services: start it with an ADMIN_TOKEN or with an issuer";
        return Err(alone(Fault::new(Reason::RouteNotFound, message)));
    }
    let path = request.uri().path();
    let mounted = mounts.each.iter().find(|mounted| mounted.has(path)).ok_or_else(|| {
        let names: Vec<&str> = mounts.each.iter().map(|mounted| mounted.name).collect();
        let message = format!("no service has this path: this process has {BASE}{{{}}}", names.join("|"));
        alone(Fault::new(Reason::RouteNotFound, message))
    })?;
    match mounted.find(request.method().as_str(), path) {
        Found::Route(route, captures) => {
            if mounts.stopping.is_cancelled() && mount::writes(route) {
                let message = "the process stops, and nothing was done: ask another one, or this one again";
                return Err(alone(Fault::new(Reason::UpstreamUnavailable, message)));
            }
            let (body, replayed) = call::answer(mounted, route, captures, request).await.map_err(alone)?;
            let mut response = json(body);
            if replayed {
                mark_replayed(response.headers_mut());
            }
            Ok(response)
        }
        Found::OtherMethods(allow) => {
            let fault = Fault::new(Reason::MethodNotAllowed, "no route has this path with this method");
            Err((fault, HeaderMap::from_iter([(header::ALLOW, allow)])))
        }
        Found::Nothing => {
            let message = "no route has this path: /admin/v1/openapi.json lists those that there are";
            Err(alone(Fault::new(Reason::RouteNotFound, message)))
        }
    }
}

fn json(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}
