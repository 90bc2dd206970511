//! The catalogue of errors: each reason of the table with its codes, its cause, whether and when its call may be repeated, and an example. The
//! `type` of problem details leads there.

use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    page::{escaped, for_either, html, link},
    status::{DOMAIN, Fault, Reason, Repetition, code_name},
};

/// What the path of every entry begins with.
pub const BASE: &str = "/errors/";

/// The path of a reason.
#[must_use]
pub fn path(reason: Reason) -> String {
    format!("{BASE}{}", reason.as_str())
}

/// What is at a path of the catalogue: an entry, or the list of all. `None` where there is nothing.
pub fn answer(path: &str, headers: &HeaderMap) -> Option<Response> {
    if path == BASE.trim_end_matches('/') {
        // Links of the list are relative, and so is this one: a prefix in front of all stays.
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        response.headers_mut().insert(header::LOCATION, header::HeaderValue::from_static("errors/"));
        return Some(response);
    }
    let name = path.strip_prefix(BASE)?;
    if name.is_empty() {
        return Some(for_either(headers, list, list_page));
    }
    let reason = Reason::parse(name)?;
    Some(for_either(headers, || entry(reason), || entry_page(reason)))
}

fn list() -> Value {
    json!({ "errors": Reason::ALL.iter().map(|reason| entry(*reason)).collect::<Vec<_>>() })
}

fn entry(reason: Reason) -> Value {
    let mut entry = json!({
        "reason": reason.as_str(),
        "domain": DOMAIN,
        "http": reason.http().as_u16(),
        "grpc": code_name(reason.code()),
        "cause": reason.cause(),
        "retry": name(reason.repetition()),
        "advice": advice(reason.repetition()),
        "example": example(reason),
    });
    if let Repetition::Later(after) = reason.repetition() {
        entry["retryAfterSeconds"] = after.as_secs_f64().into();
    }
    entry
}

const fn name(repetition: Repetition) -> &'static str {
    match repetition {
        Repetition::Never => "never",
        Repetition::Later(_) => "later",
        Repetition::WithKey => "with-key",
    }
}

fn advice(repetition: Repetition) -> String {
    match repetition {
        Repetition::Never => "Do not repeat the call as it is: it fails again in the same way, until it or what it is about has \
                              changed."
            .to_owned(),
        Repetition::Later(after) => format!(
            "Repeat the call after {} s, or after the time that the answer names (`RetryInfo`, `Retry-After`), and wait longer each time.",
            after.as_secs_f64()
        ),
        Repetition::WithKey => "The call may have taken effect. Repeat it with the same idempotency key; without one, look first."
            .to_owned(),
    }
}

/// As AIP-193 shows it, without details of a case.
fn example(reason: Reason) -> Value {
    let fault = Fault::new(reason, reason.cause());
    let info = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason.as_str(), "domain": DOMAIN, "metadata": {},
    });
    json!({ "error": {
        "code": reason.http().as_u16(), "status": code_name(reason.code()), "message": fault.message, "details": [info],
    } })
}

fn list_page() -> String {
    let line = |reason: &Reason| {
        let name = reason.as_str();
        format!("<dt>{}</dt>\n<dd>{}</dd>", link(name, name), escaped(reason.cause()))
    };
    let lines: Vec<String> = Reason::ALL.iter().map(line).collect();
    html("Errors", &format!("<dl>\n{}\n</dl>", lines.join("\n")))
}

fn entry_page(reason: Reason) -> String {
    let example = serde_json::to_string_pretty(&example(reason)).unwrap_or_default();
    let body = format!(
        "<p>{}</p>\n<dl>\n<dt>HTTP</dt><dd>{}</dd>\n<dt>gRPC</dt><dd>{}</dd>\n<dt>Again?</dt><dd>{}</dd>\n</dl>\n<pre>{}</pre>\n<p>{}</p>",
        escaped(reason.cause()),
        reason.http().as_u16(),
        code_name(reason.code()),
        escaped(&advice(reason.repetition())),
        escaped(&example),
        link("./", "All errors"),
    );
    html(reason.as_str(), &body)
}
