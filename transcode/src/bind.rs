//! Path, query, body and headers of a request become one message, with every error found on the way.

pub(crate) mod query;
pub(crate) mod mask;
pub(crate) mod message;
pub(crate) mod json;
pub(crate) mod decimal;
pub(crate) mod scalar;
pub(crate) mod text;
pub(crate) mod known;
pub(crate) mod names;
pub(crate) mod closed;
pub(crate) mod memory;
pub(crate) mod report;
#[cfg(test)]
mod panic_tests;
#[cfg(test)]
mod tests;

use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, Value};

use self::{
    json::Json,
    message::{Walk, has_null},
    query::{descend, dotted},
    report::{BODY, Report, RequestError},
};
use crate::{
    payload,
    routes::{
        percent::PercentError,
        route::{Body, FieldPath, Route},
    },
};

/// The parts of an HTTP request that can hold fields.
#[derive(Debug, Default)]
pub struct Input<'a> {
    /// The values of the path's variables, in the order of [`Route::variables`].
    pub captures: Vec<Result<String, PercentError>>,
    /// What follows the `?`.
    pub query: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// The header `Content-Type`; it counts where the body is no JSON.
    pub content_type: &'a str,
    /// The header `Idempotency-Key`, unquoted; it counts where the request has a `request_id`.
    pub idempotency_key: Option<&'a str>,
    /// The header `Last-Event-ID`; it counts where the request has an `after_version`, and then before a query parameter,
    /// because a browser repeats the URL when it resumes.
    pub last_event_id: Option<&'a str>,
}

/// Binds a request. The message, and the names that a lenient edge passed over.
///
/// # Errors
/// Every error, with its field.
pub(crate) fn bind(
    route: &Route,
    input: &Input<'_>,
    lenient: bool,
) -> Result<(DynamicMessage, Vec<String>), RequestError> {
    let mut report = Report::new(lenient);
    let mut message = DynamicMessage::new(route.rpc.input.clone());
    let json = body(route, input, &mut message, &mut report);
    query::bind(route, input.query, &mut message, &mut report);
    if let (Some(mask), Body::Field(field), Some(json)) = (&route.update_mask, &route.body, &json) {
        mask::derive(&mut message, mask, field, json);
    }
    for (path, capture) in route.variables.iter().zip(&input.captures) {
        match capture {
            Ok(text) => variable(path, text, &mut message, &mut report),
            Err(problem) => report.unreadable(&dotted(path), problem.to_string()),
        }
    }
    if let Some(key) = input.idempotency_key {
        idempotency_key(route, key, &mut message, &mut report);
    }
    if let Some(id) = input.last_event_id {
        last_event_id(route, id, &mut message, &mut report);
    }
    Ok((message, report.finish()?))
}

/// Binds the body; its JSON, if it is any.
fn body<'i>(
    route: &Route,
    input: &Input<'i>,
    message: &mut DynamicMessage,
    report: &mut Report,
) -> Option<Json<'i>> {
    if route.raw_body {
        raw_body(route, input, message);
        return None;
    }
    if input.body.is_empty() {
        return None;
    }
    if route.body == Body::Nothing {
        report.unknown(BODY, "this route has none");
        return None;
    }
    let json = json::parse(input.body, &report.memory);
    let json = json.map_err(|error| report.unreadable(BODY, error.to_string())).ok()?;
    let whole = Kind::Message(route.rpc.input.clone());
    let kind = if let Body::Field(field) = &route.body { field.kind() } else { whole };
    match &route.body {
        // What many generated clients send when they are given no body.
        _ if json.is_null() && !has_null(&kind) => return None,
        Body::Field(field) => Walk::new(report).member(message, field, &json),
        _ => Walk::new(report).whole(message, &json),
    }
    Some(json)
}

fn raw_body(route: &Route, input: &Input<'_>, message: &mut DynamicMessage) {
    let payload = |kind: &MessageDescriptor| payload::message(kind, input.content_type, input.body);
    match &route.body {
        Body::Nothing => {}
        Body::Whole => *message = payload(&route.rpc.input),
        Body::Field(field) => {
            if let Kind::Message(kind) = field.kind() {
                message.set_field(field, Value::Message(payload(&kind)));
            }
        }
    }
}

/// Reads a message from JSON text alone.
///
/// # Errors
/// As [`bind`].
pub(crate) fn message_of(
    descriptor: &MessageDescriptor,
    text: &[u8],
    lenient: bool,
) -> Result<DynamicMessage, RequestError> {
    let mut report = Report::new(lenient);
    let mut message = DynamicMessage::new(descriptor.clone());
    match json::parse(text, &report.memory) {
        Err(error) => report.unreadable(BODY, error.to_string()),
        Ok(json) => Walk::new(&mut report).whole(&mut message, &json),
    }
    report.finish()?;
    Ok(message)
}

fn variable(path: &FieldPath, text: &str, message: &mut DynamicMessage, report: &mut Report) {
    // The table holds no empty path.
    let Some((field, parents)) = path.split_last() else { return };
    let outcome = text::from_text(&field.kind(), text).and_then(|value| {
        let parent = descend(message, parents)?;
        if parent.has_field(field) && *parent.get_field(field) != value {
            return Err("differs from the path".to_owned());
        }
        parent.set_field(field, value);
        Ok(())
    });
    if let Err(problem) = outcome {
        report.unreadable(&dotted(path), problem);
    }
}

fn idempotency_key(route: &Route, key: &str, message: &mut DynamicMessage, report: &mut Report) {
    let Some(field) = &route.rpc.request_id else { return };
    match message.get_field(field).as_str() {
        Some("") | None => {}
        Some(given) if given == key => {}
        Some(_) => return report.invalid(field.json_name(), "differs from the header Idempotency-Key"),
    }
    message.set_field(field, Value::String(key.to_owned()));
}

fn last_event_id(route: &Route, id: &str, message: &mut DynamicMessage, report: &mut Report) {
    let Some(field) = &route.rpc.after_version else { return };
    match id.parse() {
        Ok(version) => message.set_field(field, Value::I64(version)),
        Err(_) => report.unreadable(field.json_name(), "the header Last-Event-ID must be a 64-bit integer"),
    }
}
