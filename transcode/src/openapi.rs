//! OpenAPI 3.1 from the table of routes: what the edge serves is what its documents say.

mod comments;
mod schema;
mod path;
mod operation;

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value, json};

pub use self::operation::Tokens;
use self::{
    comments::Comments,
    operation::Operation,
    path::Path,
    schema::{ERROR, ERROR_DETAIL, PROBLEM, Schemas},
};
use crate::routes::route::Route;

/// The methods that a path item can hold (OpenAPI 3.1, section 4.8.9).
const METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"];

/// A route that a document is about.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'r> {
    /// What it is.
    pub route: &'r Route,
    /// The authority of its service, for command lines.
    pub authority: &'r str,
    /// The scope that a token for it needs; `None` for any token.
    pub scope: Option<&'r str>,
}

/// The ids of operations, by the RPC, the number of its binding and the name that it is put below: the same in every document, and none
/// twice in one about all routes.
#[derive(Debug, Default)]
pub struct Ids(HashMap<(String, usize, String), String>);

impl Ids {
    /// The ids of all these routes: the names of service and RPC, with the package where several have the same; further bindings are
    /// numbered.
    pub fn of(listed: &[Listed<'_>]) -> Self {
        let mut services: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        let of = |route: &Route| route.rpc.method.parent_service().clone();
        let all: Vec<_> = listed.iter().map(|listed| of(listed.route)).collect();
        for service in &all {
            services.entry(service.name()).or_default().insert(service.full_name());
        }
        let (mut ids, mut used) = (HashMap::new(), HashSet::new());
        for (Listed { route, .. }, service) in listed.iter().zip(&all) {
            let is_alone = services.get(service.name()).is_none_or(|named| named.len() == 1);
            let service =
                if is_alone { service.name().to_owned() } else { service.full_name().replace('.', "_") };
            let mut id = format!("{service}_{}", route.rpc.method.name());
            if !route.mount.is_empty() {
                id = format!("{}_{id}", route.mount);
            }
            if route.binding > 0 {
                id = format!("{id}_{}", route.binding);
            }
            // An RPC may be named as another one's binding is numbered.
            while !used.insert(id.clone()) {
                id.push('_');
            }
            ids.insert((route.rpc.name.clone(), route.binding, route.mount.clone()), id);
        }
        Self(ids)
    }

    fn get(&self, route: &Route) -> &str {
        let key = (route.rpc.name.clone(), route.binding, route.mount.clone());
        self.0.get(&key).map_or("", String::as_str)
    }
}

/// A document about these routes. Routes with methods that OpenAPI cannot describe (custom ones, `*`) are left out.
#[must_use]
pub fn document(title: &str, listed: &[Listed<'_>], ids: &Ids, tokens: Tokens) -> Value {
    let mut comments = Comments::default();
    let mut schemas =
        Schemas::of(listed.iter().flat_map(|one| [&one.route.rpc.input, &one.route.rpc.output]));
    let (mut paths, mut tags) = (Map::new(), Map::new());
    for Listed { route, authority, scope } in listed.iter().copied() {
        let method = route.method.as_str();
        if !METHODS.contains(&method) {
            continue;
        }
        let service = route.rpc.method.parent_service();
        tags.entry(service.full_name()).or_insert_with(|| {
            let comment = comments.of(&service.parent_file(), service.path());
            json!({ "name": service.full_name(), "description": comment })
        });
        let path = Path::of(&route.template);
        let operation = Operation { route, path: &path, id: ids.get(route), authority, scope, tokens };
        let operation = operation.document(&mut schemas, &mut comments);
        let path = paths.entry(path.text).or_insert_with(|| json!({}));
        // The first of two templates that look alike here; the trie knows both.
        if let Some(item) = path.as_object_mut() {
            item.entry(method.to_ascii_lowercase()).or_insert(operation);
        }
    }
    let mut components = schemas.finish(&mut comments);
    components.insert(ERROR.to_owned(), error());
    components.insert(ERROR_DETAIL.to_owned(), error_detail());
    components.insert(PROBLEM.to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": env!("CARGO_PKG_VERSION") },
        "servers": [{ "url": "/" }],
        "tags": tags.into_iter().map(|(_, tag)| tag).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": { "Error": {
                "description": "Any failure; `reason` in the details, or in problem details, distinguishes failures.",
                "content": {
                    "application/json": { "schema": { "$ref": "#/components/schemas/Error" } },
                    "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
                },
            } },
            "securitySchemes": { "bearer": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "A token of the issuer, for the scope that the operation names. Its subject is the user.",
            } },
        },
    })
}

/// <https://google.aip.dev/193>, "HTTP/1.1+JSON representation".
fn error() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "additionalProperties": true,
        "properties": { "error": {
            "type": "object",
            "required": ["code", "status", "message", "details"],
            "additionalProperties": true,
            "properties": {
                "code": { "type": "integer", "description": "The HTTP status." },
                "status": { "type": "string", "description": "The name of the gRPC code." },
                "message": { "type": "string", "description": "For developers; it may change." },
                "details": { "type": "array", "items": { "$ref": "#/components/schemas/ErrorDetail" } },
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

/// The details that the edge itself gives (google/rpc/error_details.proto), as one type with all their members: clients decide by `reason`, and
/// few generators make something of a choice by `@type`.
fn error_detail() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["@type"],
        "additionalProperties": true,
        "properties": {
            "@type": {
                "type": "string",
                "description": "`type.googleapis.com/google.rpc.` and ErrorInfo, BadRequest, RetryInfo or another type of the service's.",
            },
            "reason": {
                "type": "string",
                "description": "Of ErrorInfo: why, in capital letters. What a client decides by.",
            },
            "domain": { "type": "string", "description": "Of ErrorInfo: whose reason it is." },
            "metadata": {
                "type": "object",
                "additionalProperties": text,
                "description": "Of ErrorInfo: more about this case.",
            },
            "fieldViolations": {
                "type": "array",
                "description": "Of BadRequest: every field that is wrong.",
                "items": {
                    "type": "object",
                    "additionalProperties": true,
                    "properties": { "field": text, "description": text, "reason": text },
                },
            },
            "retryDelay": {
                "type": "string",
                "description": "Of RetryInfo: when to try again, in seconds, such as `1.500s`.",
            },
        },
    })
}

/// RFC 9457, section 3, with `reason`, `errors` and `details` beside the standard members.
fn problem() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "reason"],
        "additionalProperties": true,
        "properties": {
            "type": text, "title": text, "status": { "type": "integer" }, "detail": text, "instance": text,
            "reason": text,
            "errors": { "type": "array", "items": {
                "type": "object",
                "properties": { "field": text, "detail": text },
            } },
            "details": { "type": "array", "items": { "$ref": "#/components/schemas/ErrorDetail" } },
        },
    })
}
