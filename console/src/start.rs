//! What is at `/` of the edge: what this is, and where everything is. A page for browsers, JSON for others.

use axum::{
    Json, Router,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;

use crate::{files::FILES, serve::answer};

/// The route `/`.
pub fn start<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(at_root))
}

async fn at_root(headers: HeaderMap) -> Response {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_browser =
        accepted.flat_map(|line| line.split(',')).any(|range| range.trim().starts_with("text/html"));
    let page = FILES.iter().find(|file| is_browser && file.name == "shop/start/index.html");
    let mut response = page.map_or_else(|| places().into_response(), |page| answer(&headers, page));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    response
}

/// Relative to where this is, whatever stands in front of it.
fn places() -> Json<serde_json::Value> {
    Json(json!({
        "name": "ordermesh",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "Orders and payments over HTTP/JSON, gRPC, gRPC-Web and Connect.",
        "orders": "gateway/orders",
        "payments": "gateway/payments/{user_id}",
        "openapi": "openapi.json",
        "asyncapi": "asyncapi.json",
        "errors": "errors/",
        "documentation": "swagger/index.html",
        "shop": "shop/",
    }))
}
