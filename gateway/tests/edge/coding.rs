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

/// The same with a body of parts that come one by one.
async fn post_parts(world: &World, coding: &str, parts: [&[u8]; 2]) -> Response {
    let parts = parts.map(|part| Ok::<_, std::io::Error>(part.to_vec()));
    let request = world.request("POST", "/v1/shapes/a").header("content-type", "application/json");
    let body = reqwest::Body::wrap_stream(stream::iter(parts));
    request.header("content-encoding", coding).body(body).send().await.expect("the edge answers")
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

pub(crate) fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4 << 10, 1, 20);
    encoder.write_all(bytes).expect("memory");
    encoder.into_inner()
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
async fn the_weights_of_codings_count_everywhere() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = compressing(&upstream).await;
    let long = "a".repeat(2_000);
    let (route, message) = (format!("/v1/shapes?left={long}"), value!({"left": long}).to_string());
    for (accept, coding) in [
        ("gzip;q=0.5, identity;q=1", None),
        ("gzip;q=0.5, identity", None),
        ("gzip; q=0.5, *; q=0", Some("gzip")),
        ("identity;q=0.1, gzip;q=0.5, br;q=0.8", Some("br")),
        ("gzip;q=0, *;q=0.3, identity;q=0.2", Some("zstd")),
    ] {
        for (what, method, path) in [
            ("a route", "GET", route.as_str()),
            ("an error", "GET", "/v1/shapes?nope=1"),
            ("Connect", "POST", "/shapes.v1.Shapes/Query"),
            ("a document", "GET", "/openapi.json"),
            ("a page", "GET", "/swagger/swagger-ui.css"),
        ] {
            let request = world.request(method, path).header("accept-encoding", accept);
            let request = match method {
                "POST" => request.header("content-type", "application/json").body(message.clone()),
                _ => request,
            };
            let response = request.send().await.expect("the edge answers");
            let text = |name: &str| response.headers().get(name).map(|value| value.to_str().expect("text"));
            let found = (text("content-encoding"), text("vary"));
            assert_eq!(found, (coding, Some("accept-encoding")), "{what}: {accept}");
        }
    }
}

#[tokio::test]
async fn what_has_not_changed_has_the_headers_of_its_answer() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    for compress in [false, true] {
        let world = World::with(Config { compress, ..shapes(&upstream.url()) }).await;
        for path in ["/v1/shapes?text=short".to_owned(), format!("/v1/shapes?left={}", "a".repeat(2_000))] {
            let whole = accepting(&world, &path, "gzip").await;
            let request = world.request("GET", &path).header("accept-encoding", "gzip");
            let request = request.header("if-none-match", &whole.headers()["etag"]);
            let unchanged = request.send().await.expect("the edge answers");
            assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED);
            for name in ["vary", "etag", "cache-control"] {
                let (found, expected) = (unchanged.headers().get(name), whole.headers().get(name));
                assert_eq!(found, expected, "{compress} {path} {name}");
            }
            assert_eq!(whole.headers().contains_key("vary"), compress, "{path}");
        }
    }
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
    let spaces = vec![b' '; 8 << 20];
    for (coding, bomb) in [("gzip", gzip(&spaces)), ("br", brotli(&spaces))] {
        assert!(bomb.len() < 1 << 20, "small enough if it were not unpacked");
        let error = json(post(&world, coding, bomb).await, StatusCode::PAYLOAD_TOO_LARGE).await;
        assert_eq!(reason(&error), "BODY_TOO_LARGE", "{coding}");
    }
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
        let (first, second) = members.split_at(split);
        let response = post_parts(&world, "gzip", [first, second]).await;
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
async fn what_is_behind_the_end_of_a_coding_is_refused() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = compressing(&upstream).await;
    let long = format!("/v1/shapes?left={}", "a".repeat(2_000));
    for coding in CODINGS {
        let response = accepting(&world, &long, coding).await;
        assert_eq!(response.headers()["content-encoding"], coding);
        let whole = response.bytes().await.expect("a body");
        // Whatever part of it comes first.
        let (first, second) = whole.split_at(whole.len() / 2);
        json(post_parts(&world, coding, [first, second]).await, StatusCode::OK).await;
        let calls = upstream.calls().len();
        let cut = &whole[..whole.len() - 1];
        let error = json(post(&world, coding, cut.to_vec()).await, StatusCode::BAD_REQUEST).await;
        assert_eq!(reason(&error), "MALFORMED_REQUEST", "{coding}, cut off");
        for behind in [&b"\0"[..], b"{}", &[b'x'; 100]] {
            let together = post(&world, coding, [&whole[..], behind].concat()).await;
            let apart = post_parts(&world, coding, [&whole[..], behind]).await;
            for (how, response) in [("together", together), ("apart", apart)] {
                let error = json(response, StatusCode::BAD_REQUEST).await;
                assert_eq!(reason(&error), "MALFORMED_REQUEST", "{coding}, {how}: {behind:?}");
            }
        }
        assert_eq!(upstream.calls().len(), calls, "{coding}");
    }
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
