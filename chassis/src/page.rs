//! Plain pages for people who open a URL of an API in a browser: text and links, nothing that runs.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::Value;

use crate::media::prefers;

/// Nothing is loaded, and nobody frames it.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// The page for a browser, which names HTML in `Accept` and does not rather have JSON, and JSON for everybody else.
pub fn for_either(
    headers: &HeaderMap,
    json: impl FnOnce() -> Value,
    page: impl FnOnce() -> String,
) -> Response {
    let mut response = if prefers(headers, "text/html", "application/json") {
        let mut response = Response::new(Body::from(page()));
        response.headers_mut().extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
        response
    } else {
        axum::Json(json()).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// A whole page of a title and what follows it, which is HTML.
#[must_use]
pub fn html(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<h1>{title}</h1>\n{body}\n</html>\n"
    )
}

/// A link to a relative URL, with its text.
#[must_use]
pub fn link(url: &str, text: &str) -> String {
    format!("<a href=\"{}\">{}</a>", escaped(url), escaped(text))
}

/// Text as HTML has it.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
