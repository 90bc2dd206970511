//! What a page needs whose `EventSource` connects again and again: an end that it keeps to, and errors that it survives.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use chassis::status::{Fault, Reason};
use futures_util::{StreamExt as _, stream};
use gateway::Config;
use http::StatusCode;
use serde_json::Value;

use crate::{
    streams::{WATCH, event},
    upstream::{Reply, Upstream},
    world::{World, json, opened, reason},
};

/// What an `EventSource` accepts.
const EVENTS: &str = "text/event-stream";

/// A stream that has nothing more, as a service marks one.
fn complete() -> Reply {
    let mut response = tonic::Response::new(stream::empty().boxed());
    response.metadata_mut().insert("stream-complete", "true".parse().expect("a value"));
    Ok(response)
}

/// The one event of a stream, and when to connect again.
fn only_event(text: &str) -> (u64, Value) {
    let (retry, error) = text.split_once("\nevent: error\ndata: ").expect("an error");
    let retry = retry.strip_prefix("retry: ").expect("a time").parse().expect("milliseconds");
    (retry, serde_json::from_str(error).expect("JSON"))
}

#[tokio::test]
async fn a_stream_that_has_nothing_more_is_no_content() {
    let world = World::of(&Upstream::start(async |_| complete()).await).await;
    for accept in [EVENTS, "*/*"] {
        let request = world.request("GET", WATCH).header("accept", accept).header("last-event-id", "3");
        assert_eq!(request.send().await.expect("an answer").status(), StatusCode::NO_CONTENT, "{accept}");
    }
    // Readers of lines have an end of their own.
    let lines = world.request("GET", WATCH).header("accept", "application/x-ndjson").send().await;
    let lines = lines.expect("an answer");
    assert_eq!((lines.status(), lines.text().await.expect("a body").as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn what_is_not_marked_has_an_end_of_its_own() {
    let empty = async |_| Ok(tonic::Response::new(stream::empty().boxed()));
    let world = World::of(&Upstream::start(empty).await).await;
    let mut response = world.get(WATCH).await;
    opened(&mut response).await;
    assert_eq!(response.text().await.expect("a body"), "event: end\ndata: {}\n\n");
}

#[tokio::test]
async fn an_outage_is_an_event_for_whoever_accepts_nothing_else() {
    let away = Arc::new(AtomicBool::new(true));
    let is_away = Arc::clone(&away);
    let upstream = Upstream::start(move |_| {
        let away = is_away.load(Relaxed);
        async move {
            if away {
                return Err(Fault::new(Reason::StorageUnavailable, "the database is away").into());
            }
            Ok(tonic::Response::new(stream::iter([Ok(event(1))]).boxed()))
        }
    })
    .await;
    let world = World::of(&upstream).await;
    for accept in [EVENTS, "text/event-stream; charset=utf-8", "TEXT/event-stream, text/html;q=0"] {
        let response = world.request("GET", WATCH).header("accept", accept).send().await.expect("an answer");
        assert_eq!(
            (response.status(), &response.headers()["content-type"]),
            (StatusCode::OK, &EVENTS.parse().expect("a value"))
        );
        let (retry, error) = only_event(&response.text().await.expect("a body"));
        assert!((1_000..=60_000).contains(&retry), "{retry}");
        assert_eq!((error["error"]["code"].as_u64(), reason(&error)), (Some(503), "STORAGE_UNAVAILABLE"));
    }
    // Others decide by the status.
    for accept in ["*/*", "text/event-stream, application/json", "application/x-ndjson"] {
        let response = world.request("GET", WATCH).header("accept", accept).send().await.expect("an answer");
        assert_eq!(reason(&json(response, StatusCode::SERVICE_UNAVAILABLE).await), "STORAGE_UNAVAILABLE");
    }
    away.store(false, Relaxed);
    let response = world.request("GET", WATCH).header("accept", EVENTS).send().await.expect("an answer");
    assert!(response.text().await.expect("a body").contains("id: 1\n"), "it is back");
}

#[tokio::test]
async fn a_limit_is_an_event_and_a_wrong_request_is_not() {
    let pending =
        async |_| Ok(tonic::Response::new(stream::iter([Ok(event(1))]).chain(stream::pending()).boxed()));
    let upstream = Upstream::start(pending).await;
    let config = Config::builtin(upstream.url(), upstream.url());
    let world = World::with(Config { max_streams: 1, ..config }).await;
    // Nothing that passes by itself.
    let wrong = world.request("GET", WATCH).header("accept", EVENTS).header("last-event-id", "x");
    let wrong = wrong.send().await.expect("an answer");
    assert_eq!(reason(&json(wrong, StatusCode::BAD_REQUEST).await), "MALFORMED_REQUEST");
    let mut first = world.get(WATCH).await;
    opened(&mut first).await;
    let response = world.request("GET", WATCH).header("accept", EVENTS).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    let (_, error) = only_event(&response.text().await.expect("a body"));
    assert_eq!(error["error"]["code"], 429);
}

#[tokio::test]
async fn caches_have_to_ask() {
    let world = World::of(&Upstream::start(async |call| crate::upstream::echo(&call)).await).await;
    for (path, status) in [
        ("/gateway/payments/alice", 200),
        ("/gateway/orders/7", 200),
        ("/gateway/nowhere", 404),
        ("/gateway/orders?page_size=x", 400),
        ("/openapi.json", 200),
    ] {
        let response = world.get(path).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["cache-control"]),
            (status, &"no-cache".parse().expect("a value")),
            "{path}"
        );
    }
    let response = world.get("/gateway/orders/7").await;
    let tag = response.headers()["etag"].clone();
    let again = world.request("GET", "/gateway/orders/7").header("if-none-match", tag).send().await;
    let again = again.expect("an answer");
    assert_eq!(
        (again.status(), &again.headers()["cache-control"]),
        (StatusCode::NOT_MODIFIED, &"no-cache".parse().expect("a value"))
    );
}
