//! The documents and their pages: OpenAPI at `/openapi.json` and `/openapi/{service}.json`, Swagger UI at `/swagger/index.html`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use bytes::Bytes;
use chassis::status::{Fault, Reason};
use http::{HeaderMap, HeaderValue, Uri, header};
use utoipa_swagger_ui::{Config, Url};

use crate::{
    edge::Edge,
    openapi,
    problem::{Problem, Style},
};

/// Documents made once, when the edge is.
struct Documents {
    /// All services in one.
    merged: Bytes,
    /// Each service by its short name.
    each: BTreeMap<String, Bytes>,
    pages: Arc<Config<'static>>,
}

/// Whether a path may be one of theirs.
pub(crate) fn may_have(path: &str) -> bool {
    path.starts_with("/openapi") || path.starts_with("/swagger")
}

/// The routes of the documents.
pub(crate) fn router(edge: &Edge) -> Router<Edge> {
    let documents = Arc::new(Documents::of(edge));
    Router::new()
        .route("/openapi.json", get(merged))
        .route("/openapi/{file}", get(one))
        .route("/swagger", get(async || Redirect::permanent("/swagger/index.html")))
        .route("/swagger/", get(async || Redirect::permanent("/swagger/index.html")))
        .route("/swagger/{*file}", get(page))
        .method_not_allowed_fallback(other_method)
        .with_state(documents)
}

impl Documents {
    fn of(edge: &Edge) -> Self {
        let listed = edge.listed();
        let mut services: BTreeMap<String, Vec<openapi::Listed<'_>>> = BTreeMap::new();
        for (route, authority) in &listed {
            services.entry(short_name(&route.rpc.service)).or_default().push((route, authority));
        }
        let each: BTreeMap<String, Bytes> =
            services.iter().map(|(name, routes)| (name.clone(), text(name, routes))).collect();
        let urls = each.keys().map(|name| {
            // Kept as long as the process: the configuration wants names that are.
            let url: &'static str = format!("/openapi/{name}.json").leak();
            Url::new(name.clone().leak(), url)
        });
        let pages = Arc::new(Config::new(urls).try_it_out_enabled(true).display_request_duration(true));
        Self { merged: text("all services", &listed), each, pages }
    }
}

/// `orders` for `ordermesh.orders.v1.OrdersService`: the package without its version, or else the service's own name.
fn short_name(service: &str) -> String {
    let mut parts = service.rsplit('.');
    let name = parts.next().unwrap_or(service);
    let versioned =
        |part: &&str| part.starts_with('v') && part[1..].starts_with(|c: char| c.is_ascii_digit());
    let package = parts.find(|part| !versioned(part));
    package.unwrap_or(name).to_ascii_lowercase()
}

fn text(title: &str, listed: &[openapi::Listed<'_>]) -> Bytes {
    openapi::document(title, listed).to_string().into()
}

async fn merged(State(documents): State<Arc<Documents>>) -> Response {
    json(documents.merged.clone())
}

async fn one(
    State(documents): State<Arc<Documents>>,
    Path(file): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    match file.strip_suffix(".json").and_then(|name| documents.each.get(name)) {
        Some(document) => json(document.clone()),
        None => Problem::route_not_found().into_response(&Style::of(&headers, uri.path())),
    }
}

/// The documents can only be read.
async fn other_method(headers: HeaderMap, uri: Uri) -> Response {
    let allow = HeaderValue::from_static("GET, HEAD");
    Problem::method_not_allowed(allow).into_response(&Style::of(&headers, uri.path()))
}

async fn page(
    State(documents): State<Arc<Documents>>,
    Path(file): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let style = Style::of(&headers, uri.path());
    match utoipa_swagger_ui::serve(&file, Arc::clone(&documents.pages)) {
        Ok(Some(file)) => {
            ([(header::CONTENT_TYPE, file.content_type)], file.bytes.into_owned()).into_response()
        }
        Ok(None) => Problem::route_not_found().into_response(&style),
        Err(error) => {
            tracing::error!(error, "a page of Swagger UI cannot be served");
            Problem::from(Fault::new(Reason::Internal, "internal error")).into_response(&style)
        }
    }
}

fn json(document: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}
