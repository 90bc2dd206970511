//! Calls whose service has begun to answer and ignores how long its client waits: the edge ends them in the form of each protocol.

use std::{collections::BTreeMap, convert::Infallible, io, mem, time::Duration};

use ::world::{PATIENCE, Raw};
use axum::{Router, body::Body, extract::Request, response::Response, routing};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use chassis::status::{Fault, Reason};
use futures_util::{
    FutureExt as _, SinkExt as _, StreamExt as _,
    future::{BoxFuture, join_all},
    stream,
};
use gateway::{Config, Upstreams};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, uri::PathAndQuery};
use prost::Message as _;
use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _, protocol::frame::coding::CloseCode},
};
use tonic::{Code, Status, client::Grpc, service::Routes, transport::Channel};
use tonic_types::pb;

use crate::{
    connect::{envelope, envelopes},
    foreign::{compiled, contract, encoded},
    upstream::{Upstream, echo},
    world::{World, json},
};

const METHODS: &str = "service Calls {
    rpc Get(M) returns (M) { option (google.api.http) = { get: \"/get\" }; }
    rpc Watch(M) returns (stream M) { option (google.api.http) = { get: \"/watch\" }; }
    rpc Upload(stream M) returns (M) { option (google.api.http) = { post: \"/upload\" body: \"*\" }; }
    rpc Talk(stream M) returns (stream M) { option (google.api.http) = {
        get: \"/talk\" additional_bindings { post: \"/talk\" body: \"*\" } }; } }";

/// Each of them, and whether its client streams.
const CALLS: [(&str, bool); 4] = [("Get", false), ("Watch", false), ("Upload", true), ("Talk", true)];

/// How long clients wait, long enough for each call to begin, and how they say so.
const TIME: Duration = Duration::from_secs(2);
const OF_GRPC: (&str, &str) = ("grpc-timeout", "2000m");
const OF_CONNECT: (&str, &str) = ("connect-timeout-ms", "2000");
const OF_ROUTES: (&str, &str) = ("x-request-timeout", "2s");

/// The service answers a call with this header with the head alone, or with a failure behind its message.
const HOW: &str = "x-how";

/// A call at the service, whose path is reported when it is dropped.
struct Call {
    path: String,
    ended: UnboundedSender<String>,
}

impl Drop for Call {
    fn drop(&mut self) {
        // A test that has ended listens no more.
        let _heeded = self.ended.send(mem::take(&mut self.path));
    }
}

/// A service that answers each call at once with a message, and then does nothing more; and its calls that have ended.
async fn service() -> (Upstream, UnboundedReceiver<String>) {
    let (ended, ends) = mpsc::unbounded_channel();
    let answers = move |request: Request| {
        let call = Call { path: request.uri().path().to_owned(), ended: ended.clone() };
        async move {
            let how = request.headers().get(HOW).map(HeaderValue::as_bytes);
            let (silent, fails) = (how == Some(&b"silent"[..]), how == Some(&b"fails"[..]));
            let message = stream::iter((!silent).then(|| Ok::<_, Infallible>(Bytes::from(envelope(0, b"")))));
            let body = message.chain(stream::pending()).inspect(move |_| {
                let _held = (&call, &request);
            });
            let body = if fails { failing() } else { Body::from_stream(body) };
            Response::builder().header("content-type", "application/grpc").body(body).expect("a response")
        }
    };
    let router = CALLS.into_iter().fold(Router::new(), |router, (name, _)| {
        router.route(&format!("/calls.v1.Calls/{name}"), routing::post(answers.clone()))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    (Upstream::beside(Routes::from(router), listener, async |call| echo(&call)), ends)
}

/// A message, and the status of a call that failed all the same.
fn failing() -> Body {
    let trailers = HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("9"))]);
    let message = http_body::Frame::data(Bytes::from(envelope(0, b"")));
    let frames = [message, http_body::Frame::trailers(trailers)].map(Ok::<_, Infallible>);
    Body::new(http_body_util::StreamBody::new(stream::iter(frames)))
}

async fn world(upstream: &Upstream, settings: impl FnOnce(Config) -> Config) -> World {
    let files = compiled(&[("calls.proto", contract("calls.v1", "", METHODS))]);
    World::with(settings(Config {
        descriptor_set: encoded(files.into_values()),
        upstreams: Upstreams::One(upstream.url().into()),
        forward_headers: vec![HeaderName::from_static(HOW)],
        ..Config::default()
    }))
    .await
}

/// How a call over gRPC ended, after so many messages.
async fn grpc(world: &World, method: &str, sends: bool, headers: &[(&'static str, &str)]) -> (Status, usize) {
    let channel = Channel::from_shared(world.url.clone()).expect("a URL").connect().await;
    let mut client = Grpc::new(channel.expect("the edge listens"));
    client.ready().await.expect("a connection");
    let one = stream::iter([Bytes::new()]);
    let sent = if sends { one.chain(stream::pending()).boxed() } else { one.boxed() };
    let mut request = tonic::Request::new(sent);
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().expect("a value"));
    }
    let path = PathAndQuery::try_from(format!("/calls.v1.Calls/{method}")).expect("a path");
    let mut messages = match client.streaming(request, path, Raw).await {
        Ok(response) => response.into_inner(),
        Err(status) => return (status, 0),
    };
    let mut passed = 0;
    loop {
        match messages.message().await {
            Ok(Some(_)) => passed += 1,
            Ok(None) => panic!("an end without a status"),
            Err(status) => return (status, passed),
        }
    }
}

fn is_over(status: &Status) -> bool {
    let reason = Fault::from_status(status).map(|fault| fault.reason);
    (status.code(), reason) == (Code::DeadlineExceeded, Some(Reason::DeadlineExceeded))
}

/// The body of a request with this part, and more of it to come where its client streams.
fn sending(part: impl Into<Vec<u8>>, sends: bool) -> reqwest::Body {
    let part: Vec<u8> = part.into();
    let part = stream::iter([Ok::<_, io::Error>(part)]);
    match sends {
        true => reqwest::Body::wrap_stream(part.chain(stream::pending())),
        false => reqwest::Body::wrap_stream(part),
    }
}

fn post(world: &World, method: &str, kind: &str, body: reqwest::Body) -> RequestBuilder {
    let request = world.request("POST", &format!("/calls.v1.Calls/{method}"));
    request.header("content-type", kind).body(body)
}

/// A call over gRPC-Web ends with the status in the frame of its trailers.
async fn over_web(world: &World, method: &str, sends: bool) {
    let request = post(world, method, "application/grpc-web+proto", sending(envelope(0, b""), sends));
    let answer = request.header(OF_GRPC.0, OF_GRPC.1).send().await.expect("an answer");
    let found = envelopes(&answer.bytes().await.expect("a body"));
    let [(0, _), (0x80, trailers)] = &found[..] else { panic!("{method}: {found:?}") };
    let trailers = String::from_utf8_lossy(trailers);
    let trailers = trailers.lines().filter_map(|line| line.split_once(':'));
    let trailers: HeaderMap = trailers
        .map(|(name, value)| {
            let name: HeaderName = name.parse().expect("a name");
            (name, HeaderValue::from_str(value.trim()).expect("a value"))
        })
        .collect();
    let status = Status::from_header_map(&trailers).expect("a status");
    assert!(is_over(&status), "{method}: {status:?}");
}

/// The error of Connect is that the deadline has passed.
fn assert_over(method: &str, error: &Value) {
    assert_eq!(error["code"], "deadline_exceeded", "{method}: {error}");
    let details = error["details"].as_array().expect("details");
    let info = details.iter().find(|detail| detail["type"] == "google.rpc.ErrorInfo").expect("a reason");
    let info = BASE64_STANDARD_NO_PAD.decode(info["value"].as_str().expect("a value")).expect("base64");
    assert_eq!(pb::ErrorInfo::decode(&info[..]).expect("an ErrorInfo").reason, "DEADLINE_EXCEEDED");
}

/// A call of Connect ends with the error as its answer, or in the message that ends its stream.
async fn over_connect(world: &World, method: &str, sends: bool) {
    let in_time = |request: RequestBuilder| request.header(OF_CONNECT.0, OF_CONNECT.1).send();
    if method == "Get" {
        let answer = in_time(post(world, method, "application/proto", sending("", false))).await;
        let error = json(answer.expect("an answer"), StatusCode::GATEWAY_TIMEOUT).await;
        return assert_over(method, &error);
    }
    let body = sending(envelope(0, b""), sends);
    let answer = in_time(post(world, method, "application/connect+proto", body)).await.expect("an answer");
    let found = envelopes(&answer.bytes().await.expect("a body"));
    let [(0, _), (2, end)] = &found[..] else { panic!("{method}: {found:?}") };
    let end: Value = serde_json::from_slice(end).expect("JSON");
    assert_over(method, &end["error"]);
}

/// So many calls of each method have ended at the service.
async fn have_ended(ends: &mut UnboundedReceiver<String>, expected: &BTreeMap<&str, usize>) {
    let mut left: BTreeMap<String, usize> =
        expected.iter().map(|(name, calls)| (format!("/calls.v1.Calls/{name}"), *calls)).collect();
    while left.values().any(|calls| *calls > 0) {
        let ended = timeout(PATIENCE, ends.recv()).await.unwrap_or_else(|_| panic!("left: {left:?}"));
        *left.get_mut(&ended.expect("a call")).expect("it was called") -= 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_when_its_client_said_so_whatever_its_service_does() {
    let (upstream, mut ends) = service().await;
    let world = &world(&upstream, |config| config).await;
    let begun = Instant::now();
    let mut calls: Vec<BoxFuture<'_, ()>> = Vec::new();
    for (method, sends) in CALLS {
        let over_grpc = async move {
            let (status, passed) = grpc(world, method, sends, &[OF_GRPC]).await;
            assert!(is_over(&status) && passed == 1, "{method}: {passed} messages, {status:?}");
        };
        calls.push(over_grpc.boxed());
        calls.push(over_web(world, method, sends).boxed());
        calls.push(over_connect(world, method, sends).boxed());
    }
    timeout(PATIENCE, join_all(calls)).await.expect("all of them end");
    assert!(begun.elapsed() >= TIME, "{:?}", begun.elapsed());
    have_ended(&mut ends, &BTreeMap::from(CALLS.map(|(method, _)| (method, 3)))).await;
}

#[tokio::test]
async fn a_unary_call_has_the_time_of_a_request_to_its_end() {
    let (upstream, mut ends) = service().await;
    let time = TIME / 2;
    let settings = |config| Config { request_timeout: time, idle_timeout: time, ..config };
    let world = world(&upstream, settings).await;
    // With nothing behind its head, and with nothing behind a message that has passed.
    for (how, expected) in [("silent", 0), ("", 1)] {
        let headers = [(HOW, how)];
        let called = grpc(&world, "Get", false, &headers);
        let (status, passed) = timeout(PATIENCE, called).await.expect("in time");
        assert!(is_over(&status) && passed == expected, "{how}: {passed} messages, {status:?}");
    }
    have_ended(&mut ends, &BTreeMap::from([("Get", 2)])).await;
    // A stream has as long as it wants.
    let watched = grpc(&world, "Watch", false, &[]);
    timeout(2 * time, watched).await.expect_err("it goes on");
}

/// The texts of a WebSocket whose client waits for so long and may send a message, and how it was closed.
async fn socket(world: &World, path: &str, sends: bool) -> String {
    let url = format!("{}{path}", world.url.replace("http", "ws"));
    let mut request = url.into_client_request().expect("a URL");
    request.headers_mut().insert(OF_ROUTES.0, HeaderValue::from_static(OF_ROUTES.1));
    let (mut socket, _) = connect_async(request).await.expect("a WebSocket");
    if sends {
        socket.send(Message::text("{}")).await.expect("it is sent");
    }
    let mut texts = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) => texts.push(text.to_string()),
            Message::Close(close) => {
                let close = close.expect("a code");
                assert_eq!((close.code, &*close.reason), (CloseCode::Error, "DEADLINE_EXCEEDED"));
            }
            _ => {}
        }
    }
    texts.join("\n")
}

/// The body of an answer to a client that waits for so long.
async fn text(request: RequestBuilder) -> String {
    let answer = request.header(OF_ROUTES.0, OF_ROUTES.1).send().await.expect("an answer");
    answer.text().await.expect("a body")
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_every_stream_of_a_route() {
    let (upstream, mut ends) = service().await;
    let world = &world(&upstream, |config| config).await;
    let lines = |method: &str, path: &str, sends| {
        let request = world.request(method, path).header("accept", "application/x-ndjson");
        let kind = "application/x-ndjson";
        if sends { request.header("content-type", kind).body(sending("{}\n", true)) } else { request }
    };
    let mut calls: Vec<BoxFuture<'_, (&str, String)>> = vec![
        text(world.request("GET", "/watch")).map(|text| ("events", text)).boxed(),
        text(lines("GET", "/watch", false)).map(|text| ("lines", text)).boxed(),
        text(lines("POST", "/talk", true)).map(|text| ("lines both ways", text)).boxed(),
        socket(world, "/watch", false).map(|text| ("a WebSocket", text)).boxed(),
        socket(world, "/talk", true).map(|text| ("a WebSocket both ways", text)).boxed(),
    ];
    // The message has come, and nobody knows yet how the call ended.
    calls.push(text(lines("POST", "/upload", true)).map(|text| ("lines for one message", text)).boxed());
    calls.push(text(world.request("GET", "/get")).map(|text| ("one message", text)).boxed());
    for (what, end) in timeout(PATIENCE, join_all(calls)).await.expect("all of them end") {
        let begins = what != "one message" && what != "lines for one message";
        assert!(end.contains("DEADLINE_EXCEEDED"), "{what}: {end}");
        assert_eq!(end.lines().any(|line| line == "{}" || line == "data: {}"), begins, "{what}: {end}");
    }
    let expected = BTreeMap::from([("Watch", 3), ("Talk", 2), ("Upload", 1), ("Get", 1)]);
    have_ended(&mut ends, &expected).await;
}

#[tokio::test]
async fn a_message_counts_when_its_call_has_ended_well() {
    let (upstream, _ends) = service().await;
    let world = world(&upstream, |config| config).await;
    let request = world.request("POST", "/upload").header("content-type", "application/x-ndjson");
    let answer = request.header(HOW, "fails").body("{}\n").send().await.expect("an answer");
    let error = json(answer, StatusCode::BAD_REQUEST).await;
    assert_eq!(error["error"]["status"], "FAILED_PRECONDITION", "{error}");
}
