//! Clients that take their answers slowly, or not at all.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, future::poll_fn, stream};
use gateway::Config;
use h2::client::SendRequest;
use http::Request;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use crate::{
    upstream::Upstream,
    world::{World, shapes},
};

/// Bytes of the text in an answer.
const TEXT: usize = 8 << 20;

/// An edge whose idle connections are closed after three seconds, before a service with long answers.
async fn world(config: impl FnOnce(Config) -> Config) -> World {
    let upstream = Upstream::start(async |_| {
        let mut shape = vec![0x0a, 0x80, 0x80, 0x80, 0x04];
        shape.resize(shape.len() + TEXT, b'a');
        Ok(tonic::Response::new(stream::iter([Ok(shape.into())]).boxed()))
    })
    .await;
    let config = config(Config { idle_timeout: Duration::from_secs(3), ..shapes(&upstream.url()) });
    let world = World::with(config).await;
    // It lives as long as the test.
    std::mem::forget(upstream);
    world
}

fn address(world: &World) -> std::net::SocketAddr {
    world.url.trim_start_matches("http://").parse().expect("an address")
}

/// A connection whose system keeps little of what comes.
async fn narrow(world: &World) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a small buffer");
    socket.connect(address(world)).await.expect("the edge listens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_taken_slowly_comes_whole() {
    let world = world(|config| config).await;
    let mut stream = narrow(&world).await;
    let ask = b"GET /v1/shapes HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(ask).await.expect("the edge listens");
    // 8 MiB in ten seconds: far longer than a connection may be idle, and never without a step in that time.
    let (mut taken, mut part) = (0, vec![0; 64 << 10]);
    loop {
        let mut piece = 0;
        while piece < part.len() {
            match stream.read(&mut part[piece..]).await.expect("no reset") {
                0 => break,
                count => piece += count,
            }
        }
        taken += piece;
        if piece < part.len() {
            break;
        }
        sleep(Duration::from_millis(80)).await;
    }
    assert!(taken > TEXT, "{taken} of {TEXT} bytes came");
}

async fn http2(
    world: &World,
    window: u32,
) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(address(world)).await.expect("the edge listens");
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let (requests, connection) = builder.handshake(stream).await.expect("HTTP/2 is spoken");
    (requests, tokio::spawn(connection))
}

async fn ask(requests: &mut SendRequest<Bytes>, world: &World) -> http::Response<h2::RecvStream> {
    poll_fn(|context| requests.poll_ready(context)).await.expect("the connection lives");
    let request = Request::get(format!("{}/v1/shapes", world.url)).body(()).expect("a request");
    let (response, _) = requests.send_request(request, true).expect("it is sent");
    response.await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_http2_that_is_taken_slowly_comes_whole() {
    let world = world(|config| config).await;
    let (mut requests, _connection) = http2(&world, 65_535).await;
    let mut body = ask(&mut requests, &world).await.into_body();
    let (mut taken, mut owed) = (0, 0);
    while let Some(data) = body.data().await {
        let bytes = data.expect("no reset").len();
        (taken, owed) = (taken + bytes, owed + bytes);
        if owed >= 32 << 10 {
            sleep(Duration::from_millis(40)).await;
            body.flow_control().release_capacity(owed).expect("an open stream");
            owed = 0;
        }
    }
    assert!(taken > TEXT, "{taken} of {TEXT} bytes came");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_is_cut_off() {
    let world = world(|config| config).await;
    let (mut requests, connection) = http2(&world, 0).await;
    let response = ask(&mut requests, &world).await;
    let ended = timeout(Duration::from_secs(30), connection).await.expect("it is cut off");
    drop((ended, response));
    // Over HTTP/1.1, too.
    let mut stream = narrow(&world).await;
    let ask = b"GET /v1/shapes HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(ask).await.expect("the edge listens");
    sleep(Duration::from_secs(12)).await;
    let mut taken = Vec::new();
    let _closed_or_reset =
        timeout(Duration::from_secs(30), stream.read_to_end(&mut taken)).await.expect("it ends");
    assert!(taken.len() < TEXT, "it was cut off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_not_taken_are_bounded() {
    let bounded =
        |config| Config { max_buffered_bytes: 64 << 20, idle_timeout: Duration::from_secs(60), ..config };
    let world = world(bounded).await;
    let (mut requests, _connection) = http2(&world, 0).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(ask(&mut requests, &world).await);
    }
    // A quarter of 64 MiB is one such answer.
    let statuses: Vec<u16> = held.iter().map(|response| response.status().as_u16()).collect();
    assert_eq!(statuses, [200, 429, 429, 429, 429, 429]);
    let other =
        reqwest::Client::builder().local_address(Some(std::net::Ipv4Addr::new(127, 0, 0, 2).into())).build();
    let other =
        other.expect("a client").get(format!("{}/v1/shapes", world.url)).send().await.expect("an answer");
    assert_eq!(other.status(), 200, "another client has a share of its own");
    assert!(other.bytes().await.expect("a body").len() > TEXT);
}
