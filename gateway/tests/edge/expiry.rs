//! Streams of services that never end them: the edge does, when the token that let them in expires, or its key is no longer in force.

use std::{future::pending, sync::Arc, time::Duration};

use auth::{Caller, Refusal, Verifier};
use chassis::status::Fault;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, join, join_all, join3},
    stream,
};
use gateway::Config;
use http::{HeaderMap, HeaderValue, header};
use ordermesh::orders::v1::{WatchOrderRequest, orders_service_client::OrdersServiceClient};
use prost::Message as _;
use serde_json::Value;
use tokio::time::{Instant, interval, timeout};
use tokio_stream::wrappers::IntervalStream;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};
use tonic::{Request, metadata::MetadataValue};
use world::{Issuer, PATIENCE, claims, eventually};

use crate::{
    connect::{envelope, envelopes},
    identity::{aging, verifier},
    streams::event,
    talks,
    upstream::Upstream,
    world::World,
};

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
    assert_eq!(fault.reason.code(), status.code());
    format!("{} {}", fault.reason.as_str(), fault.message)
}

/// How a stream of Connect ended.
async fn connect(world: &World, id: &str, token: &str) -> String {
    let request = world.request("POST", "/ordermesh.orders.v1.OrdersService/WatchOrder");
    let request = request.header("content-type", "application/connect+json").bearer_auth(token);
    let body = envelope(0, format!(r#"{{"orderId": "{id}"}}"#).as_bytes());
    let answer = request.body(body).send().await.expect("an answer").bytes().await.expect("a stream");
    let (flags, end) = envelopes(&answer).pop().expect("an end");
    let end: Value = serde_json::from_slice(&end).expect("JSON");
    assert_eq!(flags, 2, "{end}");
    format!("{} {}", end["error"]["code"].as_str().expect("a code").to_uppercase(), end["error"]["message"])
}

/// What lines that never end are answered.
async fn lines(world: &World, token: &str) -> String {
    let never = stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let request = talks::post(world, "/collect", reqwest::Body::wrap_stream(never)).bearer_auth(token);
    request.send().await.expect("an answer").text().await.expect("a body")
}

/// How streams end in each of the ways to watch.
async fn watches(world: &World, token: &str) -> Vec<(&'static str, String)> {
    let mut ends: Vec<BoxFuture<'_, (&'static str, String)>> = Vec::new();
    for id in ["silent", "busy"] {
        for accept in ["text/event-stream", "application/x-ndjson"] {
            ends.push(text(world, id, token, accept).map(move |end| (accept, end)).boxed());
        }
        ends.push(grpc(world, id, token).map(|end| ("gRPC", end)).boxed());
        ends.push(connect(world, id, token).map(|end| ("Connect", end)).boxed());
    }
    ends.push(socket(world, "/gateway/orders/silent:watch", token).map(|end| ("WebSocket", end)).boxed());
    ends.push(socket(world, "/gateway/orders/busy:watch", token).map(|end| ("busy WebSocket", end)).boxed());
    ends.push(grpc(world, "mute", token).map(|end| ("gRPC without a beginning", end)).boxed());
    ends.push(connect(world, "mute", token).map(|end| ("Connect without a beginning", end)).boxed());
    join_all(ends).await
}

/// So many streams are in [`watches`].
const WATCHES: usize = 12;

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
    // Nobody sends anything to the second and the third, so that the service has not even answered.
    let ends = join3(watches(world, token), lines(talks, token), socket(talks, "/talk/x", token));
    let (mut ends, lines, both) = timeout(PATIENCE, ends).await.expect("all of them end");
    ends.extend([("lines", lines), ("WebSocket both ways", both)]);
    for (what, end) in ends {
        assert!(end.contains("UNAUTHENTICATED") && end.contains("has expired"), "{what}: {end}");
    }
    // The end is a whole second, and the token was made within one.
    let lasted = begun.elapsed();
    assert!(lasted > Duration::from_secs(2), "{lasted:?}");
}

/// All ways to watch, with a token of the key `first`, until `over` has had all of them end.
async fn watched(
    issuer: &Issuer,
    verifier: &Verifier,
    over: impl Future<Output = ()>,
) -> Vec<(&'static str, String)> {
    let token = issuer.token("first", &claims("alice", "orders:read", 3_600)).await.expect("a token");
    let upstream = service().await;
    let known = Some(verifier.clone());
    let world =
        World::with(Config { issuer: known, ..Config::builtin(upstream.url(), upstream.url()) }).await;
    let begun = async {
        eventually("all streams", PATIENCE, async || match upstream.calls().len() {
            WATCHES => Ok(()),
            calls => Err(format!("{calls} calls")),
        })
        .await
        .expect("they begin");
        over.await;
    };
    let (mut ends, ()) =
        timeout(PATIENCE, join(watches(&world, &token), begun)).await.expect("all of them end");
    // A call that begins now, for comparison.
    let new = world.request("GET", "/gateway/orders/silent").bearer_auth(&token);
    ends.push(("a new call", new.send().await.expect("an answer").text().await.expect("a body")));
    ends
}

/// The caller of a token of this key, which has the keys of the issuer looked at when it is not known.
async fn caller(issuer: &Issuer, verifier: &Verifier, kid: &str) -> Result<Arc<Caller>, Refusal> {
    let token = issuer.token(kid, &claims("bob", "orders:read", 60)).await.expect("a token");
    let token: HeaderValue = format!("Bearer {token}").parse().expect("a value");
    verifier.caller(&HeaderMap::from_iter([(header::AUTHORIZATION, token)])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_key_is_withdrawn() {
    let issuer = Issuer::start().await.expect("an issuer");
    issuer.make("second", "ES256").await.expect("a key");
    let verifier = verifier(&issuer);
    let withdrawn = async {
        issuer.publish(&["second"]).await.expect("the issuer answers");
        caller(&issuer, &verifier, "second").await.expect("the new key");
    };
    for (what, end) in watched(&issuer, &verifier, withdrawn).await {
        assert!(end.contains("UNAUTHENTICATED") && end.contains("not in force at"), "{what}: {end}");
    }
}

/// Nothing is known of the token then, however it comes about.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_as_a_call_is_answered_when_no_key_is_in_force() {
    for is_away in [true, false] {
        let issuer = Issuer::start().await.expect("an issuer");
        issuer.make("second", "ES256").await.expect("a key");
        let verifier = aging(&issuer, Duration::from_secs(if is_away { 4 } else { 3_600 }));
        let useless = async {
            if is_away {
                issuer.away(true).await.expect("the issuer answers");
            } else {
                issuer.publish(&[]).await.expect("the issuer answers");
                let refused = caller(&issuer, &verifier, "second").await.expect_err("no key");
                assert_eq!(refused, Refusal::NoKeys);
            }
        };
        for (what, end) in watched(&issuer, &verifier, useless).await {
            let is_same = end.contains("UNAVAILABLE") && end.contains("no key of the issuer is in force");
            assert!(is_same && !end.contains("UNAUTHENTICATED"), "{what}: {end}");
        }
    }
}

#[tokio::test]
async fn without_an_issuer_a_token_means_nothing() {
    let upstream = service().await;
    let world = World::of(&upstream).await;
    let watch = text(&world, "silent", "what", "text/event-stream");
    timeout(Duration::from_millis(500), watch).await.expect_err("it goes on");
}
