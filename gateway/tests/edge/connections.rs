//! Connections: limits, patience, and the stop.

use http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    upstream::{Upstream, echo},
    world::{World, json, shapes},
};

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.url.trim_start_matches("http://")).await.expect("the edge listens")
}

#[tokio::test]
async fn a_client_that_never_asks_is_cut_off() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    // Nothing, the beginning of either protocol, and a head that does not end.
    for beginning in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nx: "] {
        let mut client = connect(&world).await;
        client.write_all(beginning.as_bytes()).await.expect("the edge listens");
        // Time passes as soon as everyone waits.
        tokio::time::pause();
        let mut answer = Vec::new();
        let _closed_or_reset = client.read_to_end(&mut answer).await;
        tokio::time::resume();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{beginning}");
    }
}

#[tokio::test]
async fn one_connection_too_many_waits_for_its_turn() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::with(gateway::Config { max_connections: 1, ..shapes(&upstream.url()) }).await;
    let ask = b"GET /v1/shapes HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = connect(&world).await;
    first.write_all(ask).await.expect("the edge listens");
    let mut byte = [0];
    first.read_exact(&mut byte).await.expect("an answer");
    let mut second = connect(&world).await;
    second.write_all(ask).await.expect("the system holds it");
    drop(first);
    second.read_exact(&mut byte).await.expect("an answer, now");
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_spoken() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let response = client.get(format!("{}/v1/shapes", world.url)).send().await.expect("the edge answers");
    assert_eq!(response.version(), http::Version::HTTP_2);
    json(response, StatusCode::OK).await;
    let head = client.head(format!("{}/v1/shapes", world.url)).send().await.expect("the edge answers");
    assert_eq!(head.headers()["content-length"], "2");
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight() {
    let (begun, asked) = tokio::sync::oneshot::channel();
    let (go, gate) = tokio::sync::oneshot::channel::<()>();
    let once = std::sync::Mutex::new(Some((begun, gate)));
    let upstream = Upstream::start(move |call| {
        let (begun, gate) = once.lock().expect("no panic").take().expect("one call");
        begun.send(()).expect("the test waits");
        async move {
            gate.await.expect("the test opens it");
            echo(&call)
        }
    })
    .await;
    let world = World::of_shapes(&upstream).await;
    let request = tokio::spawn(world.request("GET", "/v1/shapes").send());
    asked.await.expect("the call is made");
    world.stop();
    go.send(()).expect("the call waits");
    let response = request.await.expect("no panic").expect("the edge answers");
    json(response, StatusCode::OK).await;
    world.stopped().await;
}

#[tokio::test]
async fn one_request_too_many_is_refused_with_a_time() {
    let (begun, asked) = tokio::sync::oneshot::channel();
    let (go, gate) = tokio::sync::oneshot::channel::<()>();
    let once = std::sync::Mutex::new(Some((begun, gate)));
    let upstream = Upstream::start(move |call| {
        let (begun, gate) = once.lock().expect("no panic").take().expect("one call");
        begun.send(()).expect("the test waits");
        async move {
            gate.await.expect("the test opens it");
            echo(&call)
        }
    })
    .await;
    let world = World::with(gateway::Config { max_requests: 1, ..shapes(&upstream.url()) }).await;
    let request = tokio::spawn(world.request("GET", "/v1/shapes").send());
    asked.await.expect("the call is made");
    let refused = world.get("/v1/shapes").await;
    assert_eq!(refused.headers()["retry-after"], "1");
    let error = json(refused, StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!(crate::world::reason(&error), "RATE_LIMITED");
    go.send(()).expect("the call waits");
    json(request.await.expect("no panic").expect("the edge answers"), StatusCode::OK).await;
}
