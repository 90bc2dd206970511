//! Several endpoints of one service: turns, repetitions, the death of one, and names whose addresses change.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::future::join_all;
use gateway::{Config, Resolver};
use http::StatusCode;
use reqwest::Response;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    time::{sleep, timeout},
};
use tonic::Status;

use crate::{
    upstream::{Upstream, echo},
    world::{World, json, reason, shapes},
};

const READ: &str = "/v1/shapes?text=a";

/// Reads in a round of the kill.
const ROUND: usize = 400;

/// A service with threads of its own: it can be killed, and then every connection breaks.
struct Process {
    upstream: Upstream,
    runtime: Option<Runtime>,
}

impl Process {
    async fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let upstream = runtime.spawn(Upstream::start(async |call| {
            // Long enough for calls to be under way at any moment.
            sleep(Duration::from_millis(3)).await;
            echo(&call)
        }));
        Self { upstream: upstream.await.expect("no panic"), runtime: Some(runtime) }
    }

    /// It keeps its connections, and says nothing any more; until the test lets go.
    fn freeze(&self) -> mpsc::Sender<()> {
        let (end, ended) = mpsc::channel();
        let runtime = self.runtime.as_ref().expect("it lives");
        // Its only thread.
        runtime.spawn(async move { ended.recv() });
        end
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Names that a test decides.
#[derive(Debug, Default)]
struct Names(Mutex<Vec<SocketAddr>>);

impl Names {
    fn are(&self, addresses: &[SocketAddr]) {
        *self.0.lock().expect("no panic") = addresses.to_vec();
    }
}

#[async_trait]
impl Resolver for Names {
    async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!((host, port), ("shapes.test", 5001));
        match self.0.lock().expect("no panic").clone() {
            none if none.is_empty() => Err(io::ErrorKind::NotFound.into()),
            addresses => Ok(addresses),
        }
    }
}

/// An edge whose service has a name.
async fn named(names: &Arc<Names>) -> World {
    let resolver: Arc<dyn Resolver> = names.clone();
    World::with(Config { resolver, ..shapes("http://shapes.test:5001") }).await
}

async fn echoing() -> Upstream {
    Upstream::start(async |call| echo(&call)).await
}

/// Asks until it is so.
async fn until(world: &World, so: impl Fn(StatusCode) -> bool) {
    let ask = async { while !so(world.get(READ).await.status()) {} };
    tokio::time::timeout(Duration::from_secs(30), ask).await.expect("it becomes so");
}

#[tokio::test]
async fn every_endpoint_is_called() {
    let (a, b) = (echoing().await, echoing().await);
    let world = World::with(shapes(&format!("{}, {}", a.url(), b.url()))).await;
    until(&world, |_| !a.calls().is_empty() && !b.calls().is_empty()).await;
    let before = a.calls().len();
    for _ in 0..20 {
        json(world.get(READ).await, StatusCode::OK).await;
    }
    assert_eq!(a.calls().len() - before, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_endpoint_fails_no_read() {
    let (mut dies, lives) = (Process::start().await, Process::start().await);
    let world = World::with(shapes(&format!("{},{}", dies.upstream.url(), lives.upstream.url()))).await;
    until(&world, |_| !dies.upstream.calls().is_empty() && !lives.upstream.calls().is_empty()).await;
    // Two rounds of reads, and the kill between them.
    let answers = AtomicUsize::new(0);
    let client = async || {
        let mut times = Vec::new();
        while answers.load(Relaxed) < 2 * ROUND {
            let asked = Instant::now();
            json(world.get(READ).await, StatusCode::OK).await;
            answers.fetch_add(1, Relaxed);
            times.push((asked, asked.elapsed()));
        }
        times
    };
    let killer = async {
        while answers.load(Relaxed) < ROUND {
            sleep(Duration::from_millis(1)).await;
        }
        dies.kill();
        Instant::now()
    };
    let (times, killed) = tokio::join!(join_all((0..32).map(|_| client())), killer);
    // What was under way at the kill counts as after it.
    let (before, after): (Vec<_>, Vec<_>) =
        times.concat().into_iter().partition(|(asked, time)| *asked + *time < killed);
    let p99 = |reads: &[(Instant, Duration)]| {
        let mut times: Vec<_> = reads.iter().map(|(_, time)| *time).collect();
        times.sort_unstable();
        times[times.len() * 99 / 100]
    };
    eprintln!(
        "p99 of {} reads before the kill: {:?}; of {} after it: {:?}",
        before.len(),
        p99(&before),
        after.len(),
        p99(&after)
    );
    // A read that waited for the dead one would have taken a deadline.
    assert!(p99(&after) < Duration::from_secs(10), "{:?}", p99(&after));
    assert!(dies.upstream.calls().len() > ROUND / 4, "it was killed under load");
}

#[tokio::test]
async fn an_endpoint_that_hangs_fails_no_read_and_stays_out_until_it_answers() {
    let (hangs, lives) = (Process::start().await, Process::start().await);
    let world = World::with(shapes(&format!("{},{}", hangs.upstream.url(), lives.upstream.url()))).await;
    until(&world, |_| !hangs.upstream.calls().is_empty() && !lives.upstream.calls().is_empty()).await;
    let frozen = hangs.freeze();
    let answers = join_all((0..10).map(|_| world.get(READ))).await;
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::OK));
    // Longer than the first pauses: it takes connections, but it is not called.
    for _ in 0..10 {
        let asked = Instant::now();
        json(world.get(READ).await, StatusCode::OK).await;
        assert!(asked.elapsed() < Duration::from_secs(4), "it waited for a ping");
        sleep(Duration::from_millis(100)).await;
    }
    drop(frozen);
    let before = hangs.upstream.calls().len();
    until(&world, |_| hangs.upstream.calls().len() > before + 10).await;
}

#[tokio::test]
async fn an_endpoint_that_takes_calls_and_answers_none_is_left_out() {
    // Its connection lives, and answers pings; its handlers do nothing.
    let stuck = Upstream::start(async |_| std::future::pending().await).await;
    let lives = echoing().await;
    let world = World::with(shapes(&format!("{},{}", stuck.url(), lives.url()))).await;
    let calls = async || {
        let asked = Instant::now();
        let response = world.send("POST", "/v1/shapes/a", "{}").await;
        (response.status() == StatusCode::OK, asked.elapsed())
    };
    let first = join_all((0..20).map(|_| calls())).await;
    assert!(!stuck.calls().is_empty(), "{first:?}");
    // Of what comes later, a call now and then finds out whether it answers again.
    let mut slow = 0;
    for _ in 0..40 {
        let (answered, time) = calls().await;
        slow += usize::from(!answered || time > Duration::from_secs(5));
    }
    assert!(slow <= 2, "{slow} of 40 calls waited for the endpoint that answers none");
}

/// A call by its name is one as well: whoever makes none of another kind is no worse off.
#[tokio::test]
async fn an_endpoint_that_answers_no_call_by_its_name_is_left_out() {
    let of = async |kind: &'static str, message: &'static [u8]| {
        let stuck = Upstream::start(async |_| std::future::pending().await).await;
        let lives = echoing().await;
        let request_timeout = Duration::from_secs(5);
        let config = shapes(&format!("{},{}", stuck.url(), lives.url()));
        let world = World::with(Config { request_timeout, ..config }).await;
        let call = async || {
            let asked = Instant::now();
            let request = world.request("POST", "/shapes.v1.Shapes/Query").header("content-type", kind);
            let response = request.body(message).send().await.expect("the edge answers");
            let failed = response.headers().contains_key("grpc-status");
            (response.status() == StatusCode::OK && !failed, asked.elapsed())
        };
        let first = join_all((0..20).map(|_| call())).await;
        assert!(!stuck.calls().is_empty(), "{kind}: {first:?}");
        let mut slow = 0;
        for _ in 0..40 {
            let (answered, time) = call().await;
            slow += usize::from(!answered || time > Duration::from_secs(4));
        }
        assert!(slow <= 2, "{kind}: {slow} of 40 calls waited for the endpoint that answers none");
    };
    tokio::join!(
        of("application/grpc-web+proto", &b"\0\0\0\0\x03\x0a\x01a"[..]),
        of("application/proto", &b"\x0a\x01a"[..]),
    );
}

/// Asks, gives up after a while, and returns when the edge has noticed.
async fn give_up(world: &World) {
    let address = world.url.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).await.expect("the edge listens");
    let request = format!("GET {READ} HTTP/1.1\r\nhost: edge\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the edge reads");
    let answer = timeout(Duration::from_millis(500), stream.read_u8()).await;
    assert!(answer.is_err(), "there is nobody who could answer");
    stream.shutdown().await.expect("open");
    assert!(stream.read_u8().await.is_err(), "the edge closes the connection");
}

#[tokio::test]
async fn clients_that_leave_a_service_that_stands_still_end_no_call_of_others() {
    let process = Process::start().await;
    let world = World::of_shapes(&process.upstream).await;
    json(world.get(READ).await, StatusCode::OK).await;
    for _ in 0..2 {
        let frozen = process.freeze();
        let others = join_all((0..5).map(|_| world.send("POST", "/v1/shapes/a", "{}")));
        // More than a service lets anybody begin and reset before it has looked.
        let leaving = join_all((0..100).map(|_| give_up(&world)));
        let (others, ()) = tokio::join!(others, async {
            leaving.await;
            drop(frozen);
        });
        let answered: Vec<StatusCode> = others.iter().map(Response::status).collect();
        assert_eq!(answered, [StatusCode::OK; 5]);
    }
}

#[tokio::test]
async fn a_repetition_goes_to_another_endpoint() {
    let away = Upstream::start(async |_| Err(Status::unavailable("away"))).await;
    let there = echoing().await;
    let world = World::with(shapes(&format!("{},{}", away.url(), there.url()))).await;
    // Every call of a batch that meets the endpoint that is away moves the turn: it must not lead there again.
    for _ in 0..4 {
        let answers = join_all((0..10).map(|_| world.get(READ))).await;
        assert!(answers.iter().all(|answer| answer.status() == StatusCode::OK));
    }
    let mut asked = BTreeMap::new();
    for call in away.calls() {
        *asked
            .entry(
                call.metadata.get("x-request-id").expect("an id").clone().to_str().expect("text").to_owned(),
            )
            .or_insert(0) += 1;
    }
    assert!(!asked.is_empty() && asked.values().all(|times| *times == 1), "{asked:?}");
}

#[tokio::test]
async fn a_service_that_is_away_for_long_is_left_alone_until_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    drop(listener);
    let world = World::with(shapes(&format!("http://{address}"))).await;
    let message =
        |error: &serde_json::Value| error["error"]["message"].as_str().unwrap_or_default().to_owned();
    let mut messages = Vec::new();
    for _ in 0..4 {
        let response = world.get(READ).await;
        assert_eq!(response.headers()["retry-after"], "1");
        let error = json(response, StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(reason(&error), "UPSTREAM_UNAVAILABLE");
        messages.push(message(&error));
    }
    assert_eq!(messages[0], "the service behind the edge cannot be reached");
    assert_eq!(messages[3], "no endpoint of the service takes calls");
    let listener = TcpListener::bind(address).await.expect("the port is still free");
    let _upstream = Upstream::start_on(listener, async |call| echo(&call));
    until(&world, |status| status == StatusCode::OK).await;
}

#[tokio::test]
async fn a_name_stands_for_all_its_addresses() {
    let (a, b) = (echoing().await, echoing().await);
    let names = Arc::new(Names::default());
    names.are(&[a.address, b.address]);
    let world = named(&names).await;
    until(&world, |_| !a.calls().is_empty() && !b.calls().is_empty()).await;
}

#[tokio::test]
async fn the_addresses_of_a_name_change() {
    let (a, b) = (echoing().await, echoing().await);
    let names = Arc::new(Names::default());
    names.are(&[a.address]);
    let world = named(&names).await;
    json(world.get(READ).await, StatusCode::OK).await;
    names.are(&[b.address]);
    for _ in 0..2 {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(5)).await;
        tokio::time::resume();
        // Whoever woke up waits for something else.
        json(world.get(READ).await, StatusCode::OK).await;
    }
    until(&world, |_| !b.calls().is_empty()).await;
    let before = a.calls().len();
    for _ in 0..4 {
        json(world.get(READ).await, StatusCode::OK).await;
    }
    assert_eq!(a.calls().len(), before);
}

#[tokio::test]
async fn a_service_that_moved_is_found_after_a_failure() {
    let (mut a, b) = (Process::start().await, echoing().await);
    let names = Arc::new(Names::default());
    names.are(&[a.upstream.address]);
    let world = named(&names).await;
    json(world.get(READ).await, StatusCode::OK).await;
    names.are(&[b.address]);
    a.kill();
    let begin = Instant::now();
    until(&world, |status| status == StatusCode::OK).await;
    assert!(begin.elapsed() < Duration::from_secs(3), "the next regular look finds it only later");
    assert!(!b.calls().is_empty());
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_a_service_that_is_away() {
    let names = Arc::new(Names::default());
    let world = named(&names).await;
    assert_eq!(
        reason(&json(world.get(READ).await, StatusCode::SERVICE_UNAVAILABLE).await),
        "UPSTREAM_UNAVAILABLE"
    );
    let upstream = echoing().await;
    names.are(&[upstream.address]);
    until(&world, |status| status == StatusCode::OK).await;
}
