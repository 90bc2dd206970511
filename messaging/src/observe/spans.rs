//! The part of a message in the trace of the request that caused it: a span while it is published, and one while it is
//! applied. They are of level DEBUG, one a message: without somebody who asks for them they cost nothing.

use std::collections::HashMap;

use opentelemetry::global;
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{broker::Delivery, envelope::Envelope};

/// Spans of a window that is on its way to the broker, for as long as they are kept.
pub(crate) fn publishing(source: &str, window: &[Envelope]) -> Vec<Span> {
    spans(window.iter(), |message| {
        tracing::debug_span!(
            parent: None,
            "publish",
            otel.kind = "producer",
            messaging.part = source,
            message.id = %message.id,
            message.kind = message.kind,
            trace.parent = message.traceparent,
        )
    })
}

/// Spans of a batch that is being applied, until its commit.
pub(crate) struct Effects(Vec<Span>);

impl Effects {
    /// The transaction was rolled back.
    pub(crate) fn failed(self, error: &str) {
        for span in self.0 {
            span.record("otel.status_code", "ERROR").record("error", error);
        }
    }
}

pub(crate) fn effects(consumer: &str, deliveries: &[Delivery]) -> Effects {
    let messages = deliveries.iter().filter_map(|delivery| delivery.message.as_ref().ok());
    Effects(spans(messages, |message| {
        tracing::debug_span!(
            parent: None,
            "apply",
            otel.kind = "consumer",
            otel.status_code = field::Empty,
            error = field::Empty,
            messaging.part = consumer,
            message.id = %message.id,
            message.kind = message.kind,
            trace.parent = message.traceparent,
        )
    }))
}

fn spans<'m>(messages: impl Iterator<Item = &'m Envelope>, span: impl Fn(&Envelope) -> Span) -> Vec<Span> {
    if !tracing::span_enabled!(tracing::Level::DEBUG) {
        return Vec::new();
    }
    let in_its_trace = |message: &Envelope| {
        let span = span(message);
        join(&span, message);
        span
    };
    messages.map(in_its_trace).collect()
}

/// Makes a span that has just begun part of the trace of a message, where somebody exports spans; the process says how contexts are read.
pub(super) fn join(span: &Span, message: &Envelope) {
    let Some(traceparent) = &message.traceparent else { return };
    let mut carrier = HashMap::from([("traceparent".to_owned(), traceparent.clone())]);
    carrier.extend(message.tracestate.clone().map(|state| ("tracestate".to_owned(), state)));
    let context = global::get_text_map_propagator(|propagator| propagator.extract(&carrier));
    // Refused where nobody exports: then there is nothing to be part of.
    let _joined = span.set_parent(context);
}
