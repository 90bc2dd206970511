//! Server streams: both framings, errors in their middle, resuming and ending.

use chassis::status::{Fault, Reason};
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use ordermesh::orders::v1::{Order, OrderEvent, WatchOrderRequest};
use prost::Message as _;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tonic::Status;

use crate::{
    upstream::{Call, Reply, Upstream},
    world::{World, json, opened, reason},
};

pub(crate) const WATCH: &str = "/gateway/orders/7:watch";

pub(crate) fn event(version: i64) -> bytes::Bytes {
    OrderEvent { order: Some(Order { version, ..Order::default() }) }.encode_to_vec().into()
}

fn reply(messages: Vec<Result<bytes::Bytes, Status>>) -> Reply {
    Ok(tonic::Response::new(stream::iter(messages).boxed()))
}

/// Versions after the one that was asked for, up to 3; a stream after 3 fails in its middle.
async fn watch(call: Call) -> Reply {
    let request = WatchOrderRequest::decode(call.wire).expect("the contract's message");
    let after = request.after_version;
    match request.order_id.as_str() {
        "7" => reply((after + 1..=3).map(|version| Ok(event(version))).collect()),
        "broken" => reply(vec![
            Ok(event(1)),
            Err(Fault::new(Reason::StorageUnavailable, "the database is away").into()),
        ]),
        _ => Err(Fault::new(Reason::OrderNotFound, "no such order").into()),
    }
}

pub(crate) async fn world() -> World {
    World::of(&Upstream::start(watch).await).await
}

async fn accepting(world: &World, path: &str, accept: &str) -> Response {
    world.request("GET", path).header("accept", accept).send().await.expect("the edge answers")
}

pub(crate) fn line(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[tokio::test]
async fn events_have_their_version_as_id() {
    let mut response = world().await.get(WATCH).await;
    assert_eq!(
        (response.status(), &response.headers()["content-type"]),
        (StatusCode::OK, &"text/event-stream".parse().expect("a value"))
    );
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    opened(&mut response).await;
    let expected: String = (1..=3)
        .map(|version| format!("id: {version}\ndata: {{\"order\":{{\"version\":\"{version}\"}}}}\n\n"))
        .collect();
    assert_eq!(
        response.text().await.expect("a body"),
        format!("{expected}id: 3\nevent: end\ndata: {{}}\n\n")
    );
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event() {
    let world = world().await;
    let response =
        world.request("GET", &format!("{WATCH}?after_version=1")).header("last-event-id", "2").send().await;
    let text = response.expect("the edge answers").text().await.expect("a body");
    assert!(text.starts_with(": open\nid: 3\n"), "{text}");
    let response =
        world.request("GET", WATCH).header("last-event-id", "x").send().await.expect("the edge answers");
    assert_eq!(reason(&json(response, StatusCode::BAD_REQUEST).await), "MALFORMED_REQUEST");
}

#[tokio::test]
async fn an_error_in_mid_stream_is_an_event() {
    let text = world().await.get("/gateway/orders/broken:watch").await.text().await.expect("a body");
    let (message, error) = text.split_once("id: 1\nevent: error\ndata: ").expect("an error with the last id");
    assert!(message.starts_with(": open\nid: 1\n"), "{message}");
    let error = line(error);
    assert_eq!((&error["error"]["code"], reason(&error)), (&json!(503), "STORAGE_UNAVAILABLE"));
}

#[tokio::test]
async fn an_error_in_mid_stream_is_the_last_line() {
    let world = world().await;
    for (accept, code) in [
        ("application/x-ndjson", "/error/code"),
        ("application/x-ndjson, application/problem+json", "/error/status"),
    ] {
        let response = accepting(&world, "/gateway/orders/broken:watch", accept).await;
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        let text = response.text().await.expect("a body");
        let lines: Vec<Value> = text.lines().map(line).collect();
        assert_eq!((lines.len(), &lines[0]), (2, &json!({"order": {"version": "1"}})));
        assert_eq!(lines[1].pointer(code), Some(&json!(503)), "{text}");
    }
}

#[tokio::test]
async fn an_error_before_the_stream_is_an_ordinary_one() {
    let response = accepting(&world().await, "/gateway/orders/none:watch", "text/event-stream").await;
    assert_eq!(reason(&json(response, StatusCode::NOT_FOUND).await), "ORDER_NOT_FOUND");
}

/// A stream of one message that reports when its call is dropped.
pub(crate) async fn endless() -> (Upstream, oneshot::Receiver<()>) {
    let (alive, dropped) = oneshot::channel::<()>();
    let alive = std::sync::Mutex::new(Some(alive));
    let upstream = Upstream::start(move |_| {
        let alive = alive.lock().expect("no panic").take();
        let messages = stream::iter([Ok(event(1))]).chain(stream::pending()).inspect(move |_| {
            let _held = &alive;
        });
        async move { Ok(tonic::Response::new(messages.boxed())) }
    })
    .await;
    (upstream, dropped)
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_call() {
    let (upstream, dropped) = endless().await;
    let world = World::of(&upstream).await;
    let mut response = world.get(WATCH).await;
    opened(&mut response).await;
    response.chunk().await.expect("a frame").expect("a frame");
    drop(response);
    dropped.await.expect_err("the sender is dropped with the call");
}

#[tokio::test]
async fn a_stop_ends_open_streams() {
    let (upstream, _dropped) = endless().await;
    let world = World::of(&upstream).await;
    let mut response = world.get(WATCH).await;
    opened(&mut response).await;
    response.chunk().await.expect("a frame").expect("a frame");
    world.stop();
    let rest = response.text().await.expect("the rest");
    assert!(rest.starts_with("id: 1\nevent: error\n") && rest.contains("UPSTREAM_UNAVAILABLE"), "{rest}");
    world.stopped().await;
}

#[tokio::test]
async fn a_stream_ends_when_the_client_said_so() {
    let (upstream, _dropped) = endless().await;
    let world = World::of(&upstream).await;
    let request = world.request("GET", WATCH).header("x-request-timeout", "60");
    let mut response = request.send().await.expect("the edge answers");
    opened(&mut response).await;
    // From here on time passes as soon as everyone waits.
    tokio::time::pause();
    let text = response.text().await.expect("a body");
    assert!(text.contains("event: error\n") && text.contains("DEADLINE_EXCEEDED"), "{text}");
}

#[tokio::test]
async fn silence_is_filled_with_heartbeats() {
    let (upstream, _dropped) = endless().await;
    let world = World::of(&upstream).await;
    let mut response = world.get(WATCH).await;
    opened(&mut response).await;
    response.chunk().await.expect("a frame").expect("a frame");
    // From here on time passes as soon as everyone waits.
    tokio::time::pause();
    for _ in 0..3 {
        assert_eq!(response.chunk().await.expect("a frame").as_deref(), Some(&b": heartbeat\n"[..]));
    }
}

#[tokio::test]
async fn lines_have_no_heartbeats_and_no_end_but_the_last() {
    let (upstream, _dropped) = endless().await;
    let world = World::of(&upstream).await;
    let request = world.request("GET", WATCH).header("accept", "application/x-ndjson");
    let mut response = request.header("x-request-timeout", "60").send().await.expect("the edge answers");
    response.chunk().await.expect("a line").expect("a line");
    tokio::time::pause();
    let rest = response.text().await.expect("the rest");
    assert_eq!(reason(&line(&rest)), "DEADLINE_EXCEEDED");
}
