//! Answers that come before the body of their request has: the client gets them, and its connection lives.

use std::{num::NonZeroU32, time::Duration};

use http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use world::Issuer;

use crate::{
    identity::verifier,
    upstream::{Upstream, echo},
    world::{World, shapes},
};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.url.trim_start_matches("http://")).await.expect("the edge listens")
}

/// Reads the head of an answer and as much of a body as it announces.
pub(crate) async fn answer(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() >= length.parse::<usize>().expect("a number") {
                return text;
            }
        }
        let mut part = [0; 4_096];
        let count = timeout(PATIENCE, stream.read(&mut part)).await.expect("an answer").expect("no reset");
        assert!(count > 0, "the edge closed the connection after {text}");
        read.extend_from_slice(&part[..count]);
    }
}

#[tokio::test]
async fn a_body_that_comes_after_its_answer_costs_neither_answer_nor_connection() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::with(gateway::Config { max_body_bytes: 20_000, ..shapes(&upstream.url()) }).await;
    for (line, status) in [
        ("POST /nope HTTP/1.1", "404"),
        ("DELETE /v1/shapes/a HTTP/1.1", "405"),
        ("POST /v1/shapes/a HTTP/1.1\r\ncontent-type: text/plain", "415"),
        ("POST /ordermesh.x/Y HTTP/1.1\r\ncontent-type: application/grpc", "415"),
        ("POST /openapi.json HTTP/1.1", "405"),
    ] {
        answers_early(&world, line, status, &["200"]).await;
    }
    // Who is refused whatever it asks for.
    let line = "POST /v1/shapes/a HTTP/1.1";
    let issuer = Issuer::start().await.expect("an issuer");
    let verified = gateway::Config { issuer: Some(verifier(&issuer)), ..shapes(&upstream.url()) };
    answers_early(&World::with(verified).await, line, "401", &["401"]).await;
    let limited = gateway::Config { rate_limit: NonZeroU32::new(1), ..shapes(&upstream.url()) };
    let limited = World::with(limited).await;
    while limited.get("/v1/shapes?text=a").await.status() != StatusCode::TOO_MANY_REQUESTS {}
    answers_early(&limited, line, "429", &["200", "429"]).await;
}

/// The answer to a request comes before its body, and the one to the next request after it.
async fn answers_early(world: &World, line: &str, status: &str, next: &[&str]) {
    for (framing, before, after, end) in [
        ("content-length: 50000", "", "", ""),
        ("transfer-encoding: chunked", "3e8\r\n", "\r\n", "0\r\n\r\n"),
    ] {
        let mut stream = connect(world).await;
        let head = format!("{line}\r\nhost: x\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("the edge listens");
        // The answer is there before anything of the body is.
        let early = answer(&mut stream).await;
        assert!(early.starts_with(&format!("http/1.1 {status}")), "{line} {framing}: {early}");
        let part = format!("{before}{}{after}", "x".repeat(1_000));
        for _ in 0..50 {
            stream.write_all(part.as_bytes()).await.expect("the edge reads on");
        }
        let then = format!("{end}GET /v1/shapes?text=a HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(then.as_bytes()).await.expect("the edge reads on");
        let then = answer(&mut stream).await;
        let is_next = next.iter().any(|status| then.starts_with(&format!("http/1.1 {status}")));
        assert!(is_next, "{line} {framing}: {then}");
    }
}

#[tokio::test]
async fn what_is_read_after_an_answer_is_bounded() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let mut stream = connect(&world).await;
    stream
        .write_all(b"POST /nope HTTP/1.1\r\nhost: x\r\ncontent-length: 1073741824\r\n\r\n")
        .await
        .expect("it listens");
    answer(&mut stream).await;
    let mut sent = 0_usize;
    while sent < 1 << 30 && stream.write_all(&[b'x'; 65_536]).await.is_ok() {
        sent += 65_536;
    }
    assert!(sent < 64 << 20, "{sent} bytes were read");
    // A body that does not come is not waited for.
    let mut stream = connect(&world).await;
    stream
        .write_all(b"POST /nope HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n")
        .await
        .expect("it listens");
    answer(&mut stream).await;
    let closed = timeout(Duration::from_secs(40), stream.read(&mut [0])).await.expect("it is closed");
    assert!(matches!(closed, Ok(0) | Err(_)));
}
