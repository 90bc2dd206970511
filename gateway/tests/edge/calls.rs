//! What travels with a call: keys, ids, traces, credentials and deadlines.

use std::{future::pending, time::Duration};

use http::StatusCode;
use ordermesh::orders::v1::{CancelOrderRequest, Order};
use prost::Message as _;
use serde_json::json;

use crate::{
    upstream::{Upstream, echo, one},
    world::{World, json, reason, shapes},
};

const CANCEL: &str = "/gateway/orders/7:cancel";

#[tokio::test]
async fn an_idempotency_key_is_quoted_or_bare() {
    for header in ["\"key\"", "key"] {
        let upstream = Upstream::start(async |_| {
            let mut reply = one(&Order::default())?;
            reply.metadata_mut().insert("idempotency-replayed", "true".parse().expect("metadata"));
            Ok(reply)
        })
        .await;
        let world = World::of(&upstream).await;
        let response = world
            .request("POST", CANCEL)
            .header("idempotency-key", header)
            .send()
            .await
            .expect("the edge answers");
        assert_eq!(
            (response.status(), &response.headers()["idempotency-replayed"]),
            (StatusCode::OK, &"true".parse().expect("a value"))
        );
        let request = CancelOrderRequest::decode(upstream.call().wire).expect("the contract's message");
        assert_eq!(
            request,
            CancelOrderRequest {
                order_id: "7".into(),
                request_id: "key".into(),
                ..CancelOrderRequest::default()
            }
        );
    }
}

#[tokio::test]
async fn two_idempotency_keys_are_refused() {
    let upstream = Upstream::start(async |_| one(&Order::default())).await;
    let world = World::of(&upstream).await;
    let request = world
        .request("POST", CANCEL)
        .header("idempotency-key", "a")
        .header("content-type", "application/json");
    let response = request.body("{\"requestId\": \"b\"}").send().await.expect("the edge answers");
    assert_eq!(reason(&json(response, StatusCode::BAD_REQUEST).await), "INVALID_FIELD");
    let request = world.request("POST", CANCEL).header("idempotency-key", "a").header("idempotency-key", "b");
    let response = request.send().await.expect("the edge answers");
    assert_eq!(reason(&json(response, StatusCode::BAD_REQUEST).await), "MALFORMED_REQUEST");
    assert!(upstream.calls().is_empty());
    // Where the request has no request_id, the header means nothing.
    let read = world.request("GET", "/gateway/orders/7").header("idempotency-key", "a").send().await;
    assert_eq!(read.expect("the edge answers").status(), StatusCode::OK);
}

#[tokio::test]
async fn traces_and_credentials_travel_on_and_nothing_else() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let sent = [
        ("authorization", "Bearer x"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "a=1"),
        ("x-request-id", "mine"),
        ("cookie", "secret"),
        ("grpc-timeout", "1n"),
    ];
    let request = sent
        .iter()
        .fold(world.request("GET", "/v1/shapes"), |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.expect("the edge answers");
    assert_eq!(
        (response.status(), &response.headers()["x-request-id"]),
        (StatusCode::OK, &"mine".parse().expect("a value"))
    );
    let metadata = upstream.call().metadata;
    for (name, value) in &sent[..4] {
        assert_eq!(metadata.get(*name).expect(name), value);
    }
    assert!(!metadata.contains_key("cookie"));
}

#[tokio::test]
async fn a_request_without_a_usable_id_gets_one() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    for id in [None, Some("x".repeat(256))] {
        let request = id
            .into_iter()
            .fold(world.request("GET", "/v1/shapes"), |request, id| request.header("x-request-id", id));
        let response = request.send().await.expect("the edge answers");
        let given = response.headers()["x-request-id"].to_str().expect("text").to_owned();
        assert_eq!(given.parse::<uuid::Uuid>().expect("a UUID").get_version_num(), 7);
        assert_eq!(
            upstream.calls().last().expect("a call").metadata.get("x-request-id").expect("an id"),
            &given
        );
    }
}

#[tokio::test]
async fn an_id_that_services_store_is_taken_over() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    for length in [1, 128, 129, 255] {
        let id = "x".repeat(length);
        let response = world.request("GET", "/v1/shapes").header("x-request-id", &id).send().await;
        let response = response.expect("the edge answers");
        assert_eq!(response.headers()["x-request-id"], id.as_str(), "{length}");
        let call = upstream.calls().pop().expect("a call");
        assert_eq!(call.metadata.get("x-request-id").expect("an id"), id.as_str(), "{length}");
    }
}

#[tokio::test]
async fn a_call_ends_with_its_deadline() {
    let upstream = Upstream::start(async |_| pending().await).await;
    let world = World::with(gateway::Config {
        request_timeout: Duration::from_millis(30),
        ..shapes(&upstream.url())
    })
    .await;
    for asked in [None, Some("20ms"), Some("0.02")] {
        let request = asked.into_iter().fold(world.request("GET", "/v1/shapes"), |request, time| {
            request.header("x-request-timeout", time)
        });
        let error = json(request.send().await.expect("the edge answers"), StatusCode::GATEWAY_TIMEOUT).await;
        assert_eq!(reason(&error), "DEADLINE_EXCEEDED");
    }
    assert!(upstream.calls().iter().all(|call| call.metadata.contains_key("grpc-timeout")));
    let response = world
        .request("GET", "/v1/shapes")
        .header("x-request-timeout", "soon")
        .send()
        .await
        .expect("the edge answers");
    assert_eq!(
        json(response, StatusCode::BAD_REQUEST).await["error"]["details"][1]["fieldViolations"][0]["field"],
        json!("x-request-timeout")
    );
}

#[tokio::test]
async fn a_service_that_gives_up_itself_is_a_deadline_too() {
    let upstream = Upstream::start(async |_| Err(tonic::Status::cancelled("Timeout expired"))).await;
    let world = World::of_shapes(&upstream).await;
    assert_eq!(
        reason(&json(world.get("/v1/shapes").await, StatusCode::GATEWAY_TIMEOUT).await),
        "DEADLINE_EXCEEDED"
    );
}
