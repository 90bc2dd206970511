//! Answers and bodies that a client holds: it uses up what it may have itself, and nobody else's.

use std::{future::poll_fn, net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use chassis::status::{Fault, Reason};
use futures_util::{
    StreamExt as _,
    future::join_all,
    stream::{self, FuturesUnordered},
};
use gateway::Config;
use h2::{RecvStream, client::SendRequest};
use http::{Request, StatusCode};
use ordermesh::orders::v1::{GetOrderRequest, Order, OrderEvent};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::{Code, Status};

use crate::{
    upstream::{Call, Reply, Upstream},
    world::{World, json, opened, reason},
};

const KIB: usize = 1 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// An order whose description has as many bytes as its id says, which both requests have as their first field.
async fn reply(call: Call) -> Reply {
    let id = GetOrderRequest::decode(call.wire).map(|request| request.order_id).unwrap_or_default();
    let description = "a".repeat(id.parse().unwrap_or_default());
    let order = Order { id, description, version: 1, ..Order::default() };
    if call.path.contains("/Watch") {
        let event = Bytes::from(OrderEvent { order: Some(order) }.encode_to_vec());
        return Ok(tonic::Response::new(stream::iter([Ok(event)]).chain(stream::pending()).boxed()));
    }
    Ok(tonic::Response::new(stream::iter([Ok(order.encode_to_vec().into())]).boxed()))
}

/// An edge where all answers may take so many bytes, and all bodies, and those of one client a quarter.
async fn world(max_buffered_bytes: usize, idle: Duration) -> World {
    let upstream = Upstream::start(reply).await;
    let config = Config {
        max_buffered_bytes,
        idle_timeout: idle,
        max_body_bytes: max_buffered_bytes / 16,
        ..Config::builtin(upstream.url(), upstream.url())
    };
    let world = World::with(config).await;
    // It lives as long as the test.
    std::mem::forget(upstream);
    world
}

fn order(bytes: usize) -> String {
    format!("/gateway/orders/{bytes}")
}

/// Somebody at another address.
fn other() -> reqwest::Client {
    let builder = reqwest::Client::builder().local_address(Some(Ipv4Addr::new(127, 0, 0, 2).into()));
    builder.build().expect("a client")
}

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.url.trim_start_matches("http://")).await.expect("the edge listens")
}

/// A connection of HTTP/2 whose client takes no data at all.
struct Closed {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Closed {
    async fn to(world: &World) -> Self {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(0);
        let (requests, connection) = builder.handshake(connect(world).await).await.expect("HTTP/2 is spoken");
        Self { requests, connection: tokio::spawn(connection) }
    }

    async fn ask(&mut self, request: Request<()>) -> Result<http::Response<RecvStream>, h2::Error> {
        poll_fn(|context| self.requests.poll_ready(context)).await?;
        let (response, _) = self.requests.send_request(request, true)?;
        response.await
    }

    async fn get(&mut self, world: &World, path: &str) -> Result<http::Response<RecvStream>, h2::Error> {
        self.ask(Request::get(format!("{}{path}", world.url)).body(()).expect("a request")).await
    }

    /// Calls GetOrder; the answer is as large.
    async fn call(&mut self, world: &World, bytes: usize) -> http::Response<RecvStream> {
        poll_fn(|context| self.requests.poll_ready(context)).await.expect("the connection lives");
        let path = "/ordermesh.orders.v1.OrdersService/GetOrder";
        let request = Request::post(format!("{}{path}", world.url));
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        let request = request.body(()).expect("a request");
        let (response, mut body) = self.requests.send_request(request, false).expect("it is sent");
        let message = GetOrderRequest { order_id: bytes.to_string() }.encode_to_vec();
        let length = u32::try_from(message.len()).expect("a short one").to_be_bytes();
        body.send_data([&[0][..], &length, &message].concat().into(), true).expect("it is sent");
        response.await.expect("an answer")
    }
}

/// Somebody else is answered as ever, and the client itself learns why it is not.
async fn only_its_own_share(world: &World, bytes: usize) {
    let refused = async {
        loop {
            let response = world.get(&order(bytes)).await;
            if response.status() == StatusCode::TOO_MANY_REQUESTS {
                return json(response, StatusCode::TOO_MANY_REQUESTS).await;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let error = timeout(PATIENCE, refused).await.expect("its share is used up");
    let message = error["error"]["message"].as_str().expect("a message");
    assert!(reason(&error) == "RATE_LIMITED" && message.contains("--max-buffered-bytes"), "{message}");
    answers_others(world, bytes).await;
}

async fn answers_others(world: &World, bytes: usize) {
    let response = other().get(format!("{}{}", world.url, order(bytes))).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn small_answers_that_nobody_takes_are_bounded() {
    let world = world(4 << 20, PATIENCE).await;
    let mut client = Closed::to(&world).await;
    let mut statuses = Vec::new();
    let mut held = Vec::new();
    for _ in 0..150 {
        let answer = client.get(&world, &order(8 * KIB)).await.expect("an answer");
        statuses.push(answer.status());
        held.push(answer);
    }
    // Of 1 MiB each takes 10 KiB, with what it takes beside its bytes.
    let given = statuses.iter().filter(|status| **status == StatusCode::OK).count();
    assert!((90..=105).contains(&given), "{given} were given");
    only_its_own_share(&world, 1).await;
    drop(held);
    let again = async { while world.get(&order(1)).await.status() != StatusCode::OK {} };
    timeout(PATIENCE, again).await.expect("what was held is free again");
}

#[tokio::test]
async fn refusals_that_nobody_takes_are_bounded_too() {
    let world = world(1 << 20, PATIENCE).await;
    let mut held = Vec::new();
    let reset = async {
        loop {
            let mut client = Closed::to(&world).await;
            for _ in 0..200 {
                match client.get(&world, "/nothing").await {
                    Ok(answer) => held.push(answer),
                    Err(error) => return error,
                }
            }
        }
    };
    let error = timeout(PATIENCE, reset).await.expect("there is an end");
    assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
    answers_others(&world, 1).await;
}

#[tokio::test]
async fn calls_of_grpc_that_nobody_takes_are_bounded() {
    let world = world(2 << 20, PATIENCE).await;
    let mut client = Closed::to(&world).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(client.call(&world, 200 * KIB).await.into_body());
    }
    only_its_own_share(&world, 200 * KIB).await;
    // What is too much ends with a status, and the others are there until somebody takes them.
    let ends = join_all(held.iter_mut().map(|body| timeout(Duration::from_secs(2), body.trailers()))).await;
    let statuses: Vec<_> =
        ends.into_iter().flatten().map(|trailers| trailers.expect("no reset").expect("a status")).collect();
    assert!((10..18).contains(&statuses.len()), "{} of 20 ended", statuses.len());
    for trailers in statuses {
        let status = Status::from_header_map(&trailers).expect("a status");
        let fault = Fault::from_status(&status).expect("a reason");
        assert_eq!((status.code(), fault.reason), (Code::ResourceExhausted, Reason::RateLimited));
    }
}

#[tokio::test]
async fn frames_of_streams_that_nobody_takes_are_bounded() {
    let world = world(8 << 20, PATIENCE).await;
    let mut client = Closed::to(&world).await;
    let path = format!("{}:watch", order(1 << 20));
    let mut held = Vec::new();
    for _ in 0..2 {
        // Events begin with a comment, and behind that nothing is made for who does not take it.
        let lines = Request::get(format!("{}{path}", world.url)).header("accept", "application/x-ndjson");
        held.push(client.ask(lines.body(()).expect("a request")).await.expect("an answer"));
    }
    // Two of 1 MiB are all that one client may have: what is too much for it ends its stream, with the reason.
    let first = async |client: &reqwest::Client| {
        let mut watch = client.get(format!("{}{path}", world.url)).send().await.expect("an answer");
        if watch.status() == StatusCode::OK {
            opened(&mut watch).await;
        }
        watch.chunk().await.ok().flatten().unwrap_or_default()
    };
    let ended = async {
        loop {
            let frame = first(&reqwest::Client::new()).await;
            if frame.starts_with(b"event: error") || frame.starts_with(b"{\"error\"") {
                return frame;
            }
        }
    };
    let frame = timeout(PATIENCE, ended).await.expect("its share is used up");
    assert!(String::from_utf8_lossy(&frame).contains("RATE_LIMITED"));
    assert!(first(&other()).await.starts_with(b"id: 1\ndata: "), "another client has its messages");
}

#[tokio::test]
async fn messages_of_websockets_that_nobody_takes_are_bounded() {
    let world = world(64 << 20, PATIENCE).await;
    let path = format!("{}:watch", order(10 << 20));
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(16 << 10).expect("a small buffer");
        let address = world.url.trim_start_matches("http://").parse().expect("an address");
        let mut socket = socket.connect(address).await.expect("the edge listens");
        let ask = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(ask.as_bytes()).await.expect("the edge listens");
        let mut status = [0; 12];
        socket.read_exact(&mut status).await.expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 101");
        sockets.push(socket);
    }
    // One message of 10 MiB is there, another one would be more than 16.
    only_its_own_share(&world, 8 << 20).await;
}

#[tokio::test]
async fn documents_that_nobody_takes_are_bounded() {
    let world = world(1 << 20, PATIENCE).await;
    let mut client = Closed::to(&world).await;
    let mut held = Vec::new();
    while let Ok(answer) = client.get(&world, "/openapi.json").await {
        held.push(answer);
        assert!(held.len() < 100, "there is no bound");
    }
    let given = held.iter().filter(|answer| answer.status() == StatusCode::OK).count();
    assert!((1..20).contains(&given) && given < held.len(), "{given} were given");
    only_its_own_share(&world, 1).await;
}

#[tokio::test]
async fn an_answer_that_is_not_taken_ends_its_connection_however_busy_that_is() {
    let world = world(64 << 20, Duration::from_secs(1)).await;
    let mut client = Closed::to(&world).await;
    let held = client.get(&world, &order(1)).await.expect("an answer");
    // Each of these is given up at once.
    let asking = async {
        while client.get(&world, &order(1)).await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, asking).await.expect("no new requests are taken");
    let ended = timeout(PATIENCE, client.connection).await.expect("it is cut off");
    drop((held, ended));
}

/// Sends all but the end of a body.
async fn upload(world: &World, address: [u8; 4], bytes: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::from(address), 0).into()).expect("an address");
    let edge = world.url.trim_start_matches("http://").parse().expect("an address");
    let mut stream = socket.connect(edge).await.expect("the edge listens");
    let head = format!(
        "POST /gateway/orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n"
    );
    let _refused = stream.write_all(head.as_bytes()).await;
    let _refused = stream.write_all(&vec![b' '; bytes - 1]).await;
    stream
}

/// How many of these are refused: so many are waited for, and for another second whether there are more.
async fn refused(uploads: &mut [TcpStream], expected: usize) -> usize {
    let answers = uploads.iter_mut().map(|stream| async move {
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.expect("an answer");
        assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 429");
    });
    let (mut answers, mut count) = (answers.collect::<FuturesUnordered<_>>(), 0);
    let most = |count: usize| if count < expected { PATIENCE } else { Duration::from_secs(1) };
    while let Ok(Some(())) = timeout(most(count), answers.next()).await {
        count += 1;
    }
    count
}

#[tokio::test]
async fn bodies_of_one_client_leave_room_for_those_of_others() {
    let world = world(16 << 20, PATIENCE).await;
    let mut held = join_all((0..10).map(|_| upload(&world, [127, 0, 0, 1], 1 << 20))).await;
    // Four of 1 MiB are a quarter of 16.
    assert_eq!(refused(&mut held, 6).await, 6);
    let mut others = join_all((0..4).map(|_| upload(&world, [127, 0, 0, 2], 1 << 20))).await;
    assert_eq!(refused(&mut others, 0).await, 0, "another client has a share of its own");
}
