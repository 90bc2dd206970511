//! Wide messages: what is made of one takes its time. No request of another client waits for it, nor does its own client beyond the deadline, but for
//! the answer to a write.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use gateway::Config;
use http::StatusCode;
use reqwest::RequestBuilder;

use crate::{
    upstream::{Call, Reply, Upstream, echo},
    world::{World, json, reason, shapes},
};

const MEMBERS: usize = 100_000;

/// A Struct of so many members, in the field `object`.
fn wide_text() -> String {
    let mut text = String::from("{\"object\":{\"k\":0");
    for at in 0..MEMBERS {
        write!(text, ",\"k{at}\":{at}").expect("there is room");
    }
    text + "}}"
}

/// The same on the wire.
fn wide_wire() -> Vec<u8> {
    let value =
        |at: usize| prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(at.to_string())) };
    let fields: BTreeMap<String, _> = (0..MEMBERS).map(|at| (format!("k{at}"), value(at))).collect();
    let object = prost_types::Struct { fields };
    let mut wire = Vec::new();
    prost::encoding::message::encode(25, &object, &mut wire);
    wire
}

/// A text `wide` is answered with a wide message, a wide message with an empty one, and everything else is an echo.
async fn reply(call: Call, wide: Bytes) -> Reply {
    let one = |wire: Bytes| Ok(tonic::Response::new(stream::iter([Ok(wire)]).boxed()));
    match &call.wire[..] {
        b"\x0a\x04wide" => one(wide),
        wire if wire.len() > 1_000 => one(Bytes::new()),
        _ => echo(&call),
    }
}

async fn world() -> (World, Upstream) {
    let wide = Bytes::from(wide_wire());
    let upstream = Upstream::start(move |call| reply(call, wide.clone())).await;
    let world = World::with(Config { max_body_bytes: 8 << 20, ..shapes(&upstream.url()) }).await;
    (world, upstream)
}

/// A request with a wide message, or one whose answer is wide.
fn request(world: &World, way: &str) -> RequestBuilder {
    let (method, path) = way.split_once(' ').expect("a method and a path");
    let request = world.request(method, path);
    if method == "GET" {
        return request;
    }
    request.header("content-type", "application/json").body(wide_text())
}

const WAYS: [&str; 3] = ["POST /v1/shapes/a", "POST /shapes.v1.Shapes/Whole", "GET /v1/shapes?text=wide"];

/// How long a request takes while nothing else happens.
async fn time(world: &World, way: &str) -> Duration {
    let request = request(world, way);
    let begun = Instant::now();
    let response = request.send().await.expect("the edge answers");
    assert_eq!(response.status(), StatusCode::OK, "{way}");
    response.bytes().await.expect("a body");
    begun.elapsed()
}

/// Rounds until a time of the edge must have been within its bound: what the machine does beside it comes and goes, what the edge does comes in
/// each.
const ROUNDS: usize = 3;

/// What other requests had to wait beside one for a wide message.
#[derive(Debug)]
struct Beside {
    /// The request for the wide message, alone.
    took: Duration,
    slowest: Duration,
    count: usize,
}

impl Beside {
    async fn measure(world: &World, other: &reqwest::Client, way: &str) -> Self {
        let took = time(world, way).await;
        let request = request(world, way);
        let wide = tokio::spawn(async move { request.send().await?.bytes().await });
        let (mut slowest, mut count) = (Duration::ZERO, 0);
        while !wide.is_finished() {
            let begun = Instant::now();
            let answer = other.get(format!("{}/v1/shapes?text=now", world.url)).send().await;
            let answer = answer.expect("the edge answers");
            assert_eq!(answer.text().await.expect("a body"), r#"{"text":"now"}"#);
            slowest = slowest.max(begun.elapsed());
            count += 1;
        }
        wide.await.expect("no panic").expect("the edge answers");
        Self { took, slowest, count }
    }

    fn is_short(&self) -> bool {
        self.count > 3 && 2 * self.slowest < self.took
    }
}

#[tokio::test]
async fn no_other_client_waits_for_a_wide_message() {
    let (world, _upstream) = world().await;
    let other = reqwest::Client::new();
    for way in WAYS {
        let mut rounds: Vec<Beside> = Vec::new();
        while rounds.last().is_none_or(|round| !round.is_short()) {
            assert!(rounds.len() < ROUNDS, "{way}: {rounds:?}");
            rounds.push(Beside::measure(&world, &other, way).await);
        }
        eprintln!("{way}: {rounds:?}");
    }
}

/// How long a request takes alone, and until it is given up after a quarter of that.
async fn given_up(world: &World, upstream: &Upstream, way: &str) -> (Duration, Duration) {
    // The first one also connects.
    let took = time(world, way).await.min(time(world, way).await);
    let calls = upstream.calls().len();
    let request = request(world, way).header("x-request-timeout", format!("{}ms", (took / 4).as_millis()));
    let begun = Instant::now();
    let error = json(request.send().await.expect("an answer"), StatusCode::GATEWAY_TIMEOUT).await;
    let waited = begun.elapsed();
    assert_eq!(reason(&error), "DEADLINE_EXCEEDED", "{way}");
    if way.starts_with("POST") {
        assert_eq!(upstream.calls().len(), calls, "nobody is called for it");
    }
    (took, waited)
}

#[tokio::test]
async fn a_wide_message_is_not_waited_for_beyond_the_deadline() {
    let (world, upstream) = world().await;
    for way in ["POST /v1/shapes/a", "GET /v1/shapes?text=wide"] {
        let mut rounds: Vec<(Duration, Duration)> = Vec::new();
        while rounds.last().is_none_or(|(took, waited)| 4 * *waited >= 3 * *took) {
            assert!(
                rounds.len() < ROUNDS,
                "{way}: of so long, given up after a quarter and answered after: {rounds:?}"
            );
            rounds.push(given_up(&world, &upstream, way).await);
        }
    }
}

/// It has taken effect, and whoever repeats it for want of an answer does it twice.
#[tokio::test]
async fn the_answer_to_a_write_is_waited_for_beyond_the_deadline() {
    let (world, _upstream) = world().await;
    for (path, body, header, unit) in [
        ("/v1/shapes/wide", "{}", "x-request-timeout", "ms"),
        ("/shapes.v1.Shapes/Whole", r#"{"text":"wide"}"#, "connect-timeout-ms", ""),
    ] {
        let answered = async |timeout: Option<Duration>| {
            let request = world.request("POST", path).header("content-type", "application/json").body(body);
            let request = timeout.into_iter().fold(request, |request, timeout| {
                request.header(header, format!("{}{unit}", timeout.as_millis()))
            });
            let begun = Instant::now();
            let response = request.send().await.expect("the edge answers");
            let status = response.status();
            response.bytes().await.expect("a body");
            (status, begun.elapsed())
        };
        // The first one also connects.
        answered(None).await;
        let mut is_beyond = false;
        // Where the service itself is late it is a time-out by right: how much of the time is the edge's belongs to the machine and its moment.
        for eighths in [4, 5, 6, 7, 3, 4, 5, 6] {
            let (_, took) = answered(None).await;
            let patience = took * eighths / 8;
            let (status, took) = answered(Some(patience)).await;
            if status == StatusCode::OK && took > patience {
                is_beyond = true;
                break;
            }
        }
        assert!(is_beyond, "{path}: no answer came behind its deadline");
    }
}
