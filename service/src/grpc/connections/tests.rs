//! Connections that say nothing, or too little, keep out nobody who does.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use chassis::tls::{Acceptor, Protocols, ServerTls};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use super::{Bounds, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, serve_within};

/// The preface and empty settings (RFC 9113, section 3.4).
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// How long a connection may take to begin, and how long the tests wait for what takes that long.
const PATIENCE: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(5);
/// A frame of HTTP/2 (RFC 9113, sections 4.1 and 6.7): its type, and the flag of an answer.
const PING: u8 = 6;
const ACK: u8 = 1;

const BOUNDS: Bounds = Bounds { begun: 4, silent: 8, patience: PATIENCE };

/// Serves until the test ends.
async fn listen() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let acceptor = Acceptor::new(ServerTls::default(), "test", Protocols::Grpc, PATIENCE);
    let routes =
        service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())));
    tokio::spawn(serve_within(BOUNDS, listener, acceptor, Arc::new(()), routes, CancellationToken::new()));
    address
}

async fn connect(address: SocketAddr, beginning: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(beginning).await.expect("it reads");
    stream
}

/// Whether the server says something, which its settings are first; otherwise it has closed the connection.
async fn is_served(stream: &mut TcpStream) -> bool {
    let read = timeout(LONG, stream.read(&mut [0; 64])).await.expect("neither served nor closed");
    read.is_ok_and(|read| read > 0)
}

#[tokio::test]
async fn who_says_nothing_keeps_out_nobody() {
    let address = listen().await;
    let mut silent = Vec::new();
    for at in 0..50 {
        silent.push(connect(address, &BEGINNING[..at % 24]).await);
    }
    let began = tokio::time::Instant::now();
    assert!(is_served(&mut connect(address, BEGINNING).await).await, "a client is kept out");
    assert!(began.elapsed() < PATIENCE / 2, "it has waited {:?} for the others", began.elapsed());
    for mut stream in silent {
        assert!(!is_served(&mut stream).await, "a client that has not begun is kept");
    }
}

#[tokio::test]
async fn there_are_so_many_connections_and_no_more() {
    let address = listen().await;
    let mut open = Vec::new();
    for _ in 0..BOUNDS.begun {
        open.push(connect(address, BEGINNING).await);
        assert!(is_served(open.last_mut().expect("one")).await);
    }
    let mut waits = connect(address, BEGINNING).await;
    assert!(!is_served(&mut waits).await, "there is one connection too many");
    let mut next = connect(address, BEGINNING).await;
    open.pop();
    assert!(is_served(&mut next).await, "the place of one that has gone is not given to the next");
}

/// Answers every ping until the server ends the connection.
async fn answer_pings(mut stream: TcpStream) {
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("a frame")];
        stream.read_exact(&mut payload).await.expect("a whole frame");
        if head[3] == PING && head[4] & ACK == 0 {
            head[4] = ACK;
            stream.write_all(&[&head[..], &payload].concat()).await.expect("it reads");
        }
    }
}

/// A machine that is gone, or something in between that forwards nothing any more, keeps its connection open and answers no ping.
#[tokio::test]
async fn who_answers_no_ping_is_given_up() {
    let address = listen().await;
    let began = tokio::time::Instant::now();
    let mut gone = connect(address, BEGINNING).await;
    let there = tokio::spawn(answer_pings(connect(address, BEGINNING).await));
    let mut said = Vec::new();
    let ended = timeout(KEEPALIVE_INTERVAL + KEEPALIVE_TIMEOUT + LONG, gone.read_to_end(&mut said)).await;
    let _closed_or_reset = ended.expect("a client that is gone keeps its connection");
    assert!(began.elapsed() >= KEEPALIVE_TIMEOUT, "given up after {:?}", began.elapsed());
    assert!(!there.is_finished(), "a client that answers is given up");
}
