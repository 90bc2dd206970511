//! One trace, from the HTTP request of a client through outbox and broker to the effects in both services.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use world::{PATIENCE, Process, eventually};

use crate::{
    collector::{Collector, Recorded},
    mesh::{APART, Arrangement, Mesh},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";

/// The names of spans.
const PLACE: &str = "POST /gateway/orders";
const CREATE: &str = "ordermesh.orders.v1.OrdersService/CreateOrder";

/// On a broker behind TLS: the settings of the services lead there.
const TLS: Arrangement = Arrangement { tls: true, ..APART };

/// Places an order in the trace of its client, and waits for its end.
async fn place(mesh: &Mesh) -> Result<()> {
    let order = json!({ "userId": "alice", "amount": 1 });
    let request = mesh.api.request(Method::POST, "/gateway/orders");
    let request = request.header("traceparent", format!("00-{TRACE}-{CLIENT}-01"));
    let request = request.header("tracestate", "vendor=one").header("tracestate", "other=two");
    let placed = world::answer(request.json(&order)).await?;
    let id = placed.body["id"].as_str().with_context(|| placed.text.clone())?;
    ensure!(mesh.ended(id).await?["status"] == "FINISHED");
    Ok(())
}

#[tokio::test]
async fn the_logs_of_all_processes_name_the_trace() -> Result<()> {
    let env = [("LOG_FORMAT", "json"), ("LOG_FILTER", "info,messaging=debug,tower_http=debug")];
    let mesh = Mesh::start_with(TLS, &env.map(|(name, value)| (name, value.to_owned()))).await?;
    mesh.account("alice", 10).await?;
    place(&mesh).await?;
    let (placed, decided) = ("ordermesh.orders.v1.OrderPlaced", "ordermesh.payments.v1.PaymentDecided");
    let create = "/ordermesh.orders.v1.OrdersService/CreateOrder";
    for (process, what) in [
        ("gateway", json!({ "message": "answered", "http.path": "/gateway/orders" })),
        ("orders", json!({ "message": "finished processing request", "rpc": create })),
        ("orders", json!({ "message": "published", "message.kind": placed })),
        ("payments", json!({ "message": "applied", "message.kind": placed })),
        ("payments", json!({ "message": "published", "message.kind": decided })),
        ("orders", json!({ "message": "applied", "message.kind": decided })),
    ] {
        eventually(&format!("a line of {process} in the trace: {what}"), PATIENCE, async || {
            let output = mesh.output(process)?;
            let mut lines = output.lines().filter_map(|line| serde_json::from_str(line).ok());
            ensure!(lines.any(|line: Value| matches(&line, &what)), "{} lines", output.lines().count());
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Whether a line, or the span that it belongs to, has all these fields, and is of the trace.
fn matches(line: &Value, fields: &Value) -> bool {
    let of = |name: &str| if line[name].is_null() { &line["span"][name] } else { &line[name] };
    let trace = of("trace.parent").as_str().and_then(|parent| parent.split('-').nth(1));
    let same = |(name, value): (&String, &Value)| of(name) == value;
    trace == Some(TRACE) && fields.as_object().is_some_and(|fields| fields.iter().all(same))
}

#[tokio::test]
async fn a_collector_is_told_of_one_trace_through_all_processes() -> Result<()> {
    let collector = Collector::start().await?;
    let env =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()), ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned())];
    let mut mesh = Mesh::start_with(APART, &env).await?;
    mesh.account("alice", 10).await?;
    place(&mesh).await?;

    let edge = collector.span("gateway", PLACE, |span| span.trace == TRACE).await?;
    ensure!(edge.parent == CLIENT, "{edge:?}");
    let call = collector.span("orders", CREATE, |span| span.trace == TRACE).await?;
    ensure!(call.parent == edge.id && call.attributes.get("rpc").ends_with("/CreateOrder"), "{call:?}");
    ensure!(call.state == "vendor=one,other=two", "{call:?}");
    the_messages_are_recorded(&collector, &call).await?;

    // A request without a trace begins one.
    let id = mesh.order("alice", 2).await?;
    mesh.ended(&id).await?;
    let new = |span: &Recorded| span.trace != TRACE && span.parent.is_empty();
    let edge = collector.span("gateway", PLACE, new).await?;
    let call = collector.span("orders", CREATE, |span| span.parent == edge.id).await?;
    the_messages_are_recorded(&collector, &call).await?;

    // Nobody waits for a collector that is gone.
    drop(collector);
    mesh.stop().await
}

#[tokio::test]
async fn the_last_spans_are_sent_before_the_end() -> Result<()> {
    let collector = Collector::start().await?;
    // Nothing is sent before the end.
    let env =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()), ("OTEL_BSP_SCHEDULE_DELAY", "3600000".to_owned())];
    let mut mesh = Mesh::start_with(APART, &env).await?;
    mesh.account("alice", 10).await?;
    place(&mesh).await?;
    mesh.stop().await?;
    for output in mesh.processes.iter().map(Process::output) {
        ensure!(!output.contains("the last spans were not sent"), "{output}");
    }
    let edge = collector.span("gateway", PLACE, |span| span.trace == TRACE).await?;
    let call = collector.span("orders", CREATE, |span| span.trace == TRACE).await?;
    ensure!(call.parent == edge.id, "{call:?} is not of {edge:?}");
    collector.span("payments", "apply", |span| span.trace == TRACE).await.map(drop)
}

/// The message of the order and the answer to it, each published and applied because of the call.
async fn the_messages_are_recorded(collector: &Collector, call: &Recorded) -> Result<()> {
    for (service, name, kind) in [
        ("orders", "publish", "ordermesh.orders.v1.OrderPlaced"),
        ("payments", "apply", "ordermesh.orders.v1.OrderPlaced"),
        ("payments", "publish", "ordermesh.payments.v1.PaymentDecided"),
        ("orders", "apply", "ordermesh.payments.v1.PaymentDecided"),
    ] {
        let of_call =
            |span: &Recorded| span.trace == call.trace && span.attributes.get("message.kind") == kind;
        let span = collector.span(service, name, of_call).await?;
        ensure!(span.parent == call.id && span.state == call.state, "{span:?} is not of {call:?}");
    }
    Ok(())
}
