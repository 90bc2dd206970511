//! Streams of services that never end them: the edge does, when the token that let them in expires.

use std::{future::pending, time::Duration};

use chassis::status::{Fault, Reason};
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, join_all},
    stream,
};
use gateway::Config;
use ordermesh::orders::v1::{WatchOrderRequest, orders_service_client::OrdersServiceClient};
use prost::Message as _;
use tokio::time::{Instant, interval, timeout};
use tokio_stream::wrappers::IntervalStream;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};
use tonic::{Request, metadata::MetadataValue};
use world::{Issuer, PATIENCE, claims};

use crate::{identity::verifier, streams::event, talks, upstream::Upstream, world::World};

/// A service that looks at no token: the watch `silent` has one event, `mute` does not even begin, and any other never rests.
async fn service() -> Upstream {
    Upstream::start(async |call| {
        let id = WatchOrderRequest::decode(call.wire).map(|request| request.order_id).unwrap_or_default();
        if id == "mute" {
            pending::<()>().await;
        }
        let silent = id == "silent";
        let events = IntervalStream::new(interval(Duration::from_millis(20))).map(|_| Ok(event(1)));
        let events = if silent { events.take(1).chain(stream::pending()).boxed() } else { events.boxed() };
        Ok(tonic::Response::new(events))
    })
    .await
}

/// What a stream over HTTP had, to its end.
async fn text(world: &World, id: &str, token: &str, accept: &str) -> String {
    let request = world.request("GET", &format!("/gateway/orders/{id}:watch")).header("accept", accept);
    let response = request.bearer_auth(token).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    response.text().await.expect("a stream")
}

/// What a WebSocket had.
async fn socket(world: &World, path: &str, token: &str) -> String {
    let mut request =
        format!("{}{path}", world.url.replace("http", "ws")).into_client_request().expect("a URL");
    let bearer = format!("Bearer {token}").parse().expect("a value");
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = connect_async(request).await.expect("a WebSocket");
    let mut all = String::new();
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) => all.push_str(&text),
            Message::Close(close) => all.push_str(&close.expect("a code").reason),
            _ => {}
        }
    }
    all
}

/// How a stream of gRPC ended.
async fn grpc(world: &World, id: &str, token: &str) -> String {
    let mut client = OrdersServiceClient::connect(world.url.clone()).await.expect("the edge listens");
    let mut request = Request::new(WatchOrderRequest { order_id: id.into(), after_version: 0 });
    let bearer = MetadataValue::try_from(format!("Bearer {token}")).expect("a value");
    request.metadata_mut().insert("authorization", bearer);
    let status = match client.watch_order(request).await.map(tonic::Response::into_inner) {
        Err(status) => status,
        Ok(mut events) => loop {
            match events.message().await {
                Ok(event) => assert!(event.is_some(), "an end without a word"),
                Err(status) => break status,
            }
        },
    };
    let fault = Fault::from_status(&status).expect("a reason");
    assert_eq!(fault.reason, Reason::Unauthenticated);
    format!("UNAUTHENTICATED {}", fault.message)
}

/// What lines that never end are answered.
async fn lines(world: &World, token: &str) -> String {
    let never = stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let request = talks::post(world, "/collect", reqwest::Body::wrap_stream(never)).bearer_auth(token);
    request.send().await.expect("an answer").text().await.expect("a body")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_token_whatever_the_service_does() {
    let issuer = Issuer::start().await.expect("an issuer");
    let verifier = verifier(&issuer);
    let upstream = service().await;
    let known = Some(verifier.clone());
    let world =
        World::with(Config { issuer: known.clone(), ..Config::builtin(upstream.url(), upstream.url()) })
            .await;
    let talks = talks::world_with(|config| Config { issuer: known, ..config }).await;
    let token = issuer.token("first", &claims("alice", "orders:read", 4)).await.expect("a token");
    let begun = Instant::now();
    let (world, talks, token) = (&world, &talks, token.as_str());
    let mut ends: Vec<BoxFuture<'_, (&str, String)>> = Vec::new();
    for id in ["silent", "busy"] {
        for accept in ["text/event-stream", "application/x-ndjson"] {
            ends.push(text(world, id, token, accept).map(move |end| (accept, end)).boxed());
        }
        ends.push(grpc(world, id, token).map(|end| ("gRPC", end)).boxed());
    }
    ends.push(socket(world, "/gateway/orders/silent:watch", token).map(|end| ("WebSocket", end)).boxed());
    ends.push(socket(world, "/gateway/orders/busy:watch", token).map(|end| ("busy WebSocket", end)).boxed());
    ends.push(grpc(world, "mute", token).map(|end| ("gRPC without a beginning", end)).boxed());
    // Nobody sends anything there, so that the service has not even answered.
    ends.push(lines(talks, token).map(|end| ("lines", end)).boxed());
    ends.push(socket(talks, "/talk/x", token).map(|end| ("WebSocket both ways", end)).boxed());
    for (what, end) in timeout(PATIENCE, join_all(ends)).await.expect("all of them end") {
        assert!(end.contains("UNAUTHENTICATED") && end.contains("has expired"), "{what}: {end}");
    }
    // The end is a whole second, and the token was made within one.
    let lasted = begun.elapsed();
    assert!(lasted > Duration::from_secs(2), "{lasted:?}");
}

#[tokio::test]
async fn without_an_issuer_a_token_means_nothing() {
    let upstream = service().await;
    let world = World::of(&upstream).await;
    let watch = text(&world, "silent", "what", "text/event-stream");
    timeout(Duration::from_millis(500), watch).await.expect_err("it goes on");
}
