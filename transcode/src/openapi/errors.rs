//! Errors as a document shows them: AIP-193, and problem details.

use serde_json::{Map, Value, json};

use super::{
    about::{Habits, Listed, may_pass},
    schema::{ERROR, ERROR_DETAIL, PROBLEM},
};

/// Adds the schemas of errors.
pub(crate) fn schemas(schemas: &mut Map<String, Value>, habits: Habits) {
    let mut problem = problem();
    if habits.errors {
        schemas.insert(ERROR.to_owned(), error());
        schemas.insert(ERROR_DETAIL.to_owned(), error_detail());
        problem["properties"]["details"] =
            json!({ "type": "array", "items": { "$ref": "#/components/schemas/ErrorDetail" } });
    }
    schemas.insert(PROBLEM.to_owned(), problem);
}

/// The answers that are errors: any, and those that pass by themselves, where a call has some.
pub(crate) fn responses(listed: &[Listed<'_>], habits: Habits) -> Value {
    let mut content =
        json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    if habits.errors {
        let both = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } });
        content = [both, content].into_iter().filter_map(|one| one.as_object().cloned()).flatten().collect();
    }
    let mut responses = json!({ "Error": {
        "description": "Any failure; `reason` in the details, or in problem details, distinguishes failures.",
        "content": content,
    } });
    if listed.iter().flat_map(|one| one.failures).any(|failure| may_pass(failure.status)) {
        responses["Busy"] = json!({
            "description": "A failure that may pass by itself.",
            "headers": { "Retry-After": {
                "description": "When to try again, in seconds.",
                "schema": { "type": "integer", "minimum": 1 },
            } },
            "content": content,
        });
    }
    responses
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
            "type": { "type": "string", "format": "uri-reference", "description": "Where the reason is described." },
            "title": text, "status": { "type": "integer" }, "detail": text, "instance": text,
            "reason": text,
            "errors": { "type": "array", "items": {
                "type": "object",
                "additionalProperties": true,
                "properties": { "field": text, "detail": text },
            } },
        },
    })
}
