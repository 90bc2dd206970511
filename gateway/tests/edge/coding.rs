//! Compressed bodies, both ways.

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use futures_util::{StreamExt as _, stream};
use gateway::Config;
use http::StatusCode;
use ordermesh::orders::v1::{Order, OrderEvent};
use prost::Message as _;
use reqwest::Response;
use serde_json::{Value, json as value};

use crate::{
    connect::envelope,
    payloads::body,
    upstream::{Upstream, echo},
    world::{World, json, opened, reason, shapes},
};

const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

async fn compressing(upstream: &Upstream) -> World {
    World::with(Config { compress: true, ..shapes(&upstream.url()) }).await
}

async fn accepting(world: &World, path: &str, coding: &str) -> Response {
    world.request("GET", path).header("accept-encoding", coding).send().await.expect("the edge answers")
}

async fn post(world: &World, coding: &str, body: Vec<u8>) -> Response {
    let request = world.request("POST", "/v1/shapes/a").header("content-type", "application/json");
    request.header("content-encoding", coding).body(body).send().await.expect("the edge answers")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_can_read_them() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = compressing(&upstream).await;
    let long = format!("/v1/shapes?left={}", "a".repeat(2_000));
    for coding in CODINGS {
        let response = accepting(&world, &long, coding).await;
        assert_eq!(response.headers()["content-encoding"], coding);
        assert!(response.headers()["etag"].to_str().expect("text").starts_with("W/"));
        let compressed = response.bytes().await.expect("a body").to_vec();
        assert!(compressed.len() < 200);
        // What the edge has written it can read.
        let echoed = json(post(&world, coding, compressed).await, StatusCode::OK).await;
        assert_eq!(echoed, value!({"text": "a", "left": "a".repeat(2_000)}));
    }
    let response = accepting(&world, &long, "gzip").await;
    let compressed = response.bytes().await.expect("a body");
    let mut text = String::new();
    GzDecoder::new(&compressed[..]).read_to_string(&mut text).expect("gzip");
    let read: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(read, value!({"left": "a".repeat(2_000)}));
    assert!(!accepting(&world, &long, "identity").await.headers().contains_key("content-encoding"));
    assert!(
        !accepting(&world, "/v1/shapes?text=short", "gzip").await.headers().contains_key("content-encoding")
    );
}

#[tokio::test]
async fn who_refuses_an_answer_without_a_coding_gets_one_all_the_same() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = compressing(&upstream).await;
    for accept in
        ["identity;q=0", "identity; q=0.0", "*;q=0", "identity;q=0, *;q=0", "gzip;q=0, identity;q=0"]
    {
        let request = world.request("POST", "/v1/shapes/a").header("content-type", "application/json");
        let request = request.header("accept-encoding", accept).body("{}");
        let response = request.send().await.expect("the edge answers");
        // The write took effect.
        json(response, StatusCode::OK).await;
    }
    assert_eq!(upstream.calls().len(), 5);
    let long = format!("/v1/shapes?left={}", "a".repeat(2_000));
    let coded = accepting(&world, &long, "identity;q=0, gzip").await;
    assert_eq!(coded.headers()["content-encoding"], "gzip");
}

#[tokio::test]
async fn nothing_is_compressed_unless_it_is_asked_for() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let long = format!("/v1/shapes?left={}", "a".repeat(2_000));
    assert!(!accepting(&world, &long, "gzip").await.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn streams_are_not_held_back() {
    let event = OrderEvent { order: Some(Order { description: "a".repeat(2_000), ..Order::default() }) };
    let event = bytes::Bytes::from(event.encode_to_vec());
    let upstream = Upstream::start(move |_| {
        let messages = stream::iter([Ok(event.clone())]).chain(stream::pending());
        async move { Ok(tonic::Response::new(messages.boxed())) }
    })
    .await;
    let config = Config::builtin(upstream.url(), upstream.url());
    let world = World::with(Config { compress: true, ..config }).await;
    const WATCH: &str = "/ordermesh.orders.v1.OrdersService/WatchOrder";
    let asked = envelope(0, br#"{"orderId": "7"}"#);
    for framing in ["text/event-stream", "application/x-ndjson", "application/connect+json"] {
        let request = match framing {
            "application/connect+json" => {
                world.request("POST", WATCH).header("content-type", framing).body(asked.clone())
            }
            _ => world.request("GET", "/gateway/orders/7:watch").header("accept", framing),
        };
        let mut response =
            request.header("accept-encoding", "gzip, br, zstd").send().await.expect("the edge answers");
        assert!(!response.headers().contains_key("content-encoding"), "{framing}");
        if framing == "text/event-stream" {
            opened(&mut response).await;
        }
        let chunk = response.chunk().await.expect("a frame").expect("a frame");
        assert!(String::from_utf8_lossy(&chunk).contains("aaaa"));
    }
}

#[tokio::test]
async fn a_stream_of_bytes_is_not_held_back_either() {
    let upstream = Upstream::start(async |_| {
        let part = bytes::Bytes::from(body("text/csv", &[b'a'; 2_000]).encode_to_vec());
        Ok(tonic::Response::new(stream::iter([Ok(part)]).chain(stream::pending()).boxed()))
    })
    .await;
    let world = compressing(&upstream).await;
    let mut response = accepting(&world, "/v1/files:download", "gzip, br, zstd").await;
    assert!(!response.headers().contains_key("content-encoding"));
    assert!(response.chunk().await.expect("a part").expect("a part").starts_with(b"aaaa"));
}

#[tokio::test]
async fn compressed_requests_are_read() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let echoed = json(post(&world, "gzip", gzip(b"{\"i64\": 7}")).await, StatusCode::OK).await;
    assert_eq!(echoed, value!({"text": "a", "i64": "7"}));
    let broken = json(post(&world, "gzip", b"{\"i64\": 7}".to_vec()).await, StatusCode::BAD_REQUEST).await;
    assert_eq!(reason(&broken), "MALFORMED_REQUEST");
    for coding in ["compress", "gzip, gzip"] {
        let refused = post(&world, coding, gzip(b"{}")).await;
        assert_eq!(refused.headers()["accept-encoding"], "gzip, br, zstd");
        assert_eq!(
            reason(&json(refused, StatusCode::UNSUPPORTED_MEDIA_TYPE).await),
            "UNSUPPORTED_MEDIA_TYPE"
        );
    }
}

#[tokio::test]
async fn a_bomb_is_too_large() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let bomb = gzip(&vec![b' '; 8 << 20]);
    assert!(bomb.len() < 1 << 20, "small enough if it were not unpacked");
    let error = json(post(&world, "gzip", bomb).await, StatusCode::PAYLOAD_TOO_LARGE).await;
    assert_eq!(reason(&error), "BODY_TOO_LARGE");
    // And what is packed into nothing, member after member, costs time all the same.
    let nothing = gzip(b"").repeat(100_000);
    let error = json(post(&world, "gzip", nothing).await, StatusCode::PAYLOAD_TOO_LARGE).await;
    assert_eq!(reason(&error), "BODY_TOO_LARGE");
    assert!(upstream.calls().is_empty());
}

#[tokio::test]
async fn every_member_of_gzip_is_read() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let members = [&gzip(b"{\"i64\":")[..], &gzip(b""), &gzip(b" 7, \"u32\": 8}")].concat();
    let whole = value!({"text": "a", "i64": "7", "u32": 8});
    assert_eq!(json(post(&world, "gzip", members.clone()).await, StatusCode::OK).await, whole);
    // Whatever part of the body comes first.
    for split in [1, 20, members.len() - 1] {
        let parts = [members[..split].to_vec(), members[split..].to_vec()].map(Ok::<_, std::io::Error>);
        let request = world.request("POST", "/v1/shapes/a").header("content-type", "application/json");
        let body = reqwest::Body::wrap_stream(stream::iter(parts));
        let request = request.header("content-encoding", "gzip").body(body);
        let response = request.send().await.expect("the edge answers");
        assert_eq!(json(response, StatusCode::OK).await, whole);
    }
    for broken in [&members[..members.len() - 1], &[&members[..], b"garbage"].concat()] {
        let error = json(post(&world, "gzip", broken.to_vec()).await, StatusCode::BAD_REQUEST).await;
        assert_eq!(reason(&error), "MALFORMED_REQUEST");
    }
    // What they unpack to together is bounded, too.
    let many = gzip(&vec![b' '; 200 << 10]).repeat(6);
    let error = json(post(&world, "gzip", many).await, StatusCode::PAYLOAD_TOO_LARGE).await;
    assert_eq!(reason(&error), "BODY_TOO_LARGE");
    let upload = world.request("PUT", "/v1/files/a").header("content-type", "text/plain");
    let upload = upload.header("content-encoding", "x-gzip").body([gzip(b"he"), gzip(b"llo")].concat());
    let stored = upload.send().await.expect("the edge answers").bytes().await.expect("a body");
    assert_eq!(&stored[..], b"hello");
}

#[tokio::test]
async fn identity_is_no_coding() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let echoed = json(post(&world, "identity", b"{\"i32\": 7}".to_vec()).await, StatusCode::OK).await;
    assert_eq!(echoed, value!({"text": "a", "i32": 7}));
    let echoed = json(post(&world, "gzip, identity", gzip(b"{\"i32\": 7}")).await, StatusCode::OK).await;
    assert_eq!(echoed, value!({"text": "a", "i32": 7}));
}

#[tokio::test]
async fn x_gzip_is_gzip() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let echoed = json(post(&world, "x-gzip", gzip(b"{\"i32\": 7}")).await, StatusCode::OK).await;
    assert_eq!(echoed, value!({"text": "a", "i32": 7}));
}

#[tokio::test]
async fn bytes_of_any_type_arrive_unpacked_or_not_at_all() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let upload = async |coding: &str, body: Vec<u8>| {
        let request = world.request("PUT", "/v1/files/a").header("content-type", "text/plain");
        request.header("content-encoding", coding).body(body).send().await.expect("the edge answers")
    };
    let stored = upload("gzip", gzip(b"hello")).await;
    assert_eq!(
        (stored.status(), &stored.bytes().await.expect("a body")[..]),
        (StatusCode::OK, &b"hello"[..])
    );
    let refused = json(upload("foo", b"hello".to_vec()).await, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    assert_eq!(reason(&refused), "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(upstream.calls().len(), 1);
}
