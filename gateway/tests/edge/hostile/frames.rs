//! Frames of HTTP/2 (RFC 9113, section 4.1) that cost their sender nothing, and were meant to cost the other side much.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{Besieged, MIB, NEVER};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET http://x/v1/shapes` in HPACK (RFC 7541): two indexed fields, two literals that are not kept.
fn get() -> Vec<u8> {
    let literal = |name: u8, value: &str| {
        let length = u8::try_from(value.len()).expect("a short value");
        [&[name, length][..], value.as_bytes()].concat()
    };
    [vec![0x82, 0x86], literal(0x04, "/v1/shapes"), literal(0x01, "x")].concat()
}

/// Sends the frames of an endless attack, until the edge ends it or a number of them is sent; whether the edge ended it.
async fn flood(edge: &Besieged, beginning: Vec<u8>, most: u32, attack: impl Fn(u32) -> Vec<u8>) -> bool {
    let (mut from, mut to) = edge.connect().await.into_split();
    let sending = async move {
        let mut outcome = to.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &beginning].concat()).await;
        for batch in 0..most / 100 {
            if outcome.is_err() {
                return;
            }
            let frames: Vec<u8> = (0..100).flat_map(|n| attack(100 * batch + n)).collect();
            outcome = to.write_all(&frames).await;
        }
    };
    // Answers are taken and thrown away, or the edge would have a reason to stop reading.
    let ended = async {
        let mut part = vec![0; 65_536];
        while !matches!(from.read(&mut part).await, Ok(0) | Err(_)) {}
    };
    tokio::join!(sending, timeout(Duration::from_secs(20), ended)).1.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_end_their_own_connection() {
    let edge = Besieged::with(&[]).await;
    let reset = |n: u32| {
        let stream = 2 * n + 1;
        let cancel = 8_u32.to_be_bytes();
        let headers = frame(HEADERS, END_STREAM | END_HEADERS, stream, &get());
        [headers, frame(RST_STREAM, 0, stream, &cancel)].concat()
    };
    let ended = join_all((0..8).map(|_| flood(&edge, Vec::new(), 100_000, reset))).await;
    assert!(ended.iter().all(|ended| *ended), "{ended:?}");
    edge.leaves_unharmed(32 * MIB).await;
}

/// A machine that is gone, or something in between that forwards nothing any more, keeps its connection open and answers no ping: one is sent
/// after 20 s, and has 10 s to be answered.
#[tokio::test(flavor = "multi_thread")]
async fn who_answers_no_ping_is_given_up() {
    let edge = Besieged::with(&["--idle-timeout", "300", "--header-timeout", "300"]).await;
    let began = Instant::now();
    let mut gone = edge.connect().await;
    let ask = frame(HEADERS, END_STREAM | END_HEADERS, 1, &get());
    gone.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &ask].concat()).await.expect("the edge reads");
    let mut said = Vec::new();
    let ended = timeout(Duration::from_secs(40), gone.read_to_end(&mut said)).await;
    let _closed_or_reset = ended.expect("a client that is gone keeps its connection");
    assert!(began.elapsed() >= Duration::from_secs(10), "given up after {:?}", began.elapsed());
    edge.leaves_unharmed(32 * MIB).await;
}

/// Each asks once and leaves at once, so that none is over a limit of its own: the edge cancels as many calls on its connection to the service,
/// which must not take the edge for an attacker. The others' writes, which are never repeated, would be lost with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_leave_at_once_end_no_call_of_others() {
    let edge = Besieged::with(&[]).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("http://{}/v1/shapes/a", edge.address);
    let ask = format!("GET /v1/shapes?text={NEVER} HTTP/1.1\r\nhost: x\r\n\r\n");
    for round in 0..20 {
        let leaving = join_all((0..500).map(|_| async {
            let mut stream = edge.connect().await;
            stream.write_all(ask.as_bytes()).await.expect("the edge listens");
        }));
        let writes = async {
            for _ in 0..5 {
                let written = client.post(&url).json(&serde_json::json!({})).send().await.expect("an answer");
                assert_eq!(written.status(), 200, "round {round}");
            }
        };
        tokio::join!(leaving, writes);
    }
    edge.leaves_unharmed(64 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_go_on_for_ever_end_their_own_connection() {
    let edge = Besieged::with(&[]).await;
    let headers = frame(HEADERS, END_STREAM, 1, &get());
    // A new field each time: `x: yyyy…`, never indexed.
    let field = [&[0x10, 1, b'x', 100][..], &[b'y'; 100]].concat();
    let attack = |_| frame(CONTINUATION, 0, 1, &field.repeat(100));
    let ended = join_all((0..8).map(|_| flood(&edge, headers.clone(), 20_000, attack))).await;
    assert!(ended.iter().all(|ended| *ended), "{ended:?}");
    edge.leaves_unharmed(32 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_settings_without_end_take_no_memory() {
    let edge = Besieged::with(&["--header-timeout", "4s"]).await;
    let attack = |n: u32| match n % 2 {
        0 => frame(PING, 0, 0, &[0; 8]),
        _ => frame(SETTINGS, 0, 0, &[]),
    };
    let ended = join_all((0..8).map(|_| flood(&edge, Vec::new(), 100_000, attack))).await;
    // A connection that never asks is ended like any other.
    assert!(ended.iter().all(|ended| *ended), "{ended:?}");
    edge.leaves_unharmed(32 * MIB).await;
}
