//! The admin listener holds its bounds, and says why it refuses.

use std::{io::Read as _, net::TcpStream, time::Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// An admin listener whose bounds are small, and its stop.
async fn narrow(whole: Duration) -> anyhow::Result<(SocketAddr, CancellationToken)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, stop) = (listener.local_addr()?, CancellationToken::new());
    let head = Duration::from_millis(500);
    let bounds = Bounds { connections: 4, head, whole, head_bytes: 8 << 10 };
    tokio::spawn(serve_within(
        bounds,
        listener,
        ServerTls::default(),
        (Vec::new(), Router::new(), Hosts::default()),
        stop.clone(),
    ));
    Ok((address, stop))
}

/// What comes of these bytes until the connection is closed, and after how long.
async fn sent(address: SocketAddr, bytes: &[u8]) -> anyhow::Result<(String, Duration)> {
    let (began, mut stream) = (Instant::now(), tokio::net::TcpStream::connect(address).await?);
    stream.write_all(bytes).await?;
    let mut answer = Vec::new();
    let _closed_or_reset = stream.read_to_end(&mut answer).await;
    Ok((String::from_utf8_lossy(&answer).into_owned(), began.elapsed()))
}

/// More than anything here takes that does not wait for it.
const LONG: Duration = Duration::from_secs(60);

const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn who_sends_no_request_keeps_no_place() -> anyhow::Result<()> {
    let (address, _stop) = narrow(LONG).await?;
    // As many as may be, and as many again, that never end their heads.
    let slow = (0..8).map(|_| sent(address, b"GET /livez HTTP/1.1\r\nx: "));
    let (slow, (answer, took)) = tokio::join!(join_all(slow), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        sent(address, LIVEZ).await.expect("it is answered")
    });
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("alive"), "{answer}");
    assert!(took > Duration::from_millis(300), "it waited for a permit: {took:?}");
    for outcome in slow {
        let (_, took) = outcome?;
        assert!(took < Duration::from_secs(10), "cut after {took:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_refused_with_a_reason() -> anyhow::Result<()> {
    let (address, _stop) = narrow(LONG).await?;
    for (line, status, reason) in
        [("GET /nope", 404, "ROUTE_NOT_FOUND"), ("POST /livez", 405, "METHOD_NOT_ALLOWED")]
    {
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\n\r\n");
        let (answer, _) = sent(address, request.as_bytes()).await?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(reason), "{answer}");
        assert_eq!(answer.contains("allow: GET"), status == 405, "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn heads_and_bodies_are_bounded() -> anyhow::Result<()> {
    let (address, _stop) = narrow(LONG).await?;
    let long = [b"GET /livez HTTP/1.1\r\nx: ", "y".repeat(20_000).as_bytes(), b"\r\n\r\n"].concat();
    let (answer, _) = sent(address, &long).await?;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    // A body is announced, and never comes: nobody waits for it.
    let body = b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n";
    let (answer, took) = sent(address, body).await?;
    assert!(answer.starts_with("HTTP/1.1 200 ") && took < Duration::from_secs(10), "{took:?}: {answer}");
    Ok(())
}

#[tokio::test]
async fn who_takes_no_answer_is_cut() -> anyhow::Result<()> {
    let (address, _stop) = narrow(Duration::from_secs(5)).await?;
    // What is counted before there is a recorder is lost.
    metrics::recorder()?;
    // More than fits into what the system keeps for a connection.
    let long = "x".repeat(10_000);
    for number in 0..800 {
        ::metrics::counter!("large", "number" => format!("{number}{long}")).increment(1);
    }
    let mut silent = Vec::new();
    for _ in 0..4 {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4 << 10)?;
        let mut stream = socket.connect(address).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        silent.push(stream);
    }
    // Each has its answer before it, and so its place.
    for stream in &silent {
        stream.readable().await?;
    }
    let (answer, took) = sent(address, LIVEZ).await?;
    assert!(answer.starts_with("HTTP/1.1 200 ") && took < Duration::from_secs(10), "{took:?}: {answer}");
    assert!(took > Duration::from_millis(500), "it waited for a place: {took:?}");
    Ok(())
}

#[tokio::test]
async fn metrics_are_shown_as_text() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(
        listener,
        ServerTls::default(),
        Hosts::default(),
        Vec::new(),
        Router::new(),
        stop.clone(),
    ));
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    });
    let answer = answer.await??;
    assert!(answer.starts_with("HTTP/1.0 200") && answer.contains("text/plain; version=0.0.4"), "{answer}");
    stop.cancel();
    server.await?
}
