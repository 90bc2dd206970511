//! Where the documents and their pages are: keys at `/.well-known/jwks.json`, OpenAPI at `/openapi.json` and `/openapi/{service}.json`,
//! Swagger UI at `/swagger/index.html`, and in front of our own services the shop at `/shop/` and what is where at `/`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Extension, Path, Request, State, rejection::PathRejection},
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Redirect, Response},
    routing::{any, get},
};
use bytes::Bytes;
use chassis::status::{Fault, Reason};
use http::{HeaderMap, Method, Uri, header};
use transcode::openapi;
use utoipa_swagger_ui::{Config, Url};

use super::{base, only_read, reads};
use crate::{
    admit::{Client, activity::OVERHEAD},
    answer::{
        problem::{Problem, Style},
        refusal::refusal,
    },
    edge::Edge,
};

/// Where the keys of an issuer usually are.
pub(crate) const JWKS: &str = "/.well-known/jwks.json";

/// The query of who wants the URL of the server relative to the document.
const RELATIVE: &str = "server=relative";

/// Whether a path may be one of theirs.
pub(crate) fn may_have(path: &str) -> bool {
    let of_shop = || path == "/" || path.starts_with("/shop");
    path.starts_with("/openapi") || path.starts_with("/swagger") || path == JWKS || of_shop()
}

/// The routes of the documents, of the keys that the edge publishes, and of the shop.
pub(crate) fn router(jwks: Option<Bytes>, has_shop: bool) -> Router<Arc<Edge>> {
    let mut router = Router::new();
    if has_shop {
        router = router.merge(console::start()).merge(console::shop());
    }
    if let Some(jwks) = jwks {
        router = router.route(JWKS, get(async move || json(jwks.clone())));
    }
    router
        .route("/openapi.json", get(merged))
        .route("/openapi/{file}", any(one))
        // Relative, so that a prefix in front of all stays.
        .route("/swagger", get(async || Redirect::permanent("swagger/index.html")))
        .route("/swagger/", get(async || Redirect::permanent("index.html")))
        .route("/swagger/{*file}", any(page))
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

async fn merged(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    described(&edge, &request, &edge.thread.documents().merged, ".")
}

async fn one(
    State(edge): State<Arc<Edge>>,
    file: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let documents = edge.thread.documents();
    let name = file.as_ref().ok().and_then(|Path(file)| file.strip_suffix(".json"));
    let problem = match name.and_then(|name| documents.each.get(name)) {
        Some(document) if reads(request.method()) => return described(&edge, &request, document, ".."),
        Some(_) => only_read(),
        None => Problem::route_not_found(),
    };
    problem.into_response(&Style::of(request.headers(), request.uri().path()))
}

/// A document with the URL of the API, or with one that is relative to the document: where the former is not known, and where the request wants
/// it so, as the pages do, which are where the API is.
fn described(edge: &Edge, request: &Request, document: &str, relative: &str) -> Response {
    let client = request.extensions().get::<Client>().filter(|_| request.uri().query() != Some(RELATIVE));
    let base = client.and_then(|client| base::of(&edge.config.tls, edge.admission.trusts(client), request));
    json(openapi::with_server(document, base.as_deref().unwrap_or(relative)).into())
}

/// The documents can only be read.
async fn other_method(headers: HeaderMap, uri: Uri) -> Response {
    only_read().into_response(&Style::of(&headers, uri.path()))
}

async fn page(
    State(edge): State<Arc<Edge>>,
    file: Result<Path<String>, PathRejection>,
    method: Method,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let style = Style::of(&headers, uri.path());
    // A name that is no UTF-8 is that of no file.
    let Ok(Path(file)) = file else { return Problem::route_not_found().into_response(&style) };
    let documents = edge.thread.documents();
    let names = documents.each.keys();
    let names: Vec<(&String, String)> =
        names.map(|name| (name, format!("../openapi/{name}.json?{RELATIVE}"))).collect();
    let pages = Config::new(names.iter().map(|(name, url)| Url::new(name, url)));
    let pages = Arc::new(pages.try_it_out_enabled(true).display_request_duration(true));
    match utoipa_swagger_ui::serve(&file, pages) {
        Ok(Some(_)) if !reads(&method) => only_read().into_response(&style),
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
