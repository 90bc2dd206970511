//! Long heads, in both directions: what one client makes long harms no call of another.

use std::sync::{Arc, Mutex};

use chassis::status::{Fault, Reason};
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use ordermesh::orders::v1::{GetOrderRequest, WatchOrderRequest, orders_service_client::OrdersServiceClient};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    streams::event,
    upstream::{Upstream, echo},
    world::{World, json, reason},
};

/// A service that quotes ids at any length, twice, in its errors; its stream has the events that the test sends.
async fn quoting() -> (Upstream, mpsc::UnboundedSender<i64>) {
    let (events, versions) = mpsc::unbounded_channel();
    let versions = Arc::new(Mutex::new(Some(versions)));
    let upstream = Upstream::start(move |call| {
        let versions = Arc::clone(&versions);
        async move {
            if call.path.ends_with("/WatchOrder") {
                let versions = versions.lock().expect("no panic").take().expect("one stream");
                let events = UnboundedReceiverStream::new(versions).map(|version| Ok(event(version)));
                return Ok(tonic::Response::new(events.boxed()));
            }
            let id = GetOrderRequest::decode(call.wire).expect("the contract's message").order_id;
            let text = format!("there is no order {id}");
            let mut details = ErrorDetails::with_error_info("ORDER_NOT_FOUND", "ordermesh", []);
            details.add_bad_request_violation("order_id", &text);
            Err(Status::with_error_details(Code::NotFound, text, details))
        }
    });
    (upstream.await, events)
}

#[tokio::test]
async fn a_long_id_breaks_no_connection_and_is_asked_for_once() {
    let (upstream, events) = quoting().await;
    let world = World::of(&upstream).await;
    let mut watch = OrdersServiceClient::connect(world.url.clone()).await.expect("the edge listens");
    let request = WatchOrderRequest { order_id: "7".into(), after_version: 0 };
    let mut watch = watch.watch_order(request).await.expect("a stream").into_inner();
    for length in [100, 7_000, 18_000, 50_000] {
        let before = upstream.calls().len();
        let error =
            json(world.get(&format!("/gateway/orders/{}", "x".repeat(length))).await, StatusCode::NOT_FOUND);
        let error = error.await;
        assert_eq!(reason(&error), "ORDER_NOT_FOUND");
        let text = error.to_string();
        assert!(
            text.len() < 4_096 && text.contains("there is no order xxx"),
            "{length}: {} bytes",
            text.len()
        );
        assert_eq!(upstream.calls().len() - before, 1, "{length}: how often the service was asked");
        events.send(1).expect("the stream is open");
        watch.message().await.expect("another's stream goes on").expect("an event");
    }
}

#[tokio::test]
async fn a_head_longer_than_a_service_takes_is_refused_by_the_edge() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of(&upstream).await;
    for name in ["authorization", "tracestate"] {
        for length in [15_000, 20_000, 30_000, 60_000] {
            let request = world.request("GET", "/gateway/orders/7").header(name, "x".repeat(length));
            let response = request.send().await.expect("the edge answers");
            let error = json(response, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).await;
            assert_eq!(reason(&error), "HEADERS_TOO_LARGE", "{name} of {length}");
        }
        let request = world.request("GET", "/gateway/orders/7").header(name, "x".repeat(8_000));
        assert_eq!(request.send().await.expect("the edge answers").status(), StatusCode::OK);
    }
    let mut client = OrdersServiceClient::connect(world.url.clone()).await.expect("the edge listens");
    let mut request = tonic::Request::new(GetOrderRequest { order_id: "7".into() });
    request.metadata_mut().insert("mine", "x".repeat(15_000).parse().expect("metadata"));
    let status = client.get_order(request).await.expect_err("too long");
    let reason = Fault::from_status(&status).map(|fault| fault.reason);
    assert_eq!(reason, Some(Reason::HeadersTooLarge));
}

/// 12 KiB, with the other metadata of a call.
#[tokio::test]
async fn metadata_has_one_bound_in_every_protocol() {
    let upstream = Upstream::start(async |call| match call.path.ends_with("/WatchOrder") {
        true => Ok(tonic::Response::new(stream::iter([Ok(event(1))]).boxed())),
        false => echo(&call),
    })
    .await;
    let world = World::of(&upstream).await;
    let ask = async |method: &str, path: &str, length: usize| {
        let request = world.request(method, path).header("authorization", "x".repeat(length));
        let request = match method {
            "POST" => request.header("content-type", "application/json").body("{}"),
            _ => request,
        };
        request.send().await.expect("the edge answers")
    };
    let unary = ("GET", "/gateway/orders/7");
    let connect = ("POST", "/ordermesh.orders.v1.OrdersService/GetOrder");
    for (method, path) in [unary, ("GET", "/gateway/orders/7:watch"), connect] {
        let before = upstream.calls().len();
        assert_eq!(ask(method, path, 11_800).await.status(), StatusCode::OK, "{path}");
        let refused = ask(method, path, 12_300).await;
        let status = if method == "POST" { 400 } else { 431 };
        let text = json(refused, StatusCode::from_u16(status).expect("a status")).await.to_string();
        assert!(text.contains("12288 bytes"), "{path}: {text}");
        assert_eq!(upstream.calls().len() - before, 1, "{path}: how often the service was called");
    }
    let mut client = OrdersServiceClient::connect(world.url.clone()).await.expect("the edge listens");
    for (length, is_taken) in [(11_700, true), (12_300, false)] {
        let mut request = tonic::Request::new(GetOrderRequest { order_id: "7".into() });
        request.metadata_mut().insert("mine", "x".repeat(length).parse().expect("metadata"));
        let status = client.get_order(request).await.err();
        let reason = status.and_then(|status| Fault::from_status(&status)).map(|fault| fault.reason);
        assert_eq!(reason, (!is_taken).then_some(Reason::HeadersTooLarge), "{length}");
    }
}

#[tokio::test]
async fn a_service_that_takes_less_makes_it_the_clients_error_too() {
    let upstream = Upstream::start(async |_| Ok(tonic::Response::new(stream::empty().boxed()))).await;
    drop(upstream);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server = tonic::transport::Server::builder().http2_max_header_list_size(4_096);
    let upstream =
        Upstream::start_with(server, tonic::service::Routes::default(), listener, async |call| echo(&call));
    let world = World::of(&upstream).await;
    let request = world.request("GET", "/gateway/orders/7").header("authorization", "x".repeat(5_000));
    let response = request.send().await.expect("the edge answers");
    let error = json(response, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).await;
    assert_eq!(reason(&error), "HEADERS_TOO_LARGE");
    let request = world.request("GET", "/gateway/orders/7:watch").header("authorization", "x".repeat(5_000));
    let response = request.send().await.expect("the edge answers");
    let error = json(response, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).await;
    assert_eq!(reason(&error), "HEADERS_TOO_LARGE", "a stream");
}
