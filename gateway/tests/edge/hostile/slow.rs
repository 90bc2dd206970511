//! Clients that hold what they get: connections without requests, heads and bodies that never end.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::{future::join_all, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use world::{PATIENCE, eventually};

use super::{Besieged, MIB, connect};

/// How often a slow client sends one byte more: often enough that no connection looks dead.
const DRIP: Duration = Duration::from_millis(250);

/// Sends a byte now and then until the edge has enough of it; what the edge said.
async fn drip(mut stream: TcpStream, byte: u8) -> String {
    let mut answer = Vec::new();
    loop {
        let mut part = [0; 1024];
        tokio::select! {
            read = stream.read(&mut part) => match read {
                Ok(0) | Err(_) => return String::from_utf8_lossy(&answer).into_owned(),
                Ok(count) => answer.extend_from_slice(&part[..count]),
            },
            () = sleep(DRIP) => {
                // A reset shows in the next read.
                let _refused = stream.write_all(&[byte]).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_never_end_are_cut_off() {
    let edge = Besieged::with(&["--header-timeout", "4s"]).await;
    let attack = join_all((0..1_000).map(|_| async {
        let mut stream = edge.connect().await;
        stream.write_all(b"GET /v1/shapes HTTP/1.1\r\nhost: x\r\nx-slow: ").await.expect("the edge listens");
        drip(stream, b'z').await
    }));
    let answers = attack.await;
    assert!(answers.iter().all(|answer| !answer.contains("200 OK")), "nothing was asked for");
    edge.leaves_unharmed(32 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_never_end_take_nobodys_turn() {
    // Were a slot taken for each of these, nobody would be left for the neighbour.
    let besieged = Besieged::with(&["--max-requests", "16", "--request-timeout", "4s"]).await;
    let edge = &besieged;
    let head = "content-type: application/json\r\ncontent-length: 100000\r\n\r\n{";
    // A route, and a method by its name.
    let attack = join_all(["/v1/shapes/a", "/shapes.v1.Shapes/Query"].repeat(500).into_iter().map(
        |path| async move {
            let mut stream = edge.connect().await;
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\n{head}");
            stream.write_all(head.as_bytes()).await.expect("the edge listens");
            drip(stream, b' ').await
        },
    ));
    for answer in attack.await {
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    }
    besieged.leaves_unharmed(32 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_bodies_take_together_is_bounded() {
    let edge = Besieged::with(&["--max-buffered-bytes", "33554432", "--request-timeout", "4s"]).await;
    let head = "POST /v1/shapes/a HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1048576\r\n\r\n";
    let attack = join_all((0..200).map(|_| async {
        let mut stream = edge.connect().await;
        stream.write_all(head.as_bytes()).await.expect("the edge listens");
        // All but the end; the edge may have refused it by then.
        let _refused = stream.write_all(&vec![b' '; (1 << 20) - 1]).await;
        drip(stream, b' ').await
    }));
    let answers = attack.await;
    let refused = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 429 ")).count();
    assert!(refused > 100, "{refused} were refused; 32 have room");
    edge.leaves_unharmed(96 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_disturb_nobody() {
    const IDLE: usize = 10_000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("as many as allowed");
    assert!(hard > 11_000, "{hard} open files are allowed: too few for this test");
    // They would be cut off one after the other, while others are still on their way.
    let edge = Besieged::with(&["--header-timeout", "60s"]).await;
    let before = edge.open_files();
    let mut idle = Vec::with_capacity(IDLE);
    while idle.len() < IDLE {
        idle.extend(join_all((0..250).map(|_| edge.connect())).await);
        // Those that it has not accepted yet are the system's.
        let held = before + idle.len() - 250;
        eventually("the connections", PATIENCE, async || {
            let open = edge.open_files();
            if open < held { Err(format!("{open} files are open")) } else { Ok(()) }
        })
        .await
        .expect("the edge accepts all of them");
    }
    for _ in 0..50 {
        let answer = edge.ask("GET /v1/shapes HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    assert!(edge.open_files() > IDLE - 250, "{} files are open", edge.open_files());
    drop(idle);
    edge.leaves_unharmed(192 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_of_http2_is_closed_and_a_stream_is_not() {
    let edge = Besieged::with(&["--idle-timeout", "1s"]).await;
    let mut streaming = edge.connect().await;
    let watch = b"GET /v1/shapes:watch HTTP/1.1\r\nhost: x\r\n\r\n";
    streaming.write_all(watch).await.expect("the edge listens");
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(connect(edge.address).await),
    )
    .await
    .expect("HTTP/2 is spoken");
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("http://{}/v1/shapes", edge.address));
    let request = request.body(http_body_util::Empty::<Bytes>::new()).expect("a request");
    assert_eq!(sender.send_request(request).await.expect("an answer").status(), 200);
    let _closed_or_broken = connection.await.expect("no panic");
    assert!(sender.is_closed());
    let mut answer = Vec::new();
    let ended = timeout(Duration::from_secs(2), streaming.read_to_end(&mut answer)).await;
    assert!(ended.is_err() && answer.starts_with(b"HTTP/1.1 200 OK"), "the stream goes on");
    edge.leaves_unharmed(16 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_streams_of_one_client_leave_places_to_others() {
    let edge = Besieged::with(&["--max-streams-per-client", "500"]).await;
    let watch = b"GET /v1/shapes:watch HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut statuses = Vec::new();
    let mut open = Vec::new();
    for _ in 0..8 {
        let attack = (0..250).map(|_| async {
            let mut stream = edge.connect().await;
            stream.write_all(watch).await.expect("the edge listens");
            let mut status = [0; 12];
            stream.read_exact(&mut status).await.expect("an answer");
            (stream, String::from_utf8_lossy(&status).into_owned())
        });
        for (stream, status) in join_all(attack).await {
            statuses.push(status);
            open.push(stream);
        }
    }
    let count = |status: &str| statuses.iter().filter(|one| one.ends_with(status)).count();
    assert_eq!((count("200"), count("429")), (500, 1_500));
    edge.leaves_unharmed(64 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_whose_message_never_comes_take_nobodys_turn() {
    let edge = Besieged::with(&["--max-requests", "16"]).await;
    let attack = join_all((0..4).map(|_| async {
        let stream = hyper_util::rt::TokioIo::new(edge.connect().await);
        let executor = hyper_util::rt::TokioExecutor::new();
        let connected = hyper::client::conn::http2::handshake(executor, stream).await;
        let (sender, connection) = connected.expect("HTTP/2 is spoken");
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let calls =
            (0..100).map(|_| {
                let mut sender = sender.clone();
                let never = stream::pending::<Result<Frame<Bytes>, Infallible>>();
                let request = http::Request::post(format!("http://{}/shapes.v1.Shapes/Query", edge.address))
                    .header("content-type", "application/grpc")
                    .header("te", "trailers")
                    .header("grpc-timeout", "4S");
                let request = request.body(StreamBody::new(never)).expect("a request");
                async move {
                    sender.send_request(request).await.expect("an answer").headers()["grpc-status"].clone()
                }
            });
        join_all(calls).await
    }));
    for status in attack.await.into_iter().flatten() {
        assert_eq!(status, "4", "its time is over, and nothing else was wrong");
    }
    edge.leaves_unharmed(32 * MIB).await;
}
