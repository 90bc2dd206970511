//! Methods whose clients stream: lines of a body, and frames of a WebSocket both ways.

use std::{future::pending, time::Duration};

use ::world::{PATIENCE, Raw};
use axum::extract::Request;
use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _, future::BoxFuture, stream};
use gateway::{Config, Upstreams};
use http::{HeaderName, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpListener,
    sync::{Notify, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};
use tonic::{
    Response, Status, Streaming,
    server::{Grpc, StreamingService},
    service::Routes,
    transport::Server,
};

use crate::{
    early::{answer, connect},
    foreign::{compiled, contract, encoded},
    upstream::{Messages, Reply},
    world::{World, json as body, reason},
};

/// The service takes nothing of a call with this header.
pub(crate) const STANDS_STILL: &str = "x-stands-still";

/// The service answers a call of `Collect` with this header when it is [`RELEASED`], and says when it is [`COLLECTED`].
const WAITS: &str = "x-waits";
static COLLECTED: Notify = Notify::const_new();
static RELEASED: Notify = Notify::const_new();

/// A service that answers each message with itself as it comes or, to `Collect`, all of them with the last one.
#[derive(Debug, Clone, Copy)]
struct Echo {
    collects: bool,
    waits: bool,
}

impl StreamingService<Bytes> for Echo {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = BoxFuture<'static, Reply>;

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        let Self { collects, waits } = *self;
        async move {
            let messages = request.into_inner();
            if !collects {
                return Ok(Response::new(messages.boxed()));
            }
            let all: Vec<Result<Bytes, Status>> = messages.collect().await;
            if waits {
                COLLECTED.notify_one();
                RELEASED.notified().await;
            }
            let last =
                all.into_iter().last().unwrap_or_else(|| Err(Status::invalid_argument("nothing came")))?;
            Ok(Response::new(stream::iter([Ok(last)]).boxed()))
        }
        .boxed()
    }
}

async fn world() -> World {
    world_with(|config| config).await
}

/// An edge in front of it, with other settings.
pub(crate) async fn world_with(settings: impl FnOnce(Config) -> Config) -> World {
    let methods = "service Talks {
        rpc Talk(stream M) returns (stream M) { option (google.api.http) = {
            get: \"/talk/{a}\" additional_bindings { post: \"/talk/{a}\" body: \"*\" } }; }
        rpc Collect(stream M) returns (M) { option (google.api.http) = { post: \"/collect\" body: \"*\" }; }
        rpc Upload(stream google.api.HttpBody) returns (google.api.HttpBody) {
            option (google.api.http) = { post: \"/upload\" body: \"*\" }; }
        rpc Convert(stream google.api.HttpBody) returns (stream google.api.HttpBody) {
            option (google.api.http) = { post: \"/convert\" body: \"*\" }; } }";
    let files =
        compiled(&[("talks.proto", contract("talks.v1", "import \"google/api/httpbody.proto\";", methods))]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    let router = Routes::default().into_axum_router().fallback(async |request: Request| {
        if request.headers().contains_key(STANDS_STILL) {
            pending::<()>().await;
        }
        let path = request.uri().path();
        let collects = !path.ends_with("/Talk") && !path.ends_with("/Convert");
        let echo = Echo { collects, waits: request.headers().contains_key(WAITS) };
        Grpc::new(Raw).streaming(echo, request).await
    });
    let server = Server::builder().initial_stream_window_size(64 << 10).add_routes(Routes::from(router));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    World::with(settings(Config {
        descriptor_set: encoded(files.into_values()),
        upstreams: Upstreams::One(format!("http://{address}").into()),
        ..Config::builtin("http://unused", "http://unused")
    }))
    .await
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

pub(crate) fn post(world: &World, path: &str, text: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
    let kind = "application/x-ndjson";
    world.request("POST", path).header("content-type", kind).header("accept", kind).body(text)
}

#[tokio::test]
async fn lines_become_messages_and_messages_lines() {
    let world = world().await;
    let sent = "{\"many\":[\"1\"]}\r\n\n{\"a\":\"y\"}\n{\"a\":\"last\"}";
    let answer = post(&world, "/talk/x", sent).send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let text = answer.text().await.expect("a body");
    // What the path binds is in the first message.
    assert_eq!(lines(&text), [json!({"a": "x", "many": ["1"]}), json!({"a": "y"}), json!({"a": "last"})]);
    let answer = post(&world, "/collect", sent).send().await.expect("an answer");
    assert_eq!(body(answer, StatusCode::OK).await, json!({"a": "last"}));
    let none = post(&world, "/collect", "").send().await.expect("an answer");
    assert_eq!(body(none, StatusCode::BAD_REQUEST).await["error"]["message"], "nothing came");
}

#[tokio::test]
async fn an_answer_comes_before_the_request_has_ended() {
    let world = world().await;
    let (lines, sent) = mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
    lines.send(Ok("{}\n{\"a\":".into())).expect("it is read");
    let request = post(&world, "/talk/x", reqwest::Body::wrap_stream(UnboundedReceiverStream::new(sent)));
    let mut answer = request.send().await.expect("an answer");
    assert_eq!(answer.chunk().await.expect("a line").as_deref(), Some(&b"{\"a\":\"x\"}\n"[..]));
    lines.send(Ok("\"2\"}\n".into())).expect("it is read");
    assert_eq!(answer.chunk().await.expect("a line").as_deref(), Some(&b"{\"a\":\"2\"}\n"[..]));
    drop(lines);
    assert_eq!(answer.chunk().await.expect("the end"), None);
}

#[tokio::test]
async fn bytes_have_the_time_of_a_request_to_begin() {
    let request_timeout = Duration::from_millis(500);
    let world = world_with(|config| Config { request_timeout, ..config }).await;
    // The service has answered, and waits for something to send.
    let silent = reqwest::Body::wrap_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let asked = world.request("POST", "/convert").header("content-type", "text/plain").body(silent).send();
    let answer = timeout(PATIENCE, asked).await.expect("in time").expect("an answer");
    assert_eq!(reason(&body(answer, StatusCode::GATEWAY_TIMEOUT).await), "DEADLINE_EXCEEDED");
}

/// Of a client that still sends, to a service that has not answered yet.
#[tokio::test]
async fn a_stop_ends_a_call_whose_client_sends_with_an_error() {
    let world = world().await;
    let mut stream = connect(&world).await;
    let head = "POST /collect HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n\
        transfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("the edge listens");
    // Its body is read.
    let goes_on = answer(&mut stream).await;
    assert!(goes_on.starts_with("http/1.1 100"), "{goes_on}");
    stream.write_all(b"3\r\n{}\n\r\n").await.expect("the edge reads");
    world.stop();
    let ended = answer(&mut stream).await;
    assert!(ended.starts_with("http/1.1 503") && ended.contains("upstream_unavailable"), "{ended}");
    drop(stream);
    world.stopped().await;
}

#[tokio::test]
async fn a_stop_waits_for_the_answer_to_what_was_sent_whole() {
    let settings = |config| Config { forward_headers: vec![HeaderName::from_static(WAITS)], ..config };
    let world = world_with(settings).await;
    let request = post(&world, "/collect", "{\"a\":\"x\"}\n").header(WAITS, "yes");
    let answer = tokio::spawn(request.send());
    COLLECTED.notified().await;
    world.stop();
    RELEASED.notify_one();
    let answer = answer.await.expect("no panic").expect("an answer");
    assert_eq!(body(answer, StatusCode::OK).await["a"], "x");
    world.stopped().await;
}

#[tokio::test]
async fn a_wrong_line_ends_the_call_and_is_named() {
    let world = world().await;
    let answer = post(&world, "/collect", "{}\n{\"nope\":1}\n").send().await.expect("an answer");
    let error = body(answer, StatusCode::BAD_REQUEST).await;
    assert_eq!((reason(&error), error.to_string().contains("nope")), ("MALFORMED_REQUEST", true));
    let answer = world.send("POST", "/collect", "{}").await;
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20));
    let answer = post(&world, "/collect", long).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // Of a stream that has begun the last line says so.
    let (lines, sent) = mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
    lines.send(Ok("{}\n".into())).expect("it is read");
    let request = post(&world, "/talk/x", reqwest::Body::wrap_stream(UnboundedReceiverStream::new(sent)));
    let mut answer = request.send().await.expect("an answer");
    assert_eq!(answer.chunk().await.expect("a line").as_deref(), Some(&b"{\"a\":\"x\"}\n"[..]));
    lines.send(Ok("[]\n".into())).expect("it is read");
    let last = answer.chunk().await.expect("a line").expect("a last line");
    let error: Value = serde_json::from_slice(&last).expect("JSON");
    assert_eq!(reason(&error), "MALFORMED_REQUEST");
}

#[tokio::test]
async fn no_stream_is_read_in_a_coding() {
    let world = world().await;
    // Bytes of any type as well: nobody behind the edge could know that they are packed.
    let upload = world.request("POST", "/upload").header("content-type", "image/png");
    let packed = upload.try_clone().expect("no body").header("content-encoding", "gzip").body("packed");
    let refused = packed.send().await.expect("an answer");
    assert_eq!(refused.headers()["accept-encoding"], "identity");
    assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let plain = upload.body("plain").send().await.expect("an answer");
    assert_eq!(plain.text().await.expect("a body"), "plain");
    for coding in ["gzip", "foo"] {
        let answer = post(&world, "/collect", "{}").header("content-encoding", coding).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.headers()["accept-encoding"], "identity");
        assert_eq!(reason(&body(answer, StatusCode::UNSUPPORTED_MEDIA_TYPE).await), "UNSUPPORTED_MEDIA_TYPE");
    }
    let answer = post(&world, "/collect", "{}").header("content-encoding", "identity").send().await;
    assert_eq!(answer.expect("an answer").status(), StatusCode::OK);
}

#[tokio::test]
async fn frames_go_both_ways() {
    let world = world().await;
    let url = format!("{}/talk/room", world.url.replace("http", "ws"));
    let (mut socket, _) = connect_async(url.as_str()).await.expect("a WebSocket");
    for (sent, answer) in
        [("{\"many\":[\"1\"]}", json!({"a": "room", "many": ["1"]})), ("{\"a\":\"2\"}", json!({"a": "2"}))]
    {
        socket.send(Message::text(sent)).await.expect("it is sent");
        let received = socket.next().await.expect("an answer").expect("a frame");
        let received: Value = serde_json::from_str(received.to_text().expect("text")).expect("JSON");
        assert_eq!(received, answer);
    }
    // The last one is empty.
    socket.send(Message::text("")).await.expect("it is sent");
    match socket.next().await.expect("an end").expect("a frame") {
        Message::Close(Some(close)) => assert_eq!(close.code, CloseCode::Normal),
        other => panic!("{other:?}"),
    }
    // A close of the client's is answered.
    let (mut socket, _) = connect_async(url.as_str()).await.expect("a WebSocket");
    socket.close(None).await.expect("it is sent");
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(None)))));
    let (mut socket, _) = connect_async(url.as_str()).await.expect("a WebSocket");
    socket.send(Message::text("{\"nope\":1}")).await.expect("it is sent");
    let received = socket.next().await.expect("an error").expect("a frame");
    let received: Value = serde_json::from_str(received.to_text().expect("text")).expect("JSON");
    assert_eq!(reason(&received), "MALFORMED_REQUEST");
    match socket.next().await.expect("an end").expect("a frame") {
        Message::Close(Some(close)) => assert_eq!(close.code, CloseCode::Error),
        other => panic!("{other:?}"),
    }
}
