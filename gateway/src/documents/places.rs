//! What is at `/` where no route is: what this is, and where everything is. AsyncAPI at `/asyncapi.json`, where the events are our own. And the
//! catalogue of errors below `/errors/`, to which the type of problem details leads. Routes of a contract come first.

use axum::response::{IntoResponse as _, Response};
use chassis::{
    catalogue,
    page::{for_either, html, link},
};
use http::{HeaderMap, header};
use serde_json::json;

use super::Documents;

/// What is there; `None` where nothing is.
pub(crate) fn answer(documents: &Documents, path: &str, headers: &HeaderMap) -> Option<Response> {
    match path {
        "/" => Some(root(documents, headers)),
        "/asyncapi.json" => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            documents.events.clone().map(|document| (json, document).into_response())
        }
        _ => catalogue::answer(path, headers),
    }
}

fn root(documents: &Documents, headers: &HeaderMap) -> Response {
    // Relative to where this is, whatever stands in front of it.
    let each = || documents.each.keys().map(|name| (name.clone(), format!("openapi/{name}.json")));
    let list = || {
        json!({
            "name": "ordermesh edge",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "documentation": "swagger/index.html",
            "openapi": "openapi.json",
            "documents": each().map(|(name, url)| (name, url.into())).collect::<serde_json::Map<_, _>>(),
            "errors": "errors/",
        })
    };
    let page = || {
        let links = [
            ("swagger/index.html".to_owned(), "every call".to_owned()),
            ("openapi.json".to_owned(), "OpenAPI of all services".to_owned()),
        ];
        let links = links.into_iter().chain(each().map(|(name, url)| (url, format!("OpenAPI of {name}"))));
        let links = links.chain([("errors/".to_owned(), "every error".to_owned())]);
        let links: Vec<String> =
            links.map(|(url, what)| format!("<dt>{}</dt><dd>{what}</dd>", link(&url, &url))).collect();
        html("ordermesh edge", &format!("<p>{DESCRIPTION}</p>\n<dl>\n{}\n</dl>", links.join("\n")))
    };
    for_either(headers, list, page)
}

const DESCRIPTION: &str =
    "HTTP/JSON, gRPC, gRPC-Web and Connect in front of services, as their descriptors say it.";
