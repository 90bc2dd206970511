//! Many watchers on one gateway: what a read beside them takes, what memory each has, and whether every event arrives.

use std::{
    io::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    load::connect,
    process::Process,
    upstream::{self, BUSY, EVENTS, IDLE},
};

/// Watchers that receive nothing.
const SILENT: usize = 10_000;

/// What one process needs for all of them, and for what it has beside.
const OPEN_FILES: u64 = 12_000;

/// Watchers with ten events a second.
const LIVELY: usize = 1_000;

/// Rounds of reads; each goes once to the gateway with watchers and once to one without.
const ROUNDS: usize = 15;
const CLIENTS: usize = 4;
const READS: usize = 500;

/// Watchers of one connection of HTTP/2, as proxies have them.
const TOGETHER: usize = 100;

/// Connections that are opened at once: the others wait in no queue of the kernel.
const AT_ONCE: usize = 250;

/// Runs, and writes what was measured as lines of a table.
///
/// # Errors
/// A watcher that is refused or misses an event.
pub(crate) async fn run() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    ensure!(hard > OPEN_FILES, "{hard} open files are allowed: too few");
    let upstream = upstream::start(None).await?;
    let (with, without) = (Process::gateway(upstream, None).await?, Process::gateway(upstream, None).await?);
    // What is compiled, allocated and connected at first is not counted.
    for process in [&with, &without] {
        reads(process).await?;
    }
    let before = with.resident_bytes()?;
    let mut watchers = Vec::with_capacity(SILENT);
    while watchers.len() < SILENT {
        watchers.extend(try_join_all((0..AT_ONCE).map(|_| watcher(&with, IDLE))).await?);
    }
    let each = with.resident_bytes()?.saturating_sub(before) / SILENT as u64;
    let mut pairs = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        pairs.push((p99(reads(&with).await?), p99(reads(&without).await?)));
    }
    let median = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = pairs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (beside, alone, ratio) =
        (median(&|pair| pair.0), median(&|pair| pair.1), median(&|pair| pair.0 / pair.1));
    drop(watchers);
    let together = each_together(upstream).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "| {SILENT} idle watchers | |\n|---|---|")?;
    writeln!(
        out,
        "| memory of each at the edge, a connection of HTTP/1.1 each, KiB | {:.1} |",
        each as f64 / 1024.0
    )?;
    writeln!(
        out,
        "| the same, {TOGETHER} on a connection of HTTP/2, KiB | {:.1} |",
        together as f64 / 1024.0
    )?;
    writeln!(out, "| p99 of a GET beside them, ms | {beside:.2} |")?;
    writeln!(out, "| p99 of a GET without, ms | {alone:.2} |\n| ratio | {ratio:.2} |")?;
    drop(out);

    let begin = Instant::now();
    let counts = try_join_all((0..LIVELY).map(|_| events(&without))).await?;
    let (events, took) = (counts.iter().sum::<usize>(), begin.elapsed());
    ensure!(counts.iter().all(|count| *count == EVENTS), "a watcher has missed events");
    writeln!(
        std::io::stdout().lock(),
        "| {LIVELY} watchers at ten events a second | {events} events in {:.1} s, no gap |",
        took.as_secs_f64()
    )?;
    Ok(())
}

/// A watcher of this order, which has had its first event.
async fn watcher(process: &Process, order: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(process.address).await?;
    let request = format!("GET /gateway/orders/{order}:watch HTTP/1.1\r\nhost: bench\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !contains(&head, b"id: 1\n") {
        let mut part = [0; 1_024];
        let read = stream.read(&mut part).await?;
        ensure!(read > 0, "a watcher is refused: {}", String::from_utf8_lossy(&head));
        head.extend_from_slice(&part[..read]);
    }
    Ok(stream)
}

/// The memory of each of as many watchers that share connections of HTTP/2, in bytes.
async fn each_together(upstream: SocketAddr) -> Result<u64> {
    let process = Process::gateway(upstream, None).await?;
    reads(&process).await?;
    let before = process.resident_bytes()?;
    let mut connections = Vec::with_capacity(SILENT / TOGETHER);
    while connections.len() < SILENT / TOGETHER {
        connections.push(watchers_together(&process).await?);
    }
    Ok(process.resident_bytes()?.saturating_sub(before) / SILENT as u64)
}

/// Watchers on one connection, each of which has had its first event.
async fn watchers_together(process: &Process) -> Result<Vec<Incoming>> {
    let stream = TcpStream::connect(process.address).await?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let watchers = (0..TOGETHER).map(|_| async {
        let mut sender = sender.clone();
        sender.ready().await?;
        let uri = format!("http://bench/gateway/orders/{IDLE}:watch");
        let response = sender.send_request(Request::get(uri).body(Full::<Bytes>::default())?).await?;
        ensure!(response.status() == 200, "a watcher is refused: {}", response.status());
        let (mut body, mut head) = (response.into_body(), Vec::new());
        while !contains(&head, b"id: 1\n") {
            let frame = body.frame().await.context("a stream ends")??;
            head.extend(frame.into_data().unwrap_or_default());
        }
        Ok(body)
    });
    try_join_all(watchers).await
}

/// The number of events that a watcher gets until its stream ends, one after the other.
async fn events(process: &Process) -> Result<usize> {
    let mut sender = connect(process, None).await?;
    let path = format!("/gateway/orders/{BUSY}:watch");
    let request = Request::get(path).header("host", "bench").body(Full::default())?;
    let response = sender.send_request(request).await?;
    ensure!(response.status() == 200, "a watcher is refused: {}", response.status());
    let (mut body, mut text, mut last) = (response.into_body(), String::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame?.into_data() else { continue };
        text.push_str(std::str::from_utf8(&chunk).context("text")?);
        while let Some((line, rest)) = text.split_once('\n') {
            if let Some(id) = line.strip_prefix("id: ") {
                let id: usize = id.parse()?;
                // The end repeats the last.
                ensure!(id == last + 1 || id == last && last == EVENTS, "{id} comes after {last}");
                last = id;
            }
            text = rest.to_owned();
        }
    }
    Ok(last)
}

/// How long each of many reads takes, in milliseconds.
async fn reads(process: &Process) -> Result<Vec<f64>> {
    let clients = (0..CLIENTS).map(|_| async {
        let mut sender = connect(process, None).await?;
        let mut took = Vec::with_capacity(READS);
        for _ in 0..READS {
            let path = format!("/gateway/orders/{IDLE}");
            let request = Request::get(path).header("host", "bench").body(Full::default())?;
            let begin = Instant::now();
            sender.ready().await?;
            let response = sender.send_request(request).await?;
            ensure!(response.status() == 200, "{}", response.status());
            response.into_body().collect().await?;
            took.push(begin.elapsed());
        }
        anyhow::Ok(took)
    });
    let took: Vec<Duration> = try_join_all(clients).await?.concat();
    Ok(took.iter().map(|time| time.as_secs_f64() * 1e3).collect())
}

fn p99(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
