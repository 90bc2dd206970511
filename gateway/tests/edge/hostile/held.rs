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
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::from(from), 0).into()).expect("an address");
    let stream = socket.connect(edge.address).await.expect("the edge listens");
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
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
