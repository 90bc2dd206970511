//! The W3C trace context of a request: it comes in with it, and goes on with everything that the request causes.
//!
//! A process that exports its spans puts its own between; every other one hands on what it was given.

use std::collections::HashMap;

use http::HeaderMap;
use opentelemetry::{global, trace::TraceContextExt as _};
use tonic::metadata::MetadataMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The header, and the metadata, of the trace context (W3C Trace Context, section 3.2).
pub const TRACEPARENT: &str = "traceparent";

/// The request's `traceparent`, when it has a well-formed one.
#[must_use]
pub fn incoming(headers: &HeaderMap) -> Option<&str> {
    headers.get(TRACEPARENT)?.to_str().ok().filter(|text| is_traceparent(text))
}

/// Makes a span that has just begun part of the trace of `traceparent`, where spans are exported.
pub fn join(span: &Span, traceparent: Option<&str>) {
    let Some(traceparent) = traceparent else { return };
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = global::get_text_map_propagator(|propagator| propagator.extract(&carrier));
    // Refused where nobody exports: then there is nothing to be part of.
    let _joined = span.set_parent(context);
}

/// The `traceparent` to hand on: that of the current span where spans are exported, and `incoming` otherwise.
#[must_use]
pub fn onward(incoming: Option<&str>) -> Option<String> {
    let context = Span::current().context();
    if !context.span().span_context().is_valid() {
        return incoming.map(str::to_owned);
    }
    let mut carrier: HashMap<String, String> = HashMap::new();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut carrier));
    carrier.remove(TRACEPARENT).or_else(|| incoming.map(str::to_owned))
}

/// The trace context of a call, for what the call causes: that of the current span, or the well-formed one of `metadata`.
#[must_use]
pub fn of_call(metadata: &MetadataMap) -> Option<String> {
    let text = metadata.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    onward(text.filter(|text| is_traceparent(text)))
}

fn is_traceparent(text: &str) -> bool {
    let lengths = [2, 32, 16, 2];
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| part.len() == length && hex(part))
        && parts[0] != "ff"
        && parts[1].bytes().any(|byte| byte != b'0')
        && parts[2].bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_trace_contexts_pass() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
