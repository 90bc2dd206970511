//! Answers that are much longer as JSON than as the service sends them, and requests that are much longer than their text on the way there: the
//! edge makes so much of one, and no more.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use gateway::Config;
use http::StatusCode;
use serde_json::Value;
use tokio_tungstenite::connect_async;

use crate::{
    foreign::{compiled, contract, encoded},
    upstream::{Upstream, echo},
    world::{World, json, reason, shapes},
};

/// These bytes as the first field of a message.
fn first(bytes: &[u8]) -> Vec<u8> {
    let mut wire = vec![0x0a];
    prost::encoding::encode_varint(bytes.len() as u64, &mut wire);
    wire.extend_from_slice(bytes);
    wire
}

/// A text of 12 MiB, each byte of which takes six as JSON: more than 64 MiB.
async fn world() -> World {
    let upstream = Upstream::start(async |call| {
        let shape = first(&vec![1; 12 << 20]);
        let wire = if call.path.ends_with("/Watch") { first(&shape) } else { shape };
        Ok(tonic::Response::new(stream::iter([Ok(Bytes::from(wire))]).boxed()))
    })
    .await;
    let world = World::of_shapes(&upstream).await;
    // It lives as long as the test.
    std::mem::forget(upstream);
    world
}

fn is_too_large(error: &Value) -> bool {
    let message = error["error"]["message"].as_str().unwrap_or_default();
    reason(error) == "UPSTREAM_RESPONSE_TOO_LARGE" && message.contains("64 MiB")
}

#[tokio::test]
async fn an_answer_that_expands_is_cut_off_with_a_reason() {
    let world = world().await;
    for method in ["GET", "HEAD"] {
        let response = world.request(method, "/v1/shapes").send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{method}");
    }
    let error = json(world.get("/v1/shapes").await, StatusCode::BAD_GATEWAY).await;
    assert!(is_too_large(&error), "{error}");
    let error = json(world.send("POST", "/v1/shapes/a", "{}").await, StatusCode::BAD_GATEWAY).await;
    assert!(is_too_large(&error), "{error}");
    let answer = world.send("POST", "/shapes.v1.Shapes/Query", "{}").await;
    let error = answer.text().await.expect("a body");
    assert!(error.contains("64 MiB"), "{error:.200}");
}

#[tokio::test]
async fn so_is_a_message_of_a_stream() {
    let world = world().await;
    let lines = world.request("GET", "/v1/shapes:watch").header("accept", "application/x-ndjson");
    let lines = lines.send().await.expect("an answer").text().await.expect("a stream");
    let error: Value = serde_json::from_str(&lines).expect("one line");
    assert!(is_too_large(&error), "{error}");
    let events = world.get("/v1/shapes:watch").await.text().await.expect("a stream");
    assert!(events.contains("event: error") && events.contains("64 MiB"), "{events:.200}");
    let url = format!("{}/v1/shapes:watch", world.url.replace("http", "ws"));
    let (mut socket, _) = connect_async(url).await.expect("a WebSocket");
    let last = socket.next().await.expect("a message").expect("a message").into_text().expect("text");
    let error: Value = serde_json::from_str(&last).expect("JSON");
    assert!(is_too_large(&error), "{error}");
}

/// A null in a list has five bytes as text, and some seven hundred as a value.
#[tokio::test]
async fn a_request_of_more_values_than_there_is_memory_for_is_too_large() {
    let list = "message L { google.protobuf.ListValue list = 1; }
        service S { rpc Put(L) returns (L) { option (google.api.http) = {post: \"/lists\" body: \"*\"}; } }";
    let list = contract("lists.v1", "import \"google/protobuf/struct.proto\";", list);
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::with(Config {
        descriptor_set: encoded(compiled(&[("lists.proto", list)]).into_values()),
        foreign: Some(Vec::new()),
        max_body_bytes: 8 << 20,
        ..shapes(&upstream.url())
    })
    .await;
    let nulls = |count: usize| format!("{{\"list\":[{}]}}", vec!["null"; count].join(","));
    let answer = world.send("POST", "/lists", &nulls(1 << 20)).await;
    let error = json(answer, StatusCode::PAYLOAD_TOO_LARGE).await;
    assert_eq!(reason(&error), "BODY_TOO_LARGE", "{error}");
    let answer = world.send("POST", "/lists", &nulls(1 << 10)).await;
    assert_eq!(answer.text().await.expect("a body"), nulls(1 << 10));
}
