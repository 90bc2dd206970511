//! Headers: what those of a request mean for the call, and which of them travel on with it.

mod hops;
mod media;

use std::time::Duration;

use chassis::{
    status::{Fault, Reason, Violation},
    trace,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

pub(crate) use self::{
    hops::{MAX_HEAD_BYTES, check_head, remove_hops},
    media::{content_type, declares_json, media_type},
};
use crate::settings::timeout::Timeout;

/// Names a request in logs on both sides of the edge, and in its answer.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What a lenient edge passed over.
pub(crate) const X_IGNORED: HeaderName = HeaderName::from_static("x-ordermesh-ignored");

/// Conditions that no write is compared with.
const NEVER_COMPARED: [HeaderName; 2] = [header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE];

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const X_REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// Headers that become metadata of the call, under the same name.
const FORWARDED: [HeaderName; 4] = [
    header::AUTHORIZATION,
    HeaderName::from_static(trace::TRACEPARENT),
    HeaderName::from_static("tracestate"),
    X_REQUEST_ID,
];

/// Those, and the ones that every call has.
const MOST_METADATA: usize = 8;

/// The key of `Idempotency-Key`: a structured-field string (RFC 8941, section 3.3.3), or the same without quotes.
///
/// # Errors
/// MALFORMED_REQUEST when the header is there more than once, is empty, or is not printable ASCII.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(text) = single(headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    let key = match text.strip_prefix('"') {
        Some(quoted) => unquote(quoted),
        None => Some(text.to_owned()),
    };
    match key.filter(|key| !key.is_empty()) {
        Some(key) => Ok(Some(key)),
        None => Err(malformed(&IDEMPOTENCY_KEY, "must be a key, bare or as one quoted string")),
    }
}

/// Whether there is an `Idempotency-Key`.
#[must_use]
pub(crate) fn has_key(headers: &HeaderMap) -> bool {
    headers.contains_key(&IDEMPOTENCY_KEY)
}

/// The position after which a client wants a stream to go on (WHATWG HTML, section 9.2.4).
///
/// # Errors
/// MALFORMED_REQUEST when the header is there more than once.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    single(headers, &LAST_EVENT_ID)
}

/// How long the client is going to wait: `X-Request-Timeout`.
///
/// # Errors
/// MALFORMED_REQUEST when it cannot be read.
pub(crate) fn request_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
    let Some(text) = single(headers, &X_REQUEST_TIMEOUT)? else { return Ok(None) };
    let timeout: Timeout = text.parse().map_err(|error| malformed(&X_REQUEST_TIMEOUT, error))?;
    Ok(Some(timeout.into()))
}

/// The metadata of the call that a request leads to, with `further` headers of it.
#[must_use]
pub(crate) fn metadata(headers: &HeaderMap, further: &[HeaderName]) -> HeaderMap {
    let mut metadata = HeaderMap::with_capacity(MOST_METADATA);
    for name in FORWARDED.iter().chain(further) {
        for value in headers.get_all(name) {
            metadata.append(name.clone(), value.clone());
        }
    }
    // It never comes again: in the table of HTTP/2 it would only take the place of headers that do.
    if let Some(id) = metadata.get_mut(X_REQUEST_ID) {
        id.set_sensitive(true);
    }
    // The edge's own span, where it is exported, comes between the client's and that of the service.
    if let Some(own) = trace::onward(None).and_then(|own| own.parse().ok()) {
        metadata.insert(trace::TRACEPARENT, own);
    }
    metadata
}

/// The condition on a write, for a method that has it compared where it writes: `If-Match` becomes the string field `etag` of its request
/// (AIP-154), as bytes to be put behind the others. Any other condition is refused (RFC 9110, sections 13.1.1, 13.1.2 and 13.1.4): who sends one
/// wants nothing done where it does not hold, and only the service can see to that.
///
/// # Errors
/// PRECONDITION_UNSUPPORTED; MALFORMED_REQUEST when `If-Match` names no tag, or is not printable.
pub(crate) fn condition(
    headers: &HeaderMap,
    request: &MessageDescriptor,
    is_read: bool,
) -> Result<Vec<u8>, Fault> {
    let mut wire = Vec::new();
    if is_read {
        return Ok(wire);
    }
    refuse(&NEVER_COMPARED, headers)?;
    match text_field(request, "etag") {
        Some(etag) if headers.contains_key(header::IF_MATCH) => {
            prost::encoding::string::encode(etag.number(), &tags(headers)?, &mut wire);
        }
        Some(_) => {}
        None => refuse(&[header::IF_MATCH], headers)?,
    }
    Ok(wire)
}

/// What `If-Match` lists: at least one tag, or `*`. An empty field would be no condition, which is not what an empty header asks for.
fn tags(headers: &HeaderMap) -> Result<String, Fault> {
    let name = header::IF_MATCH;
    let lines: Result<Vec<&str>, _> = headers.get_all(&name).iter().map(HeaderValue::to_str).collect();
    let tags = lines.map_err(|_| malformed(&name, "must be printable ASCII"))?.join(",");
    if tags.split(',').all(|tag| tag.trim().is_empty()) {
        return Err(malformed(&name, "must be entity tags, or *"));
    }
    Ok(tags)
}

/// The field of a request with this name, where it is one text.
pub(crate) fn text_field(request: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    let is_text = |field: &FieldDescriptor| field.kind() == Kind::String && !field.is_list();
    request.get_field_by_name(name).filter(is_text)
}

/// Refuses a condition on a write.
///
/// # Errors
/// PRECONDITION_UNSUPPORTED.
pub(crate) fn check_conditions(headers: &HeaderMap) -> Result<(), Fault> {
    refuse(&NEVER_COMPARED, headers)?;
    refuse(&[header::IF_MATCH], headers)
}

fn refuse(conditions: &[HeaderName], headers: &HeaderMap) -> Result<(), Fault> {
    let Some(name) = conditions.iter().find(|name| headers.contains_key(*name)) else { return Ok(()) };
    let violation =
        Violation { field: name.to_string(), description: "is not evaluated for writes".to_owned() };
    let fault = Fault::new(
        Reason::PreconditionUnsupported,
        format!("{name} is not evaluated for writes: nothing was done"),
    );
    Err(Fault { violations: vec![violation], ..fault })
}

/// Names that came from a client, as one header value: `?` stands for what a header cannot hold.
#[must_use]
pub(crate) fn names(names: &[String]) -> Option<HeaderValue> {
    let printable = |c: char| if c.is_ascii_graphic() && c != ',' { c } else { '?' };
    let names: Vec<String> = names.iter().map(|name| name.chars().map(printable).collect()).collect();
    HeaderValue::from_str(&names.join(", ")).ok().filter(|value| !value.is_empty())
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Fault> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(malformed(name, "is there more than once"));
    }
    let text = value.to_str().map_err(|_| malformed(name, "must be printable ASCII"))?;
    Ok(Some(text.trim()))
}

fn unquote(quoted: &str) -> Option<String> {
    let mut key = String::new();
    let mut characters = quoted.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => return characters.as_str().is_empty().then_some(key),
            '\\' => key.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            _ => key.push(c),
        }
    }
    None
}

fn malformed(name: &HeaderName, problem: impl ToString) -> Fault {
    let violation = Violation { field: name.to_string(), description: problem.to_string() };
    let message = format!("{}: {}", violation.field, violation.description);
    Fault { violations: vec![violation], ..Fault::new(Reason::MalformedRequest, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().expect("a header value"))).collect()
    }

    #[test]
    fn idempotency_keys_are_quoted_or_bare() {
        for (text, key) in
            [("abc", "abc"), ("\"abc\"", "abc"), (r#""a\"b\\c""#, r#"a"b\c"#), (" a b ", "a b")]
        {
            let key_of = idempotency_key(&headers(IDEMPOTENCY_KEY, &[text])).expect("a key");
            assert_eq!(key_of.as_deref(), Some(key), "{text}");
        }
        assert_eq!(idempotency_key(&HeaderMap::new()).expect("no key"), None);
        for wrong in [&[""][..], &["\"\""], &["\"abc"], &["\"abc\" x"], &[r#""a\x""#], &["a", "b"], &["é"]] {
            let fault = idempotency_key(&headers(IDEMPOTENCY_KEY, wrong)).expect_err("no key");
            assert_eq!(fault.reason, Reason::MalformedRequest, "{wrong:?}");
        }
    }

    #[test]
    fn only_listed_headers_travel_on() {
        let mut from = headers(HeaderName::from_static("authorization"), &["Bearer x"]);
        from.extend(headers(HeaderName::from_static("cookie"), &["secret"]));
        from.extend(headers(HeaderName::from_static("tracestate"), &["a=1", "b=2"]));
        from.extend(headers(HeaderName::from_static("x-tenant-id"), &["t"]));
        let of = |further: &[HeaderName]| metadata(&from, further);
        assert_eq!((of(&[]).len(), of(&[]).get_all("tracestate").iter().count()), (3, 2));
        assert_eq!(of(&[HeaderName::from_static("x-tenant-id")])["x-tenant-id"], "t");
    }
}
