//! OpenAPI 3.1 from the table of routes: what the edge serves is what its documents say.

mod comments;
mod schema;
mod operation;

use serde_json::{Map, Value, json};

use self::{comments::Comments, operation::Operation, schema::Schemas};
use crate::transcode::table::Route;

/// The methods that a path item can hold (OpenAPI 3.1, section 4.8.9).
const METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"];

/// A route and the authority of its service, for command lines.
pub(crate) type Listed<'r> = (&'r Route, &'r str);

/// A document about these routes. Routes with methods that OpenAPI cannot tell (custom ones, `*`) are left out.
#[must_use]
pub(crate) fn document(title: &str, listed: &[Listed<'_>]) -> Value {
    let mut comments = Comments::default();
    let mut schemas = Schemas::default();
    let (mut paths, mut tags) = (Map::new(), Map::new());
    for (route, authority) in listed {
        let method = route.method.as_str();
        if !METHODS.contains(&method) {
            continue;
        }
        let service = route.rpc.method.parent_service();
        tags.entry(service.full_name()).or_insert_with(|| {
            let comment = comments.of(&service.parent_file(), service.path());
            json!({ "name": service.full_name(), "description": comment })
        });
        let operation = Operation { route, authority }.document(&mut schemas, &mut comments);
        let path = paths.entry(operation::path(route)).or_insert_with(|| json!({}));
        // The first of two templates that look alike here; the trie knows both.
        if let Some(item) = path.as_object_mut() {
            item.entry(method.to_ascii_lowercase()).or_insert(operation);
        }
    }
    let mut components = schemas.finish(&mut comments);
    components.insert("Error".to_owned(), error());
    components.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": env!("CARGO_PKG_VERSION") },
        "servers": [{ "url": "/" }],
        "tags": tags.into_iter().map(|(_, tag)| tag).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": { "Error": {
                "description": "Any failure; `reason` in the details, or in problem details, tells failures apart.",
                "content": {
                    "application/json": { "schema": { "$ref": "#/components/schemas/Error" } },
                    "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
                },
            } },
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
        },
        // With a token or without: the services decide.
        "security": [{}, { "bearer": [] }],
    })
}

/// <https://google.aip.dev/193>, "HTTP/1.1+JSON representation".
fn error() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["code", "status", "message", "details"],
            "properties": {
                "code": { "type": "integer", "description": "The HTTP status." },
                "status": { "type": "string", "description": "The name of the gRPC code." },
                "message": { "type": "string", "description": "For developers; it may change." },
                "details": { "type": "array", "items": {
                    "type": "object",
                    "required": ["@type"],
                    "properties": { "@type": { "type": "string" } },
                } },
            },
        } },
        "examples": [{ "error": {
            "code": 404, "status": "NOT_FOUND", "message": "no route has this path",
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "ROUTE_NOT_FOUND", "domain": "ordermesh", "metadata": {},
            }],
        } }],
    })
}

/// RFC 9457, section 3, with `reason` and `errors` beside the standard members.
fn problem() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "reason"],
        "properties": {
            "type": text, "title": text, "status": { "type": "integer" }, "detail": text, "instance": text,
            "reason": text,
            "errors": { "type": "array", "items": {
                "type": "object",
                "properties": { "field": text, "detail": text },
            } },
        },
    })
}
