//! Many streams, and answers that nobody takes: no call of another waits for them.

use std::{future::poll_fn, net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::join_all, stream};
use gateway::Config;
use h2::client::SendRequest;
use http::{Request, StatusCode};
use ordermesh::orders::v1::{WatchOrderRequest, orders_service_client::OrdersServiceClient};
use reqwest::Response;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_tungstenite::{connect_async, tungstenite};
use tonic::{Code, service::Routes, transport::Server};

use crate::{
    connect::{envelope, envelopes},
    streams::{WATCH, event},
    talks,
    upstream::{Call, Reply, Upstream, echo},
    world::{World, json, opened, reason, shapes},
};

/// A stream goes on for ever; a text `large` is answered with 4 MiB; everything else is an echo.
async fn reply(call: Call) -> Reply {
    if call.path.contains("/Watch") {
        return Ok(tonic::Response::new(stream::iter([Ok(event(1))]).chain(stream::pending()).boxed()));
    }
    if call.wire.windows(5).any(|part| part == b"large") {
        let mut shape = vec![0x0a, 0x80, 0x80, 0x80, 0x02];
        shape.resize(shape.len() + (4 << 20), b'a');
        return Ok(tonic::Response::new(stream::iter([Ok(shape.into())]).boxed()));
    }
    echo(&call)
}

/// A service that takes so few calls on a connection.
async fn narrow(streams: u32) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    Upstream::start_with(
        Server::builder().max_concurrent_streams(streams),
        Routes::default(),
        listener,
        reply,
    )
}

async fn watch(client: &reqwest::Client, world: &World) -> Response {
    client.get(format!("{}{WATCH}", world.url)).send().await.expect("the edge answers")
}

fn client_at(address: [u8; 4]) -> reqwest::Client {
    let builder = reqwest::Client::builder().local_address(Some(Ipv4Addr::from(address).into()));
    builder.build().expect("a client")
}

#[tokio::test]
async fn more_watchers_than_a_connection_takes_leave_calls_alone() {
    let upstream = narrow(8).await;
    let world = World::of(&upstream).await;
    let client = client_at([127, 0, 0, 1]);
    // From the first the edge knows what the service takes.
    let mut watchers = vec![watch(&client, &world).await];
    for _ in 0..5 {
        watchers.extend(join_all((0..8).map(|_| watch(&client, &world))).await);
    }
    for watcher in &mut watchers {
        assert_eq!(watcher.status(), StatusCode::OK);
        timeout(Duration::from_secs(20), opened(watcher)).await.expect("it is not queued");
        let first = timeout(Duration::from_secs(20), watcher.chunk()).await.expect("it is not queued");
        assert!(first.expect("a stream").expect("an event").starts_with(b"id: 1"));
    }
    let calls = join_all((0..20).map(|_| world.get("/gateway/orders/7"))).await;
    assert!(calls.iter().all(|call| call.status() == StatusCode::OK), "others are answered");
    drop(watchers);
}

#[tokio::test]
async fn open_streams_are_bounded_in_all_and_for_each_client() {
    let upstream = Upstream::start(reply).await;
    let config = Config {
        max_streams: 5,
        max_streams_per_client: 3,
        ..Config::builtin(upstream.url(), upstream.url())
    };
    let world = World::with(config).await;
    let (one, other) = (client_at([127, 0, 0, 1]), client_at([127, 0, 0, 2]));
    let mut open = join_all((0..3).map(|_| watch(&one, &world))).await;
    let refused = async |client: &reqwest::Client, limit: &str| {
        let response = watch(client, &world).await;
        assert_eq!(response.headers()["retry-after"], "1");
        let error = json(response, StatusCode::TOO_MANY_REQUESTS).await;
        let message = error["error"]["message"].as_str().expect("a message");
        assert!(reason(&error) == "RATE_LIMITED" && message.contains(limit), "{message}");
    };
    refused(&one, "3 open streams, as many as may be (--max-streams-per-client)").await;
    open.extend(join_all((0..2).map(|_| watch(&other, &world))).await);
    assert!(open.iter().all(|stream| stream.status() == StatusCode::OK));
    refused(&other, "5 open streams, as many as may be (--max-streams)").await;
    // Streams of gRPC are streams, and what is no stream is none.
    let mut grpc = OrdersServiceClient::connect(world.url.clone()).await.expect("the edge listens");
    let request = WatchOrderRequest { order_id: "7".into(), after_version: 0 };
    let status = grpc.watch_order(request).await.expect_err("there are too many");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("--max-streams"), "{}", status.message());
    assert_eq!(world.get("/gateway/orders/7").await.status(), StatusCode::OK);
    drop(open.pop());
    let again = async { while watch(&other, &world).await.status() != StatusCode::OK {} };
    timeout(Duration::from_secs(20), again).await.expect("a place is free again");
}

/// A stream of Connect; that there is no place for it is in its body.
async fn over_connect(world: &World) -> Response {
    let request = world.request("POST", "/ordermesh.orders.v1.OrdersService/WatchOrder");
    let request = request.header("content-type", "application/connect+json");
    request.body(envelope(0, br#"{"orderId": "7"}"#)).send().await.expect("the edge answers")
}

/// The status of what is no WebSocket; `None` of one, which is closed again.
async fn as_socket(world: &World, path: &str) -> Option<u16> {
    match connect_async(format!("{}{path}", world.url.replace("http", "ws"))).await {
        Ok(_) => None,
        Err(tungstenite::Error::Http(answer)) => Some(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_stream_takes_a_place_whatever_it_is_written_as() {
    let upstream = Upstream::start(reply).await;
    let config = Config { max_streams: 1, ..Config::builtin(upstream.url(), upstream.url()) };
    let world = World::with(config).await;
    let client = client_at([127, 0, 0, 1]);
    let events = async || watch(&client, &world).await.status();
    let mut held = over_connect(&world).await;
    held.chunk().await.expect("a stream").expect("an event");
    assert_eq!(events().await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(as_socket(&world, WATCH).await, Some(429));
    drop(held);
    let url = format!("{}{WATCH}", world.url.replace("http", "ws"));
    let free = async {
        loop {
            if let Ok((socket, _)) = connect_async(url.as_str()).await {
                return socket;
            }
        }
    };
    let socket = timeout(Duration::from_secs(20), free).await.expect("a place is free again");
    assert_eq!(events().await, StatusCode::TOO_MANY_REQUESTS);
    let refused = envelopes(&over_connect(&world).await.bytes().await.expect("a body"));
    let [(2, end)] = refused.as_slice() else { panic!("{refused:?}") };
    let end = String::from_utf8_lossy(end);
    assert!(end.contains("resource_exhausted") && end.contains("--max-streams"), "{end}");
    drop(socket);
    let again = async { while events().await != StatusCode::OK {} };
    timeout(Duration::from_secs(20), again).await.expect("a place is free again");
}

#[tokio::test]
async fn a_call_whose_client_sends_takes_a_place_among_the_streams() {
    let world = talks::world_with(|config| Config { max_streams: 1, ..config }).await;
    let (lines, sent) = mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
    lines.send(Ok("{}\n".into())).expect("it is read");
    let body = reqwest::Body::wrap_stream(UnboundedReceiverStream::new(sent));
    let held = talks::post(&world, "/talk/x", body).send().await.expect("an answer");
    assert_eq!(held.status(), StatusCode::OK);
    // With an answer of one message, too.
    for path in ["/talk/x", "/collect"] {
        let refused = talks::post(&world, path, "{}\n").send().await.expect("an answer");
        let error = json(refused, StatusCode::TOO_MANY_REQUESTS).await;
        assert_eq!(reason(&error), "RATE_LIMITED", "{path}");
    }
    assert_eq!(as_socket(&world, "/talk/x").await, Some(429));
    drop((lines, held));
    let again = async { while as_socket(&world, "/talk/x").await.is_some() {} };
    timeout(Duration::from_secs(20), again).await.expect("a place is free again");
}

/// A client of HTTP/2 that takes no answer: its window is closed.
async fn closed(world: &World) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(world.url.trim_start_matches("http://")).await.expect("the edge listens");
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (requests, connection) = builder.handshake(stream).await.expect("HTTP/2 is spoken");
    tokio::spawn(connection);
    requests
}

/// A call of gRPC whose answer is large; it has begun when this returns, and nobody takes it.
async fn large_call(requests: &mut SendRequest<Bytes>, world: &World) -> http::Response<h2::RecvStream> {
    poll_fn(|context| requests.poll_ready(context)).await.expect("the connection lives");
    let request = Request::post(format!("{}/shapes.v1.Shapes/Whole", world.url));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    let request = request.body(()).expect("a request");
    let (response, mut body) = requests.send_request(request, false).expect("it is sent");
    body.send_data(Bytes::from_static(b"\0\0\0\0\x07\x0a\x05large"), true).expect("it is sent");
    response.await.expect("an answer")
}

#[tokio::test]
async fn answers_that_nobody_takes_hold_up_no_others() {
    let upstream = Upstream::start(reply).await;
    let world = World::of_shapes(&upstream).await;
    let mut requests = closed(&world).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(large_call(&mut requests, &world).await);
    }
    // They have come as far as they could.
    for _ in 0..20 {
        let read = timeout(Duration::from_secs(10), world.get("/v1/shapes?text=large")).await;
        let read = read.expect("others are answered").bytes().await.expect("a body");
        assert!(read.len() > 4 << 20);
    }
    drop(held);
}

#[tokio::test]
async fn a_call_is_open_until_its_answer_is_taken() {
    let upstream = Upstream::start(reply).await;
    let world = World::with(Config { max_requests: 1, ..shapes(&upstream.url()) }).await;
    let mut requests = closed(&world).await;
    let held = large_call(&mut requests, &world).await;
    let error = json(world.get("/v1/shapes?text=a").await, StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!(reason(&error), "RATE_LIMITED");
    drop(held);
    let again = async { while world.get("/v1/shapes?text=a").await.status() != StatusCode::OK {} };
    timeout(Duration::from_secs(20), again).await.expect("it has ended");
}
