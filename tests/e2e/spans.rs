//! What spans say of requests that fail, which contexts go on, and what variables of OpenTelemetry say where to.

use anyhow::{Context as _, Result, ensure};
use ordermesh::orders::v1::{GetOrderRequest, orders_service_client::OrdersServiceClient};
use reqwest::Method;
use serde_json::Value;
use tonic::Request;
use world::{Api, PATIENCE, Process, Program, eventually};

use crate::{
    collector::{Collector, Recorded},
    mesh::{Arrangement, EMBEDDED, Mesh},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";
const ACCOUNT: &str = "/gateway/payments/nobody";
const GET_ORDER: &str = "ordermesh.orders.v1.OrdersService/GetOrder";

fn exporting(collector: &Collector) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.url()),
        // Nobody listens there.
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1".to_owned()),
        ("OTEL_SERVICE_NAME", "shop".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
    ]
}

#[tokio::test]
async fn a_span_says_what_was_asked_for_and_how_it_ended() -> Result<()> {
    let collector = Collector::start().await?;
    let mesh = Mesh::start_with(EMBEDDED, &exporting(&collector)).await?;
    let traced = |path: &str| {
        let request = mesh.api.request(Method::GET, path);
        // Of a later version, with what this one does not know.
        let request = request.header("traceparent", format!("01-{TRACE}-{CLIENT}-01-more"));
        request.header("tracestate", "vendor=one").header("tracestate", "other=two")
    };
    ensure!(world::answer(traced(ACCOUNT)).await?.status == 404);
    let of_client = |span: &Recorded| span.trace == TRACE;
    let edge = collector.span("shop", "GET /gateway/payments/{user_id}", of_client).await?;
    ensure!(edge.parent == CLIENT && edge.state == "vendor=one,other=two", "{edge:?}");
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/gateway/payments/{user_id}"),
        ("http.response.status_code", "404"),
    ] {
        ensure!(edge.attributes.get(name) == value, "{name} of {edge:?}");
    }
    // It is the client that is wrong.
    ensure!(!edge.is_error, "{edge:?}");
    let call = collector.span("shop", "ordermesh.payments.v1.PaymentsService/GetAccount", of_client).await?;
    ensure!(call.parent == edge.id && call.state == edge.state, "{call:?}");
    ensure!(call.attributes.get("rpc.response.status_code") == "NOT_FOUND" && !call.is_error, "{call:?}");

    // No time is too short for the edge to say so.
    let hurried = traced("/gateway/orders?userId=alice").header("x-request-timeout", "1ms");
    let answer = world::answer(hurried).await?;
    ensure!(answer.status == 504 || answer.status == 200, "{}", answer.text);
    if answer.status == 504 {
        let failed = collector.span("shop", "GET /gateway/orders", of_client).await?;
        ensure!(failed.is_error && failed.attributes.get("error.type") == "504", "{failed:?}");
    }
    // A path of nobody's is no name of a span.
    ensure!(mesh.api.get("/nowhere").await?.status == 404);
    collector
        .span("shop", "GET", |span| span.attributes.get("http.response.status_code") == "404")
        .await
        .map(drop)
}

/// An edge whose services are away.
async fn alone(collector: &Collector) -> Result<(Process, Api)> {
    let nobody = "http://127.0.0.1:1";
    let gateway = Program::named("gateway")?
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--orders-url", nobody, "--payments-url", nobody]);
    let variables = exporting(collector);
    let mut gateway =
        variables.into_iter().fold(gateway, |program, (name, value)| program.env(name, value)).start()?;
    let api = Api::new(format!("http://{}", gateway.address("http").await?))?;
    Ok((gateway, api))
}

#[tokio::test]
async fn a_span_of_a_failed_request_is_an_error() -> Result<()> {
    let collector = Collector::start().await?;
    let (_gateway, api) = alone(&collector).await?;
    ensure!(api.get(ACCOUNT).await?.status == 503);
    let failed = collector.span("shop", "GET /gateway/payments/{user_id}", |_| true).await?;
    ensure!(failed.is_error && failed.attributes.get("http.response.status_code") == "503", "{failed:?}");
    Ok(())
}

/// A call by its name has its status behind its head, or in its body: its span has it all the same.
#[tokio::test]
async fn a_span_of_a_call_has_its_status_in_every_protocol() -> Result<()> {
    let collector = Collector::start().await?;
    let (_gateway, api) = alone(&collector).await?;
    let trace_of = |number: usize| format!("{TRACE:.31}{number}");
    let parent = |number: usize| format!("00-{}-{CLIENT}-01", trace_of(number));
    let calls = [
        ("application/json", &br#"{"orderId": "7"}"#[..], "connectrpc", "UNAVAILABLE"),
        ("application/proto", &b"\x0a\x017"[..], "connectrpc", "UNAVAILABLE"),
        ("application/grpc-web+proto", &b"\0\0\0\0\x03\x0a\x017"[..], "grpc", "UNAVAILABLE"),
        ("application/json", &br#"{"nope": 1}"#[..], "connectrpc", "INVALID_ARGUMENT"),
    ];
    for (number, (kind, message, ..)) in calls.iter().enumerate() {
        let call = api.request(Method::POST, &format!("/{GET_ORDER}")).header("content-type", *kind);
        world::answer(call.header("traceparent", parent(number)).body(message.to_vec())).await?;
    }
    let mut client = OrdersServiceClient::connect(api.base().to_owned()).await?;
    let mut request = Request::new(GetOrderRequest { order_id: "7".to_owned() });
    request.metadata_mut().insert("traceparent", parent(calls.len()).parse()?);
    client.get_order(request).await.err().context("nobody is there")?;
    let over_grpc = [("grpc", "UNAVAILABLE")];
    let expected = calls.iter().map(|(_, _, system, code)| (*system, *code)).chain(over_grpc);
    for (number, (system, code)) in expected.enumerate() {
        let trace = trace_of(number);
        let span = collector.span("shop", GET_ORDER, |span| span.trace == trace).await?;
        let of = |name| span.attributes.get(name);
        ensure!(of("rpc.system.name") == system && of("rpc.method") == GET_ORDER, "{span:?}");
        ensure!(of("rpc.response.status_code") == code, "{span:?} without {code}");
        // It is the client that is wrong, or the service that is away.
        let error = if code == "UNAVAILABLE" { code } else { "" };
        ensure!(span.is_error != error.is_empty() && of("error.type") == error, "{span:?}");
    }
    Ok(())
}

/// The service says of its own call what the edge says of the request.
#[tokio::test]
async fn a_span_of_a_service_that_fails_is_an_error() -> Result<()> {
    let collector = Collector::start().await?;
    let arrangement = Arrangement { postgres: true, ..EMBEDDED };
    let mut mesh = Mesh::start_with(arrangement, &exporting(&collector)).await?;
    let mut postgres = mesh.postgres.take().context("a mesh on PostgreSQL")?;
    postgres.stop().await?;
    let request = mesh.api.request(Method::GET, ACCOUNT);
    let request = request.header("traceparent", format!("00-{TRACE}-{CLIENT}-01"));
    let answer = world::answer(request).await?;
    ensure!(answer.status == 503, "{}", answer.text);
    let name = "ordermesh.payments.v1.PaymentsService/GetAccount";
    let failed = collector.span("shop", name, |span| span.trace == TRACE && span.is_error).await?;
    let code = failed.attributes.get("rpc.response.status_code");
    ensure!(code == "UNAVAILABLE" && failed.attributes.get("error.type") == code, "{failed:?}");
    Ok(())
}

#[tokio::test]
async fn a_process_with_a_disabled_sdk_hands_on_what_it_is_given() -> Result<()> {
    let collector = Collector::start().await?;
    let mut variables = exporting(&collector);
    variables.extend([("OTEL_SDK_DISABLED", "TRUE".to_owned()), ("LOG_FORMAT", "json".to_owned())]);
    variables.push(("LOG_FILTER", "info,tower_http=debug".to_owned()));
    let mut mesh = Mesh::start_with(EMBEDDED, &variables).await?;
    let request = mesh.api.request(Method::GET, ACCOUNT);
    let later = format!("cc-{TRACE}-{CLIENT}-ff-more");
    ensure!(world::answer(request.header("traceparent", later)).await?.status == 404);
    ensure!(mesh.api.get("/gateway/payments/somebody").await?.status == 404);
    let line = |output: &str, message: &str, which: &dyn Fn(&Value) -> bool| {
        let mut lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let found = lines.find(|line| line["message"] == message && which(&line["span"]));
        found.and_then(|line| Some(line["span"]["trace.parent"].as_str()?.to_owned()))
    };
    let answered = "finished processing request";
    eventually("the lines of both requests", PATIENCE, async || {
        let output = mesh.processes[0].output();
        let of = |path: &'static str| move |span: &Value| span["http.path"] == path;
        let given = line(&output, "answered", &of(ACCOUNT)).context("no line of the first")?;
        ensure!(given == format!("00-{TRACE}-{CLIENT}-01"), "{given}");
        // One that brings no trace has one all the same, and the service has the same.
        let own =
            line(&output, "answered", &of("/gateway/payments/somebody")).context("no line of the second")?;
        let called = |span: &Value| span["trace.parent"] == own.as_str() && span["rpc"].is_string();
        line(&output, answered, &called).with_context(|| format!("no call in {own}: {output}"))
    })
    .await?;
    mesh.stop().await?;
    ensure!(collector.is_empty(), "spans were sent");
    Ok(())
}
