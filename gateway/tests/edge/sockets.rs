//! Streams as WebSockets: what a page sees of messages, errors and the end, and who may open one.

use std::time::Duration;

use chassis::status::Reason;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use gateway::Config;
use http::StatusCode;
use prost::Message as _;
use prost_types::Any;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest as _,
        handshake::client::Request,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::{
    streams::{WATCH, endless, line, world},
    upstream::Upstream,
    world::{World, json, reason},
};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn request(world: &World, path: &str) -> Request {
    let url = format!("{}{path}", world.url.replace("http", "ws"));
    url.into_client_request().expect("a URL")
}

fn from_page(world: &World, origin: &str) -> Request {
    let mut request = request(world, WATCH);
    request.headers_mut().insert("origin", origin.parse().expect("a value"));
    request
}

pub(crate) async fn open(world: &World, path: &str) -> Socket {
    connect_async(request(world, path)).await.expect("a WebSocket").0
}

/// The answer of an edge that makes no WebSocket of it.
async fn refused(request: Request) -> (StatusCode, Value) {
    match connect_async(request).await {
        Err(tungstenite::Error::Http(answer)) => {
            let body = answer.body().as_deref().unwrap_or_default();
            (answer.status(), serde_json::from_slice(body).expect("JSON"))
        }
        other => panic!("{other:?}"),
    }
}

/// What is left: messages, and how it ends.
pub(crate) async fn rest(mut socket: Socket) -> (Vec<Value>, CloseFrame) {
    let mut messages = Vec::new();
    while let Some(received) = socket.next().await {
        match received.expect("no broken connection") {
            Message::Text(text) => messages.push(line(&text)),
            Message::Close(close) => return (messages, close.expect("a code")),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("no end after {messages:?}")
}

fn version(version: u32) -> Value {
    json!({"order": {"version": version.to_string()}})
}

#[tokio::test]
async fn a_message_is_a_text_frame() {
    let world = world().await;
    let (messages, close) = rest(open(&world, WATCH).await).await;
    assert_eq!(messages, [version(1), version(2), version(3)]);
    assert_eq!(close.code, CloseCode::Normal);
    let (messages, _) = rest(open(&world, &format!("{WATCH}?after_version=2")).await).await;
    assert_eq!(messages, [version(3)], "where a page goes on");
}

#[tokio::test]
async fn bytes_are_binary_frames() {
    // `Any` has the fields of `google.api.HttpBody`: a string and bytes.
    let part = |data: &[u8]| Any { type_url: "image/png".to_owned(), value: data.to_vec() };
    let parts = [part(b"\x89PNG"), part(b"\xff")].map(|part| Ok(part.encode_to_vec().into()));
    let upstream = Upstream::start(move |_| {
        let parts = stream::iter(parts.clone()).boxed();
        async { Ok(tonic::Response::new(parts)) }
    })
    .await;
    let world = World::of_shapes(&upstream).await;
    let mut socket = open(&world, "/v1/files:download").await;
    for part in [&b"\x89PNG"[..], b"\xff"] {
        assert_eq!(
            socket.next().await.expect("a frame").expect("a frame"),
            Message::Binary(part.to_vec().into())
        );
    }
}

#[tokio::test]
async fn an_error_is_the_last_message_and_the_code() {
    let world = world().await;
    let (messages, close) = rest(open(&world, "/gateway/orders/broken:watch").await).await;
    assert_eq!((messages.len(), &messages[0]), (2, &version(1)));
    assert_eq!(reason(&messages[1]), "STORAGE_UNAVAILABLE");
    assert_eq!((close.code, close.reason.as_str()), (CloseCode::Error, "STORAGE_UNAVAILABLE"));
    // What fails before its first message is no WebSocket.
    let (status, error) = refused(request(&world, "/gateway/orders/none:watch")).await;
    assert_eq!((status, reason(&error)), (StatusCode::NOT_FOUND, "ORDER_NOT_FOUND"));
}

/// A page that has received one message of a stream that goes on, and a notice when the call is dropped.
async fn watching() -> (Upstream, oneshot::Receiver<()>, World, Socket) {
    let (upstream, dropped) = endless().await;
    let world = World::of(&upstream).await;
    let mut socket = open(&world, WATCH).await;
    socket.next().await.expect("a message").expect("a message");
    (upstream, dropped, world, socket)
}

#[tokio::test]
async fn a_page_that_leaves_ends_the_call() {
    let (_upstream, dropped, _world, mut socket) = watching().await;
    let goodbye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    socket.close(Some(goodbye.clone())).await.expect("it closes");
    let (_, answered) = rest(socket).await;
    assert_eq!(answered, goodbye, "a browser would take it for a broken connection");
    dropped.await.expect_err("the sender is dropped with the call");
}

#[tokio::test]
async fn a_page_that_sends_to_a_server_stream_gets_an_error() {
    let (_upstream, dropped, _world, mut socket) = watching().await;
    socket.send(Message::text("hello")).await.expect("it sends");
    let (_, close) = rest(socket).await;
    assert_eq!(close.code, CloseCode::Unsupported);
    dropped.await.expect_err("the sender is dropped with the call");
}

#[tokio::test]
async fn a_stop_ends_open_sockets_and_waits_for_them() {
    let (_upstream, _dropped, world, socket) = watching().await;
    world.stop();
    let (messages, close) = rest(socket).await;
    assert_eq!((messages.len(), reason(&messages[0])), (1, "UPSTREAM_UNAVAILABLE"));
    assert_eq!(close.code, CloseCode::Away);
    world.stopped().await;
}

#[tokio::test]
async fn silence_is_filled_with_pings() {
    let (_upstream, _dropped, _world, mut socket) = watching().await;
    // From here on time passes as soon as everyone waits.
    tokio::time::pause();
    for _ in 0..3 {
        assert!(matches!(socket.next().await, Some(Ok(Message::Ping(_)))));
    }
}

#[tokio::test]
async fn a_handshake_may_have_several_connection_lines() {
    let world = world().await;
    let mut stream =
        TcpStream::connect(world.url.trim_start_matches("http://")).await.expect("the edge listens");
    let key = "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let lines = "connection: keep-alive\r\nconnection: Upgrade\r\nupgrade: websocket";
    let ask = format!("GET {WATCH} HTTP/1.1\r\nhost: x\r\n{lines}\r\n{key}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.expect("the edge listens");
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 101");
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let (upstream, _dropped) = endless().await;
    let strict = World::of(&upstream).await;
    for origin in ["https://evil.example", "null", &strict.url.replace("127.0.0.1", "localhost")] {
        let (status, error) = refused(from_page(&strict, origin)).await;
        assert_eq!((status, reason(&error)), (StatusCode::FORBIDDEN, Reason::OriginNotAllowed.as_str()));
    }
    let own = from_page(&strict, &strict.url);
    connect_async(own).await.expect("a page of the edge itself");
    for origins in ["https://shop.example", "*"] {
        let config = Config {
            cors_origins: vec![origins.to_owned()],
            ..Config::builtin(upstream.url(), upstream.url())
        };
        let friendly = World::with(config).await;
        connect_async(from_page(&friendly, "https://shop.example")).await.expect("an allowed origin");
    }
}

#[tokio::test]
async fn a_handshake_is_whole_or_refused() {
    let world = world().await;
    let mut old = request(&world, WATCH);
    old.headers_mut().insert("sec-websocket-version", "8".parse().expect("a value"));
    let (status, error) = refused(old).await;
    assert_eq!((status, reason(&error)), (StatusCode::BAD_REQUEST, "MALFORMED_REQUEST"));
    // What is no stream is answered as ever (RFC 9110, section 7.8).
    let unary = world.request("GET", "/gateway/orders?page_size=x").header("upgrade", "websocket");
    json(unary.send().await.expect("an answer"), StatusCode::BAD_REQUEST).await;
}

#[tokio::test]
async fn a_socket_keeps_its_slot_among_the_connections() {
    let (upstream, _dropped) = endless().await;
    let config = Config { max_connections: 1, ..Config::builtin(upstream.url(), upstream.url()) };
    let world = World::with(config).await;
    let mut socket = open(&world, WATCH).await;
    socket.next().await.expect("a message").expect("a message");
    let mut next = std::pin::pin!(world.get("/nowhere"));
    timeout(Duration::from_millis(200), &mut next).await.expect_err("the only slot is taken");
    drop(socket);
    assert_eq!(next.await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_socket_keeps_its_slot_among_those_of_its_address() {
    let (upstream, _dropped) = endless().await;
    let config =
        Config { max_connections_per_client: Some(1), ..Config::builtin(upstream.url(), upstream.url()) };
    let world = World::with(config).await;
    let mut socket = open(&world, WATCH).await;
    socket.next().await.expect("a message").expect("a message");
    let next = async || world.request("GET", "/nowhere").send().await;
    next().await.expect_err("its connection is closed");
    drop(socket);
    let again = async { while next().await.is_err() {} };
    timeout(Duration::from_secs(20), again).await.expect("a slot is free again");
}
