//! The W3C trace context of a request: it comes in with it, and goes on with everything that the request causes.
//!
//! A process that exports its spans puts its own between; every other one hands on what it was given.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use http::{HeaderMap, HeaderValue};
use opentelemetry::{
    KeyValue, global,
    trace::{Status, TraceContextExt as _},
};
use tonic::metadata::MetadataMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The header, and the metadata, of the trace context (W3C Trace Context, section 3.2).
pub const TRACEPARENT: &str = "traceparent";
/// What tracing systems add to it (section 3.3).
pub const TRACESTATE: &str = "tracestate";

/// Bytes of a trace context of version 00.
const LENGTH: usize = 55;

/// A `tracestate` without a trace is dropped up to this length, in bytes: many times what systems have to hand on (section 3.3.1.5).
const MOST_DROPPED: usize = 8 << 10;

/// Whether this process exports its spans.
static EXPORTS: AtomicBool = AtomicBool::new(false);

/// Spans are exported from now on.
pub(crate) fn export() {
    EXPORTS.store(true, Relaxed);
}

/// Whether this process exports its spans.
#[must_use]
pub fn is_exported() -> bool {
    EXPORTS.load(Relaxed)
}

/// The request's `traceparent` in version 00, when it has a single well-formed one, of this or of a later version.
#[must_use]
pub fn incoming(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() { None } else { in_version_00(text) }
}

/// A new trace context, for a request that has none: `00-…-…-01`.
#[must_use]
pub fn fresh() -> String {
    // Zero is no id.
    let (trace, span) = (rand::random::<u128>().max(1), rand::random::<u64>().max(1));
    format!("00-{trace:032x}-{span:016x}-01")
}

/// Makes a span that has just begun part of the trace of `traceparent`, where spans are exported; `headers` may have a `tracestate` to it.
pub fn join(span: &Span, traceparent: Option<&str>, headers: &HeaderMap) {
    let Some(traceparent) = traceparent.filter(|_| is_exported()) else { return };
    let mut carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    carrier.extend(state(headers).map(|state| (TRACESTATE.to_owned(), state)));
    let context = global::get_text_map_propagator(|propagator| propagator.extract(&carrier));
    // Refused where the span is filtered out: then there is nothing to be part of.
    let _joined = span.set_parent(context);
}

/// Names a span, where spans are exported: what is known later than its beginning, and what a log has no use for.
pub fn name(span: &Span, name: String) {
    if is_exported() {
        span.context().span().update_name(name);
    }
}

/// Says of a span how its work has ended, where spans are exported: its attributes, and what went wrong on this side, if anything did.
pub fn ended(span: &Span, attributes: &[(&'static str, &str)], error: Option<&str>) {
    if !is_exported() {
        return;
    }
    let context = span.context();
    let span = context.span();
    span.set_attributes(attributes.iter().map(|(key, value)| KeyValue::new(*key, (*value).to_owned())));
    if let Some(error) = error {
        span.set_attribute(KeyValue::new("error.type", error.to_owned()));
        span.set_status(Status::error(error.to_owned()));
    }
}

/// The `traceparent` to hand on: that of the current span where spans are exported, and `incoming` otherwise.
#[must_use]
pub fn onward(incoming: Option<&str>) -> Option<String> {
    of_span(&Span::current()).or_else(|| incoming.map(str::to_owned))
}

/// The `traceparent` of a span, where spans are exported.
#[must_use]
pub fn of_span(span: &Span) -> Option<String> {
    let context = is_exported().then(|| span.context())?;
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut carrier: HashMap<String, String> = HashMap::new();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut carrier));
    carrier.remove(TRACEPARENT)
}

/// A trace context that goes on with what a call causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The `traceparent`.
    pub parent: String,
    /// The `tracestate` as it came, its lines as one.
    pub state: Option<String>,
}

/// The trace context of a call, for what the call causes: that of the current span, or the well-formed one of `metadata`.
#[must_use]
pub fn of_call(metadata: &MetadataMap) -> Option<Context> {
    let headers = metadata.as_ref();
    let incoming = incoming(headers);
    let parent = onward(incoming.as_deref())?;
    Some(Context { parent, state: incoming.and_then(|_| state(headers)) })
}

/// The lines of `tracestate` as one (RFC 9110, section 5.3).
fn state(headers: &HeaderMap) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(TRACESTATE).iter().filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// Leaves in the headers of a request what goes on: a `traceparent` of version 00, and `tracestate` only with it. A request without a trace
/// gets a new one, unless its span begins one. Returns the trace context.
pub fn settle(headers: &mut HeaderMap) -> Option<String> {
    let parent = match incoming(headers) {
        // As nearly every one comes.
        Some(Cow::Borrowed(text)) => return Some(text.to_owned()),
        Some(Cow::Owned(text)) => Some(text),
        None => {
            let length: usize = headers.get_all(TRACESTATE).iter().map(HeaderValue::len).sum();
            // A longer one is left to whoever bounds heads, and refuses it.
            if length <= MOST_DROPPED {
                headers.remove(TRACESTATE);
            }
            (!is_exported()).then(fresh)
        }
    };
    headers.remove(TRACEPARENT);
    let value = parent.as_ref().and_then(|parent| HeaderValue::from_str(parent).ok());
    headers.extend(value.map(|value| (http::HeaderName::from_static(TRACEPARENT), value)));
    parent
}

/// A trace context as version 00 spells it. Of a later version what 00 knows is read (W3C Trace Context, section 3.2.3): its ids, and of
/// its flags whether it is sampled; what follows them is left out.
fn in_version_00(text: &str) -> Option<Cow<'_, str>> {
    let known = text.get(..LENGTH)?;
    let lengths = [2, 32, 16, 2];
    let parts: Vec<&str> = known.split('-').collect();
    let hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_well_formed = parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| part.len() == length && hex(part))
        && parts[0] != "ff"
        && parts[1].bytes().any(|byte| byte != b'0')
        && parts[2].bytes().any(|byte| byte != b'0');
    let rest = &text[LENGTH..];
    match parts[0] {
        _ if !is_well_formed => None,
        "00" => rest.is_empty().then_some(Cow::Borrowed(text)),
        _ if !rest.is_empty() && !rest.starts_with('-') => None,
        _ => {
            let flags = u8::from_str_radix(parts[3], 16).ok()? & 1;
            Some(Cow::Owned(format!("00-{}-{}-{flags:02x}", parts[1], parts[2])))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

    #[test]
    fn only_well_formed_trace_contexts_pass() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(in_version_00(good).as_deref(), Some(good));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\u{e9}",
        ] {
            assert_eq!(in_version_00(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_later_version_is_read_and_handed_on_as_00() {
        for (text, flags) in [
            (format!("01-{TRACE}-01"), "01"),
            (format!("cc-{TRACE}-ff"), "01"),
            (format!("01-{TRACE}-02-what-the-future-brings"), "00"),
        ] {
            assert_eq!(in_version_00(&text), Some(format!("00-{TRACE}-{flags}").into()), "{text}");
        }
    }

    #[test]
    fn what_goes_on_is_one_trace_context_and_its_state() {
        let headers = |lines: &[(&'static str, &str)]| {
            let line = |(name, value): &(&'static str, &str)| {
                (http::HeaderName::from_static(name), value.parse::<HeaderValue>().expect("a value"))
            };
            lines.iter().map(line).collect::<HeaderMap>()
        };
        let later = format!("01-{TRACE}-01-x");
        let mut kept = headers(&[(TRACEPARENT, &later), (TRACESTATE, "a=1"), (TRACESTATE, "b=2")]);
        assert_eq!(settle(&mut kept), Some(format!("00-{TRACE}-01")));
        assert_eq!(kept[TRACEPARENT], format!("00-{TRACE}-01"));
        assert_eq!(kept.get_all(TRACESTATE).iter().count(), 2);
        let two = format!("00-{TRACE}-01");
        for lines in [
            &[(TRACEPARENT, two.as_str()), (TRACEPARENT, &two), (TRACESTATE, "a=1")][..],
            &[(TRACESTATE, "a=1")],
        ] {
            let mut fresh = headers(lines);
            let settled = settle(&mut fresh).expect("a new one");
            assert!(!settled.contains(TRACE) && in_version_00(&settled).is_some(), "{settled}");
            assert_eq!(fresh[TRACEPARENT], settled);
            assert_eq!(fresh.len(), 1);
        }
    }
}
