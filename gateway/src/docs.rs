//! The documents and their pages: keys at `/.well-known/jwks.json`, OpenAPI at `/openapi.json` and `/openapi/{service}.json`, Swagger UI at `/swagger/index.html`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Router,
    extract::{Extension, Path, Request, State},
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use bytes::Bytes;
use chassis::status::{Fault, Reason};
use http::{HeaderMap, HeaderValue, Uri, header};
use transcode::openapi::{self, Listed, Tokens};
use utoipa_swagger_ui::{Config, Url};

use crate::{
    activity::OVERHEAD,
    admit::{Client, refusal},
    edge::Edge,
    problem::{Problem, Style},
};

/// Documents made once for each version of the descriptors.
#[derive(Debug)]
pub(crate) struct Documents {
    /// All services in one.
    merged: Bytes,
    /// Each service by its short name.
    each: BTreeMap<String, Bytes>,
}

/// Where the keys of an issuer usually are.
const JWKS: &str = "/.well-known/jwks.json";

/// Whether a path may be one of theirs.
pub(crate) fn may_have(path: &str) -> bool {
    path.starts_with("/openapi") || path.starts_with("/swagger") || path == JWKS
}

/// The routes of the documents.
pub(crate) fn router() -> Router<Edge> {
    Router::new()
        .route(JWKS, get(jwks))
        .route("/openapi.json", get(merged))
        .route("/openapi/{file}", get(one))
        .route("/swagger", get(async || Redirect::permanent("/swagger/index.html")))
        .route("/swagger/", get(async || Redirect::permanent("/swagger/index.html")))
        .route("/swagger/{*file}", get(page))
        .method_not_allowed_fallback(other_method)
        .route_layer(from_fn(admit))
}

/// Documents are answers like others.
async fn admit(Extension(client): Extension<Client>, request: Request, next: Next) -> Response {
    match client.answers.check(OVERHEAD) {
        Ok(()) => next.run(request).await,
        Err(fault) => refusal(&request, fault),
    }
}

impl Documents {
    /// Those of routes, and whether callers need tokens.
    pub(crate) fn of(listed: &[Listed<'_>], tokens: Tokens) -> Self {
        let ids = openapi::Ids::of(listed);
        let names = names(listed.iter().map(|listed| package(&listed.route.rpc.service)));
        let mut services: BTreeMap<String, Vec<Listed<'_>>> = BTreeMap::new();
        for one in listed {
            let name = names.get(package(&one.route.rpc.service)).cloned().unwrap_or_default();
            services.entry(name).or_default().push(*one);
        }
        let text = |title: &str, listed: &[Listed<'_>]| {
            Bytes::from(openapi::document(title, listed, &ids, tokens).to_string())
        };
        let each = services.iter().map(|(name, routes)| (name.clone(), text(name, routes))).collect();
        Self { merged: text("all services", listed), each }
    }
}

/// The package of a service; where there is none, the service.
fn package(service: &str) -> &str {
    service.rsplit_once('.').map_or(service, |(package, _)| package)
}

/// What the document of each package is called: its short name, or the whole where several have the same.
fn names<'p>(packages: impl Iterator<Item = &'p str>) -> BTreeMap<&'p str, String> {
    let mut by_short: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        by_short.entry(short_name(package)).or_default().insert(package);
    }
    let name = |(short, packages): (String, BTreeSet<&'p str>)| {
        let is_alone = packages.len() == 1;
        packages
            .into_iter()
            .map(move |package| (package, if is_alone { short.clone() } else { package.to_owned() }))
    };
    by_short.into_iter().flat_map(name).collect()
}

/// `orders` for `ordermesh.orders.v1`: the last part that is no version.
fn short_name(package: &str) -> String {
    let versioned =
        |part: &&str| part.starts_with('v') && part[1..].starts_with(|c: char| c.is_ascii_digit());
    package.rsplit('.').find(|part| !versioned(part)).unwrap_or(package).to_ascii_lowercase()
}

async fn jwks(State(edge): State<Edge>, headers: HeaderMap, uri: Uri) -> Response {
    match edge.jwks() {
        Some(keys) => json(keys),
        None => Problem::route_not_found().into_response(&Style::of(&headers, uri.path())),
    }
}

async fn merged(State(edge): State<Edge>) -> Response {
    json(edge.table().contract.documents.merged.clone())
}

async fn one(State(edge): State<Edge>, Path(file): Path<String>, headers: HeaderMap, uri: Uri) -> Response {
    let table = edge.table();
    match file.strip_suffix(".json").and_then(|name| table.contract.documents.each.get(name)) {
        Some(document) => json(document.clone()),
        None => Problem::route_not_found().into_response(&Style::of(&headers, uri.path())),
    }
}

/// The documents can only be read.
async fn other_method(headers: HeaderMap, uri: Uri) -> Response {
    let allow = HeaderValue::from_static("GET, HEAD");
    Problem::method_not_allowed(allow).into_response(&Style::of(&headers, uri.path()))
}

async fn page(State(edge): State<Edge>, Path(file): Path<String>, headers: HeaderMap, uri: Uri) -> Response {
    let style = Style::of(&headers, uri.path());
    let table = edge.table();
    let names = table.contract.documents.each.keys();
    let names: Vec<(&String, String)> = names.map(|name| (name, format!("/openapi/{name}.json"))).collect();
    let pages = Config::new(names.iter().map(|(name, url)| Url::new(name, url)));
    let pages = Arc::new(pages.try_it_out_enabled(true).display_request_duration(true));
    match utoipa_swagger_ui::serve(&file, pages) {
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
