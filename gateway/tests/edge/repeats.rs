//! Calls that are made again, and answers that need not be sent again.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use http::StatusCode;
use tonic::Status;

use crate::{
    upstream::{Upstream, echo},
    world::{World, json},
};

/// A service that is away for the first call of every two.
async fn away_at_first() -> Upstream {
    let calls = AtomicU32::new(0);
    Upstream::start(move |call| {
        let away = calls.fetch_add(1, Relaxed).is_multiple_of(2);
        async move { if away { Err(Status::unavailable("away")) } else { echo(&call) } }
    })
    .await
}

#[tokio::test]
async fn a_read_and_a_request_with_a_key_are_made_again() {
    let upstream = away_at_first().await;
    let world = World::of_shapes(&upstream).await;
    json(world.get("/v1/shapes?text=a").await, StatusCode::OK).await;
    let keyed =
        world.request("POST", "/v1/shapes/a").header("idempotency-key", "k").json(&serde_json::json!({}));
    json(keyed.send().await.expect("the edge answers"), StatusCode::OK).await;
    assert_eq!(upstream.calls().len(), 4);
}

#[tokio::test]
async fn a_request_without_a_key_is_not_made_again() {
    let upstream = away_at_first().await;
    let world = World::of_shapes(&upstream).await;
    json(world.send("POST", "/v1/shapes/a", "{}").await, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(upstream.calls().len(), 1);
}

#[tokio::test]
async fn an_answer_that_the_client_has_is_not_sent_again() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let first = world.get("/v1/shapes?text=a").await;
    let tag = first.headers()["etag"].clone();
    json(first, StatusCode::OK).await;
    let again =
        |query: &str| world.request("GET", &format!("/v1/shapes?text={query}")).header("if-none-match", &tag);
    let response = again("a").send().await.expect("the edge answers");
    assert_eq!((response.status(), &response.headers()["etag"]), (StatusCode::NOT_MODIFIED, &tag));
    assert_eq!(response.bytes().await.expect("no body").len(), 0);
    let response = again("b").send().await.expect("the edge answers");
    assert_ne!(response.headers()["etag"], tag);
    json(response, StatusCode::OK).await;
}
