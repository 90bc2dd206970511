//! gRPC-Web with messages in JSON, in front of services that know protobuf.

use std::io::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use http::StatusCode;
use reqwest::Response;
use serde_json::{Value, json as value};

use crate::{
    connect::{envelope, envelopes},
    grpc::{GET, endless, orders},
    world::World,
};

/// A call of gRPC-Web with a message in JSON: the messages and the trailers of its answer.
async fn in_json(world: &World, path: &str, message: &str, as_text: bool) -> (Vec<Value>, String) {
    coded(world, path, &[], envelope(0, message.as_bytes()), as_text).await
}

/// The same with an envelope, and with headers.
async fn coded(
    world: &World,
    path: &str,
    headers: &[(&str, &str)],
    envelope: Vec<u8>,
    as_text: bool,
) -> (Vec<Value>, String) {
    read(requested(world, path, headers, envelope, as_text).await, Vec::new(), as_text).await
}

/// An answer whose body is still to be read.
async fn requested(
    world: &World,
    path: &str,
    headers: &[(&str, &str)],
    envelope: Vec<u8>,
    as_text: bool,
) -> Response {
    let (kind, body) = match as_text {
        true => ("application/grpc-web-text+json", BASE64_STANDARD.encode(envelope).into_bytes()),
        false => ("application/grpc-web+json", envelope),
    };
    let request = reqwest::Client::new().post(format!("{}{path}", world.url)).header("content-type", kind);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.body(body).send().await.expect("the edge answers");
    assert_eq!(
        (response.status(), &response.headers()["content-type"]),
        (StatusCode::OK, &kind.parse().expect("a value"))
    );
    response
}

/// The messages and the trailers of an answer whose body begins with what was read of it before.
async fn read(response: Response, mut body: Vec<u8>, as_text: bool) -> (Vec<Value>, String) {
    let status = response
        .headers()
        .get("grpc-status")
        .map(|status| format!("grpc-status:{}", status.to_str().expect("a number")));
    body.extend(response.bytes().await.expect("a body"));
    if as_text {
        body = body.chunks(4).flat_map(|four| BASE64_STANDARD.decode(four).expect("base64")).collect();
    }
    let (mut messages, mut trailers) = (Vec::new(), status.unwrap_or_default());
    for (flags, frame) in envelopes(&body) {
        match flags {
            0 => messages.push(serde_json::from_slice(&frame).expect("JSON")),
            _ => trailers = String::from_utf8_lossy(&frame).into_owned(),
        }
    }
    (messages, trailers)
}

#[tokio::test]
async fn grpc_web_is_spoken_in_json_to_services_that_know_protobuf() {
    let world = World::of(&orders().await).await;
    for as_text in [false, true] {
        let (messages, trailers) = in_json(&world, GET, r#"{"orderId": "7"}"#, as_text).await;
        assert_eq!(
            (&messages[..], trailers.contains("grpc-status:0")),
            (&[value!({"id": "7"})][..], true),
            "{trailers}"
        );
        for (message, code) in [(r#"{"orderId": "none"}"#, "5"), ("{", "3"), (r#"{"nope": 1}"#, "3")] {
            let (messages, trailers) = in_json(&world, GET, message, as_text).await;
            assert!(
                messages.is_empty() && trailers.contains(&format!("grpc-status:{code}")),
                "{message}: {trailers}"
            );
        }
    }
    let (upstream, _dropped) = endless().await;
    let world = World::of(&upstream).await;
    let envelope = envelope(0, br#"{"orderId": "7"}"#);
    let mut watch =
        requested(&world, "/ordermesh.orders.v1.OrdersService/WatchOrder", &[], envelope, false).await;
    let first = watch.chunk().await.expect("a frame").expect("a frame");
    world.stop();
    let (messages, trailers) = read(watch, first.to_vec(), false).await;
    assert_eq!(messages, [value!({"order": {"version": "1"}})]);
    assert!(trailers.contains("grpc-status:14"), "{trailers}");
}

#[tokio::test]
async fn codings_are_between_the_edge_and_its_client() {
    let upstream = orders().await;
    let world = World::of(&upstream).await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(br#"{"orderId": "7"}"#).expect("memory");
    let gzip = envelope(1, &gzip.finish().expect("memory"));
    let headers = [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip, identity")];
    for as_text in [false, true] {
        let (messages, trailers) = coded(&world, GET, &headers, gzip.clone(), as_text).await;
        assert_eq!(messages, [value!({"id": "7"})], "{trailers}");
    }
    for call in upstream.calls() {
        for (name, _) in headers {
            // The service would read a coding that nothing has any more, or answer in one that nobody reads.
            assert!(call.metadata.get(name).is_none(), "{name}: {call:?}");
        }
    }
    let calls = upstream.calls().len();
    let (_, trailers) = coded(&world, GET, &[("grpc-encoding", "zstd")], gzip.clone(), false).await;
    assert!(trailers.contains("grpc-status:12"), "{trailers}");
    let (_, trailers) = coded(&world, GET, &[], gzip, false).await;
    assert!(trailers.contains("grpc-status:13"), "{trailers}");
    assert_eq!(upstream.calls().len(), calls);
}

#[tokio::test]
async fn several_messages_are_too_many_whatever_they_say() {
    let upstream = orders().await;
    let world = World::of(&upstream).await;
    let one = envelope(0, br#"{"orderId": "7"}"#);
    for more in [one.clone(), envelope(0, b"{"), envelope(1, b"x"), envelope(2, b"")] {
        let (messages, trailers) = coded(&world, GET, &[], [one.clone(), more].concat(), false).await;
        assert!(messages.is_empty() && trailers.contains("grpc-status:12"), "{trailers}");
    }
    // What cannot be read is no message, however many come behind it.
    let (_, trailers) = coded(&world, GET, &[], [envelope(0, b"{"), one].concat(), false).await;
    assert!(trailers.contains("grpc-status:3"), "{trailers}");
    assert!(upstream.calls().is_empty());
}

#[tokio::test]
async fn a_message_is_as_long_as_over_http_and_json() {
    let world = World::of(&orders().await).await;
    // 1 MiB is what a body may have.
    let long = format!(r#"{{"orderId": "{}"}}"#, "x".repeat(1 << 20));
    let (messages, trailers) = in_json(&world, GET, &long, false).await;
    assert!(messages.is_empty() && trailers.contains("grpc-status:3"), "{trailers}");
}
