//! Clients that ask, and take no answers; or are answered, and go on as if they were not.

use std::{future::poll_fn, net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::{RecvStream, client::SendRequest};
use http::{Request, Response};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    time::{sleep, timeout},
};

use super::{Besieged, MIB};

/// Bytes of each answer.
const ANSWER: usize = 16 << 10;

/// A connection of HTTP/2 from this address, whose client takes no data.
async fn closed(edge: &Besieged, from: [u8; 4]) -> SendRequest<Bytes> {
    connected(edge, from, 0).await
}

/// The same, with so large a window for each answer. That of the connection, 64 KiB for all of them, is never opened again.
async fn connected(edge: &Besieged, from: [u8; 4], window: u32) -> SendRequest<Bytes> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::from(from), 0).into()).expect("an address");
    let stream = socket.connect(edge.address).await.expect("the edge listens");
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let (requests, connection) = builder.handshake(stream).await.expect("HTTP/2 is spoken");
    tokio::spawn(connection);
    requests
}

/// What 250 requests on it lead to: answers that are held, and how many of them are refused, and reset.
async fn hold(
    edge: &Besieged,
    requests: &mut SendRequest<Bytes>,
) -> (Vec<Response<RecvStream>>, usize, usize) {
    let (mut held, mut refused, mut reset) = (Vec::new(), 0, 0);
    let url = format!("http://{}/v1/shapes?text={}", edge.address, "a".repeat(ANSWER));
    for _ in 0..250 {
        poll_fn(|context| requests.poll_ready(context)).await.expect("the connection lives");
        let request = Request::get(&url).body(()).expect("a request");
        let (response, _) = requests.send_request(request, true).expect("it is sent");
        match response.await {
            Ok(answer) => {
                refused += usize::from(answer.status() == 429);
                held.push(answer);
            }
            Err(_) => reset += 1,
        }
    }
    (held, refused, reset)
}

#[tokio::test(flavor = "multi_thread")]
async fn held_windows_take_what_their_clients_may_have() {
    let edge = Besieged::with(&["--max-buffered-bytes", "33554432"]).await;
    let attack = join_all((0..30).map(|number| {
        let edge = &edge;
        async move {
            let mut requests = closed(edge, [127, 0, 0, 2 + number % 3]).await;
            let held = hold(edge, &mut requests).await;
            (requests, held)
        }
    }));
    // 7,500 answers of 16 KiB would be 117 MiB, and three clients may have 24.
    let held = attack.await;
    let given: usize = held.iter().map(|(_, (held, refused, _))| held.len() - refused).sum();
    let refused: usize = held.iter().map(|(_, (_, refused, reset))| refused + reset).sum();
    eprintln!("{given} were given, {refused} refused");
    assert!((1_000..1_500).contains(&given) && given + refused == 7_500, "{given} were given");
    edge.leaves_unharmed(80 * MIB).await;
    drop(held);
}

/// A call of gRPC whose message has so many bytes, and its answer as many.
async fn call(edge: &Besieged, requests: &mut SendRequest<Bytes>) -> Result<Response<RecvStream>, h2::Error> {
    poll_fn(|context| requests.poll_ready(context)).await?;
    let request = Request::post(format!("http://{}/shapes.v1.Shapes/Query", edge.address));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    let (response, mut body) = requests.send_request(request.body(()).expect("a request"), false)?;
    let mut message = vec![0x0a];
    prost::encoding::encode_varint(ANSWER as u64, &mut message);
    message.resize(message.len() + ANSWER, b'a');
    let length = u32::try_from(message.len()).expect("a short one").to_be_bytes();
    body.send_data([&[0][..], &length, &message].concat().into(), true)?;
    response.await
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_are_closed_in_any_way_hold_what_one_client_may_have() {
    const ALL: u64 = 32 << 20;
    // A quarter, and an eighth more: answers to writes, and refusals.
    const MOST: u64 = ALL / 4 + ALL / 4 / 8;
    let mut besieged = Besieged::with(&["--max-buffered-bytes", &ALL.to_string()]).await;
    let admin = besieged.process.address("admin").await.expect("it listens");
    let edge = &besieged;
    // None for an answer, a part of it, and one that lets all through that the connection does.
    for window in [0, 4 << 10, 1 << 20] {
        let attack = join_all((0..8).map(|number| async move {
            let mut requests = connected(edge, [127, 0, 0, 5], window).await;
            if number % 2 == 0 {
                return (hold(edge, &mut requests).await.0, requests);
            }
            let mut held = Vec::new();
            for _ in 0..250 {
                held.extend(call(edge, &mut requests).await);
            }
            (held, requests)
        }));
        let held = attack.await;
        let metrics = reqwest::get(format!("http://{admin}/metrics")).await.expect("an answer");
        let metrics = metrics.text().await.expect("a body");
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("http_server_buffered_bytes{kind=\"response\"} "));
        let bytes: u64 = line.expect("it is counted").parse().expect("a number");
        eprintln!("windows of {window} bytes hold {} KiB", bytes / 1024);
        assert!(
            (ALL / 8..=MOST + 2 * ANSWER as u64).contains(&bytes),
            "windows of {window} hold {bytes} bytes"
        );
        let refused = "http_server_refused_requests_total{limit=\"--max-buffered-bytes\"} ";
        let refused = metrics.lines().find_map(|line| line.strip_prefix(refused)).expect("it is counted");
        assert_ne!(refused, "0", "what is refused is counted");
        drop(held);
    }
    besieged.leaves_unharmed(48 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_early_answers_are_not_waited_for() {
    let edge = Besieged::with(&[]).await;
    let head = "POST /nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 1073741824\r\n\r\n";
    let attack = join_all((0..500).map(|_| async {
        let mut stream = edge.connect().await;
        stream.write_all(head.as_bytes()).await.expect("the edge listens");
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.expect("an answer before the body");
        assert_eq!(&status, b"HTTP/1.1 404");
        // A byte now and then, as if the answer had not come.
        let dripping = async {
            while stream.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(Duration::from_secs(40), dripping).await.expect("the edge has enough of it");
    }));
    attack.await;
    edge.leaves_unharmed(32 * MIB).await;
}
