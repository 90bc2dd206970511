//! Requests that are too much of something: bytes, parameters, depth.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Besieged, MIB};

const JSON: &str = "host: x\r\ncontent-type: application/json\r\nconnection: close\r\n";

/// What a request may cost that cannot be right, also in a build without optimization.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_a_gibibyte_is_refused_and_not_kept() {
    let edge = Besieged::with(&[]).await;
    let announced = format!("POST /v1/shapes/a HTTP/1.1\r\n{JSON}content-length: 1073741824\r\n\r\n");
    let chunked = format!("POST /v1/shapes/a HTTP/1.1\r\n{JSON}transfer-encoding: chunked\r\n\r\n");
    let sent = AtomicU64::new(0);
    let attack = join_all([announced.clone(), chunked.clone(), announced, chunked].map(|head| async {
        let mut piece = vec![b' '; 65_536];
        if head.contains("chunked") {
            piece = [b"10000\r\n".to_vec(), piece, b"\r\n".to_vec()].concat();
        }
        let (mut from, mut to) = edge.connect().await.into_split();
        let sent = &sent;
        let sending = async move {
            let mut outcome = to.write_all(head.as_bytes()).await;
            for _ in 0..16_384 {
                if outcome.is_err() {
                    return;
                }
                sent.fetch_add(65_536, Relaxed);
                outcome = to.write_all(&piece).await;
            }
            panic!("a whole gibibyte was taken");
        };
        let mut answer = Vec::new();
        let reading = async { from.read_to_end(&mut answer).await.map(drop) };
        let ((), _closed_or_reset) = tokio::join!(sending, reading);
        String::from_utf8_lossy(&answer).into_owned()
    }));
    let answers = attack.await;
    // Who sends on and on may see a reset in the place of the answer; but never another answer.
    assert!(
        answers.iter().all(|answer| answer.is_empty() || answer.starts_with("HTTP/1.1 413 ")),
        "{answers:?}"
    );
    let sent = sent.into_inner();
    assert!(sent < 128 * MIB, "{sent} bytes were taken");
    edge.leaves_unharmed(24 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_parameters_are_refused() {
    let edge = Besieged::with(&[]).await;
    let get = |query: &str| format!("GET /v1/shapes?{query} HTTP/1.1\r\n{JSON}\r\n");
    for (parameter, many, refusals) in [
        ("numbers=1&", 100_000, ["HTTP/1.1 414 ", "HTTP/1.1 431 "]),
        ("a&", 32_000, ["HTTP/1.1 400 ", "HTTP/1.1 414 "]),
        ("words=&u32=1&", 4_500, ["HTTP/1.1 400 ", "HTTP/1.1 414 "]),
    ] {
        let begin = Instant::now();
        let answer = edge.ask(get(&parameter.repeat(many))).await;
        assert!(refusals.iter().any(|status| answer.starts_with(status)), "{parameter}: {answer}");
        assert!(begin.elapsed() < SOON, "{parameter}: {:?}", begin.elapsed());
    }
    let names_it = edge.ask(get(&"numbers=1&".repeat(1_001))).await;
    assert!(names_it.contains("has more than 1000 parameters"), "{names_it}");
    let most = edge.ask(get(&"numbers=1&".repeat(999))).await;
    assert!(most.starts_with("HTTP/1.1 200 "), "{most}");
    edge.leaves_unharmed(16 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nests_ten_thousand_deep_is_refused() {
    let edge = Besieged::with(&[]).await;
    let post = |body: String| {
        format!("POST /v1/shapes/a HTTP/1.1\r\n{JSON}content-length: {}\r\n\r\n{body}", body.len())
    };
    let arrays = format!(r#"{{"anything":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let objects = format!(
        r#"{}{{}}{}"#,
        r#"{"nested":"#.to_owned() + &r#"{"deeper":"#.repeat(9_999),
        "}".repeat(10_000)
    );
    let unknown = format!(r#"{{"nope":{}1{}}}"#, r#"{"x":"#.repeat(10_000), "}".repeat(10_000));
    let open = r#"{"object":"#.repeat(10_000);
    let steps = format!("GET /v1/shapes?nested{}.text=x HTTP/1.1\r\n{JSON}\r\n", ".deeper".repeat(9_000));
    let path = format!("GET /v1/{} HTTP/1.1\r\n{JSON}\r\n", "a/".repeat(10_000));
    let attack = [post(arrays), post(objects), post(unknown), post(open), steps, path];
    for request in &attack {
        let answers = join_all((0..20).map(|_| edge.ask(request))).await;
        for answer in answers {
            let refused = answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 404 ");
            assert!(refused, "{:.80}: {answer}", request);
        }
    }
    edge.leaves_unharmed(32 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_ids_harm_nobody() {
    let edge = Besieged::with(&[]).await;
    let mut stream = edge.connect().await;
    stream.write_all(b"GET /v1/shapes:watch HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it listens");
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.expect("a stream");
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    for _ in 0..20 {
        let attack = join_all([7_000, 18_000, 60_000].into_iter().cycle().take(60).map(|length| {
            let id = "x".repeat(length);
            edge.ask(format!("GET /v1/numbers/{id} HTTP/1.1\r\n{JSON}\r\n"))
        }));
        for answer in attack.await {
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.len() < 8_192, "{} bytes", answer.len());
        }
    }
    let ended = tokio::time::timeout(Duration::from_millis(100), stream.read_exact(&mut [0; 4_096])).await;
    assert!(ended.is_err(), "the stream of another goes on");
    edge.leaves_unharmed(32 * MIB).await;
}
