//! How long a call of Connect or gRPC-Web has for its message, how it ends when the edge does, and as what it is counted.

use std::{path::Path, time::Duration};

use ::world::{Api, Process, Program};
use anyhow::{Context as _, Result, ensure};
use axum::{Router, body::Body, extract::Request, routing};
use futures_util::{StreamExt as _, stream};
use gateway::Config;
use http::StatusCode;
use reqwest::Client;
use serde_json::{Value, json as value};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tonic::service::Routes;

use crate::{
    coding::{brotli, gzip},
    connect::{envelope, envelopes},
    connect_calls::{JSON, STREAM, config, post, service},
    upstream::{Upstream, echo},
    world::{World, json},
};

/// A body whose parts come one by one, with this pause before each.
fn dripped(body: impl AsRef<[u8]>, pause: Duration) -> Body {
    let bytes: Vec<_> = body.as_ref().iter().map(|byte| bytes::Bytes::from(vec![*byte])).collect();
    let parts = stream::iter(bytes).then(move |byte| async move {
        sleep(pause).await;
        Ok::<_, std::io::Error>(byte)
    });
    Body::from_stream(parts)
}

#[tokio::test]
async fn a_message_has_the_time_of_its_call_to_come() {
    const TIME: Duration = Duration::from_millis(400);
    let world = World::with(Config { request_timeout: TIME, ..config(&service().await) }).await;
    let whole = br#"{"text": "a"}"#;
    // Thirteen bytes in 1.3 s: within the time that their client gives them.
    let patient = [JSON, ("connect-timeout-ms", "30000")];
    let response = post(&world, "Write", &patient, dripped(whole, TIME / 4)).await;
    assert_eq!(json(response, StatusCode::OK).await, value!({"text": "a"}));
    let begun = Instant::now();
    let impatient = [JSON, ("connect-timeout-ms", "50")];
    let response = post(&world, "Write", &impatient, dripped(whole, TIME)).await;
    assert_eq!(json(response, StatusCode::GATEWAY_TIMEOUT).await["code"], "deadline_exceeded");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // The one message of a stream has that of a request where its client gives none.
    let slow = || dripped(envelope(0, whole), TIME);
    let watched = timeout(10 * TIME, post(&world, "Watch", &[STREAM], slow())).await.expect("in time");
    let found = envelopes(&watched.bytes().await.expect("a body"));
    assert!(String::from_utf8_lossy(&found[0].1).contains("deadline_exceeded"), "{found:?}");
    let web = [("content-type", "application/grpc-web+proto")];
    let watched = timeout(10 * TIME, post(&world, "Watch", &web, slow())).await.expect("in time");
    assert_eq!(watched.headers()["grpc-status"], "4");
}

#[tokio::test]
async fn a_call_whose_client_streams_ends_with_a_status_when_the_edge_stops() {
    let (begun, mut began) = mpsc::unbounded_channel();
    // A service that waits for the rest.
    let waits = move |request: Request| {
        let begun = begun.clone();
        async move {
            begun.send(()).expect("the test waits");
            std::future::pending::<()>().await;
            drop(request);
        }
    };
    let routes = Routes::from(Router::new().route("/calls.v1.Calls/Upload", routing::post(waits)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let upstream = Upstream::beside(routes, listener, async |call| echo(&call));
    let world = World::with(config(&upstream)).await;
    let [connect, web] = ["application/connect+proto", "application/grpc-web+proto"].map(|kind| {
        let message = stream::iter([Ok::<_, std::io::Error>(envelope(0, b""))]);
        let body = reqwest::Body::wrap_stream(message.chain(stream::pending()));
        let request = Client::new().post(format!("{}/calls.v1.Calls/Upload", world.url));
        tokio::spawn(request.header("content-type", kind).body(body).send())
    });
    for _ in 0..2 {
        began.recv().await.expect("both begin");
    }
    world.stop();
    let connect = connect.await.expect("no panic").expect("an answer");
    let found = envelopes(&connect.bytes().await.expect("a body"));
    let end: Value = serde_json::from_slice(&found[0].1).expect("JSON");
    assert_eq!((found[0].0, &end["error"]["code"]), (2, &value!("unavailable")), "{end}");
    let web = web.await.expect("no panic").expect("an answer");
    assert_eq!(web.headers()["grpc-status"], "14");
}

/// A gateway as a process in front of [`service`], with its operator.
struct Counting {
    process: Process,
    url: String,
    _upstream: Upstream,
    _folder: tempfile::TempDir,
}

impl Counting {
    async fn start() -> Result<Self> {
        let (upstream, folder) = (service().await, tempfile::tempdir()?);
        let set = folder.path().join("set.binpb");
        std::fs::write(&set, &config(&upstream).descriptor_set)?;
        let program = Program::at(Path::new(env!("CARGO_BIN_EXE_gateway")));
        let program =
            program.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--max-body-bytes", "1000"]);
        let set = set.display().to_string();
        let program = program.args(["--descriptor-set", &set, "--upstream", &upstream.url()]);
        let mut process = program.start()?;
        let url = format!("http://{}/calls.v1.Calls", process.address("http").await?);
        Ok(Self { process, url, _upstream: upstream, _folder: folder })
    }

    async fn post(
        &self,
        method: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let request = Client::new().post(format!("{}/{method}", self.url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Ok(request.body(body.into()).send().await?.bytes().await?.to_vec())
    }

    /// What its operator reads.
    async fn metrics(&mut self) -> Result<String> {
        let operator = Api::new(format!("http://{}", self.process.address("admin").await?))?;
        Ok(operator.get("/metrics").await?.text)
    }

    /// Each of these is counted once, as a call of this system and method, and none other of them.
    async fn counted(&mut self, system: &str, method: &str, codes: &[&str]) -> Result<()> {
        let metrics = self.metrics().await?;
        let name = "rpc_server_call_duration_seconds_count";
        let (system, method) =
            (format!("rpc_system_name=\"{system}\""), format!("rpc_method=\"calls.v1.Calls/{method}\""));
        let mut lines: Vec<&str> = metrics
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(&system) && line.contains(&method))
            .filter(|line| !line.ends_with(" 0"))
            .collect();
        for code in codes {
            let code = format!("rpc_response_status_code=\"{code}\"");
            let found = lines.iter().position(|line| line.contains(&code) && line.ends_with(" 1"));
            lines.remove(found.with_context(|| format!("{code}: {metrics}"))?);
        }
        ensure!(lines.is_empty(), "{lines:?}");
        Ok(())
    }
}

#[tokio::test]
async fn a_call_is_counted_with_the_status_that_it_got() -> Result<()> {
    let mut edge = Counting::start().await?;
    let large = "x".repeat(2_000);
    for (coding, body) in [
        ("identity", "{"),
        ("foo", "{}"),
        ("identity", &large),
        ("identity", r#"{"text": "fails"}"#),
        ("identity", "{}"),
    ] {
        edge.post("Write", &[JSON, ("content-encoding", coding)], body).await?;
    }
    let codes = ["INVALID_ARGUMENT", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED", "NOT_FOUND", "OK"];
    edge.counted("connectrpc", "Write", &codes).await
}

#[tokio::test]
async fn so_is_a_stream_that_the_edge_ends() -> Result<()> {
    let mut edge = Counting::start().await?;
    let (small, large) = (envelope(0, b"{}"), envelope(0, "x".repeat(2_000).as_bytes()));
    let broken = br#"{"text": "broken"}"#;
    // Before the service is called, and while it is.
    edge.post("Watch", &[STREAM], large.clone()).await?;
    edge.post("Upload", &[STREAM], [small, large].concat()).await?;
    edge.post("Watch", &[STREAM], envelope(0, broken)).await?;
    edge.counted("connectrpc", "Watch", &["RESOURCE_EXHAUSTED", "INTERNAL"]).await?;
    edge.counted("connectrpc", "Upload", &["RESOURCE_EXHAUSTED"]).await?;
    let web = [("content-type", "application/grpc-web+json")];
    edge.post("Watch", &web, envelope(0, broken)).await?;
    edge.counted("grpc", "Watch", &["INTERNAL"]).await
}

#[tokio::test]
async fn a_body_that_unpacks_to_too_much_is_counted_once() -> Result<()> {
    let mut edge = Counting::start().await?;
    let spaces = vec![b' '; 64 << 10];
    for (coding, bomb) in [("gzip", gzip(&spaces)), ("br", brotli(&spaces))] {
        ensure!(bomb.len() < 1_000, "{coding}: {} bytes", bomb.len());
        edge.post("Write", &[JSON, ("content-encoding", coding)], bomb).await?;
    }
    let metrics = edge.metrics().await?;
    let (name, limit) = ("http_server_refused_requests_total", "limit=\"--max-body-bytes\"");
    let refused = metrics.lines().find(|line| line.starts_with(name) && line.contains(limit));
    ensure!(refused.is_some_and(|line| line.ends_with(" 2")), "{refused:?}");
    Ok(())
}
