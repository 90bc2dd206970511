//! gRPC and gRPC-Web through the edge, on the port of HTTP/JSON.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chassis::status::{Fault, Reason};
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use ordermesh::{
    messaging::v1::{GetMessagingStatusRequest, messaging_admin_service_client::MessagingAdminServiceClient},
    orders::v1::{
        GetOrderRequest, Order, OrderEvent, WatchOrderRequest, orders_service_client::OrdersServiceClient,
    },
};
use prost::Message as _;
use tokio::sync::oneshot;
use tonic::{Code, Request, Status, metadata::MetadataValue, transport::Channel};

use crate::{
    upstream::{Reply, Upstream, one},
    world::{World, json, reason},
};

pub(crate) const GET: &str = "/ordermesh.orders.v1.OrdersService/GetOrder";

/// An order with the id that was asked for, or the failure that the id names.
pub(crate) async fn orders() -> Upstream {
    Upstream::start(async |call| -> Reply {
        let request = GetOrderRequest::decode(call.wire).expect("the contract's message");
        if request.order_id == "none" {
            return Err(Fault::new(Reason::OrderNotFound, "no such order").into());
        }
        let mut reply = one(&Order { id: request.order_id, ..Order::default() })?;
        reply.metadata_mut().insert("idempotency-replayed", MetadataValue::from_static("true"));
        Ok(reply)
    })
    .await
}

async fn channel(world: &World) -> Channel {
    let endpoint = Channel::from_shared(world.url.clone()).expect("a URL");
    endpoint.connect().await.expect("the edge listens")
}

async fn client(world: &World) -> OrdersServiceClient<Channel> {
    OrdersServiceClient::new(channel(world).await)
}

fn get(id: &str) -> Request<GetOrderRequest> {
    Request::new(GetOrderRequest { order_id: id.to_owned() })
}

fn reason_of(status: &Status) -> Option<Reason> {
    Fault::from_status(status).map(|fault| fault.reason)
}

#[tokio::test]
async fn a_call_passes_with_its_metadata_both_ways() {
    let upstream = orders().await;
    let world = World::of(&upstream).await;
    let mut request = get("7");
    request.metadata_mut().insert("authorization", MetadataValue::from_static("Bearer x"));
    request.metadata_mut().insert("mine", MetadataValue::from_static("a"));
    let response = client(&world).await.get_order(request).await.expect("an order");
    assert_eq!(response.metadata().get("idempotency-replayed").expect("metadata"), "true");
    assert_eq!(response.into_inner().id, "7");
    let call = upstream.call();
    assert_eq!(call.path, GET);
    for (name, value) in [("authorization", "Bearer x"), ("mine", "a"), ("grpc-timeout", "15000m")] {
        assert_eq!(call.metadata.get(name).expect(name), value);
    }
    assert!(call.metadata.contains_key("x-request-id"));
}

#[tokio::test]
async fn a_unary_call_has_five_minutes_at_most() {
    let upstream = orders().await;
    let world = World::of(&upstream).await;
    let mut timeouts = Vec::new();
    for asked in ["99999999H", "400S", "299S", "20000m", "1 year"] {
        let mut request = get("7");
        request.metadata_mut().insert("grpc-timeout", asked.parse().expect("a value"));
        client(&world).await.get_order(request).await.expect("an order");
        let call = upstream.calls().pop().expect("a call");
        timeouts.push(call.metadata.get("grpc-timeout").expect("a time").to_str().expect("text").to_owned());
    }
    // What cannot be read counts for nothing.
    assert_eq!(timeouts, ["300000m", "300000m", "299S", "20000m", "15000m"]);
}

#[tokio::test]
async fn a_failure_passes_with_its_details() {
    let world = World::of(&orders().await).await;
    let status = client(&world).await.get_order(get("none")).await.expect_err("no order");
    assert_eq!((status.code(), reason_of(&status)), (Code::NotFound, Some(Reason::OrderNotFound)));
}

#[tokio::test]
async fn only_services_with_routes_can_be_called() {
    let upstream = orders().await;
    let world = World::of(&upstream).await;
    let mut operator = MessagingAdminServiceClient::new(channel(&world).await);
    let status = operator
        .get_messaging_status(GetMessagingStatusRequest::default())
        .await
        .expect_err("it is not routed");
    assert_eq!((status.code(), reason_of(&status)), (Code::Unimplemented, Some(Reason::Unimplemented)));
    assert!(upstream.calls().is_empty());
}

#[tokio::test]
async fn a_deadline_travels_and_is_kept() {
    let upstream = Upstream::start(async |_| std::future::pending().await).await;
    let world = World::of(&upstream).await;
    // By hand: tonic's client would end the call by itself.
    let client = reqwest_h2();
    let response =
        call(&client, &world, "application/grpc", &[("grpc-timeout", "50m")], &frame(&get("7"))).await;
    assert_eq!(response.headers()["grpc-status"], "4");
    assert_eq!(upstream.call().metadata.get("grpc-timeout").expect("a deadline"), "50m");
}

#[tokio::test]
async fn a_service_that_is_away_is_unavailable() {
    let upstream = orders().await;
    let world = World::of(&upstream).await;
    upstream.end().await;
    let status = client(&world).await.get_order(get("7")).await.expect_err("nobody there");
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::UpstreamUnavailable)));
}

/// A stream of one event that reports when its call is dropped.
pub(crate) async fn endless() -> (Upstream, oneshot::Receiver<()>) {
    let (alive, dropped) = oneshot::channel::<()>();
    let alive = std::sync::Mutex::new(Some(alive));
    let upstream = Upstream::start(move |_| {
        let alive = alive.lock().expect("no panic").take();
        let event =
            OrderEvent { order: Some(Order { version: 1, ..Order::default() }) }.encode_to_vec().into();
        let messages = stream::iter([Ok(event)]).chain(stream::pending()).inspect(move |_| {
            let _held = &alive;
        });
        async move { Ok(tonic::Response::new(messages.boxed())) }
    })
    .await;
    (upstream, dropped)
}

async fn watch(world: &World) -> tonic::Streaming<OrderEvent> {
    let request = WatchOrderRequest { order_id: "7".into(), after_version: 0 };
    let mut events = client(world).await.watch_order(request).await.expect("a stream").into_inner();
    let first = events.message().await.expect("no failure").expect("an event");
    assert_eq!(first.order.expect("an order").version, 1);
    events
}

#[tokio::test]
async fn a_stream_passes_and_ends_with_a_status_when_the_edge_stops() {
    let (upstream, _dropped) = endless().await;
    let world = World::of(&upstream).await;
    let mut events = watch(&world).await;
    // A stream has as long as it wants.
    assert!(!upstream.call().metadata.contains_key("grpc-timeout"));
    world.stop();
    let status = events.message().await.expect_err("the edge stops");
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::UpstreamUnavailable)));
    drop(events);
    world.stopped().await;
}

#[tokio::test]
async fn a_time_that_cannot_be_read_is_not_handed_on() {
    let (upstream, _dropped) = endless().await;
    let world = World::of(&upstream).await;
    let mut request = Request::new(WatchOrderRequest { order_id: "7".into(), after_version: 0 });
    // Nine digits, as a client writes 28 hours; services read them as they like.
    request.metadata_mut().insert("grpc-timeout", MetadataValue::from_static("100800000m"));
    client(&world).await.watch_order(request).await.expect("a stream");
    assert!(!upstream.call().metadata.contains_key("grpc-timeout"));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_call() {
    let (upstream, dropped) = endless().await;
    let world = World::of(&upstream).await;
    drop(watch(&world).await);
    tokio::time::timeout(Duration::from_secs(30), dropped)
        .await
        .expect("in time")
        .expect_err("it is dropped");
}

fn reqwest_h2() -> reqwest::Client {
    reqwest::Client::builder().http2_prior_knowledge().build().expect("a client")
}

/// A message with the five bytes before it.
fn frame(request: &Request<GetOrderRequest>) -> Vec<u8> {
    let message = request.get_ref().encode_to_vec();
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    [&[0], &length[..], &message].concat()
}

async fn call(
    client: &reqwest::Client,
    world: &World,
    content_type: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> reqwest::Response {
    let request = client.post(format!("{}{GET}", world.url)).header("content-type", content_type);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body.to_vec()).send().await.expect("the edge answers")
}

/// The message and the trailers of an answer over gRPC-Web.
fn parts(body: &[u8]) -> (Order, String) {
    assert_eq!(body[0], 0);
    let length = u32::from_be_bytes(body[1..5].try_into().expect("four bytes")) as usize;
    let (message, rest) = body[5..].split_at(length);
    assert_eq!(rest[0], 0x80);
    (Order::decode(message).expect("an order"), String::from_utf8_lossy(&rest[5..]).into_owned())
}

#[tokio::test]
async fn grpc_web_is_spoken_in_bytes_and_in_text() {
    let upstream = orders().await;
    let world = World::of(&upstream).await;
    let client = reqwest::Client::new();
    let asked = frame(&get("7"));
    let response = call(&client, &world, "application/grpc-web+proto", &[], &asked).await;
    assert_eq!((response.status(), response.version()), (StatusCode::OK, http::Version::HTTP_11));
    let (order, trailers) = parts(&response.bytes().await.expect("a body"));
    assert_eq!((order.id.as_str(), trailers.contains("grpc-status:0")), ("7", true), "{trailers}");
    let text = [("accept", "application/grpc-web-text")];
    let asked = BASE64_STANDARD.encode(asked);
    let response = call(&client, &world, "application/grpc-web-text", &text, asked.as_bytes()).await;
    assert_eq!(response.headers()["content-type"], "application/grpc-web-text+proto");
    let body = response.bytes().await.expect("a body");
    // Each frame is encoded for itself: padding stands in the middle too.
    let body: Vec<u8> =
        body.chunks(4).flat_map(|four| BASE64_STANDARD.decode(four).expect("base64")).collect();
    let (order, trailers) = parts(&body);
    assert_eq!((order.id.as_str(), trailers.contains("grpc-status:0")), ("7", true), "{trailers}");
    let failed = call(&client, &world, "application/grpc-web", &[], &frame(&get("none"))).await;
    assert_eq!(
        (failed.status(), &failed.headers()["grpc-status"]),
        (StatusCode::OK, &"5".parse().expect("a value"))
    );
}

#[tokio::test]
async fn what_no_client_of_grpc_sends_is_refused() {
    let upstream = orders().await;
    let world = World::of(&upstream).await;
    let client = reqwest::Client::new();
    for content_type in ["application/grpc", "application/grpc-web+foo", "application/grpcs"] {
        let response = call(&client, &world, content_type, &[], &frame(&get("7"))).await;
        let error = json(response, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
        assert_eq!(reason(&error), "UNSUPPORTED_MEDIA_TYPE", "{content_type}");
    }
    assert!(upstream.calls().is_empty());
}

#[tokio::test]
async fn a_panic_is_answered_in_the_protocol_of_the_call() {
    async fn panics() -> axum::response::Response {
        panic!("a handler panics")
    }
    let service = tonic::service::Routes::from(axum::Router::new().fallback(panics));
    // With a layer or without one.
    for compress in [false, true] {
        let local = || gateway::Local::new(service.clone().prepare());
        let world =
            World::with(gateway::Config { compress, ..gateway::Config::builtin(local(), local()) }).await;
        let over_h2 = call(&reqwest_h2(), &world, "application/grpc", &[], &frame(&get("7"))).await;
        let over_web = [("application/grpc-web+proto", frame(&get("7")))];
        let text = BASE64_STANDARD.encode(frame(&get("7"))).into_bytes();
        let over_web = over_web.into_iter().chain([("application/grpc-web-text", text)]);
        let mut answers = vec![("application/grpc", over_h2)];
        for (kind, body) in over_web {
            answers.push((kind, call(&reqwest::Client::new(), &world, kind, &[], &body).await));
        }
        for (kind, answer) in answers {
            assert_eq!(
                (answer.status(), &answer.headers()["grpc-status"]),
                (StatusCode::OK, &"13".parse().expect("a value")),
                "{kind}"
            );
            assert_eq!(answer.headers()["content-type"], kind);
            assert!(answer.bytes().await.expect("a body").is_empty());
        }
        let status = client(&world).await.get_order(get("7")).await.expect_err("a panic");
        assert_eq!((status.code(), reason_of(&status)), (Code::Internal, Some(Reason::Internal)));
        let error = json(world.get("/gateway/orders/7").await, StatusCode::INTERNAL_SERVER_ERROR).await;
        assert_eq!(reason(&error), "INTERNAL");
    }
}
