//! The operator's listener: is the process alive, is it ready, what does it measure; and the `healthcheck` command that asks.

use std::{
    fmt,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use axum::{Json, Router, extract::State, routing::get};
use futures_util::future::BoxFuture;
use http::{StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// A part of the process that can be not ready for work.
pub struct Part {
    name: &'static str,
    check: Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

impl Part {
    /// A part by the name that `/readyz` calls it, and the question whether it is ready; `Err` says why it is not.
    pub fn new<F>(name: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self { name, check: Box::new(move || Box::pin(check())) }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Serves `/livez` (200 as long as the process runs), `/readyz` (200 when every part is ready, 503 with the reasons
/// otherwise) and `/metrics` (the text format of Prometheus) until `stop`.
///
/// # Errors
/// When the listener fails, or something else in the process records its metrics.
pub async fn serve(listener: TcpListener, parts: Vec<Part>, stop: CancellationToken) -> anyhow::Result<()> {
    let recorder = metrics::recorder()?;
    let metrics_shown = recorder.clone();
    let text = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
    let app = Router::new()
        .route("/livez", get(async || "alive"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(move || std::future::ready((text, metrics_shown.render()))))
        .with_state(Arc::new(parts));
    let upkeep = async {
        loop {
            tokio::time::sleep(metrics::UPKEEP).await;
            recorder.run_upkeep();
        }
    };
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()) => {
            served.context("the admin listener failed")
        }
        () = upkeep => Ok(()),
    }
}

async fn readyz(State(parts): State<Arc<Vec<Part>>>) -> (StatusCode, Json<Value>) {
    let mut report = serde_json::Map::new();
    let mut ready = true;
    for part in parts.iter() {
        let word = match (part.check)().await {
            Ok(()) => "ready".to_owned(),
            Err(reason) => {
                ready = false;
                reason
            }
        };
        report.insert(part.name.to_owned(), Value::String(word));
    }
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": ready, "parts": report })))
}

/// Tells the user on standard output where the process listens, one line an address: the port 0 of a setting is the one taken. The
/// log has a line of it, too.
pub fn announce(listeners: &[(&str, SocketAddr)]) {
    let mut out = std::io::stdout().lock();
    for (name, address) in listeners {
        // A closed standard output is no reason to stop.
        let _unheard = writeln!(out, "listening {name}={address}");
        tracing::info!(listener = name, %address, "listening");
    }
    let _unheard = out.flush();
}

/// Asks the admin listener at `address` whether the process is ready: for a container's health check, which has no curl.
///
/// # Errors
/// When it is not, or does not answer within 2 s.
pub fn healthcheck(address: SocketAddr) -> anyhow::Result<()> {
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&reachable(address), patience)
        .context("the admin listener is not there")?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.split_whitespace().nth(1) != Some("200") {
        bail!("not ready: {}", answer.lines().last().unwrap_or_default());
    }
    Ok(())
}

/// A listener on every address is asked on the loopback one.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    async fn ask(outcome: Result<(), String>) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(
            listener,
            vec![Part::new("part", move || ready(outcome.clone()))],
            stop.clone(),
        ));
        let answer = tokio::task::spawn_blocking(move || healthcheck(address)).await?;
        stop.cancel();
        server.await??;
        answer
    }

    #[tokio::test]
    async fn healthcheck_tells_readiness() {
        ask(Ok(())).await.expect("every part is ready");
        let error = ask(Err("the broker is away".into())).await.expect_err("a part is not ready");
        assert!(error.to_string().contains("the broker is away"), "{error}");
    }

    #[tokio::test]
    async fn metrics_are_shown_as_text() -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, Vec::new(), stop.clone()));
        let answer = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer)
        });
        let answer = answer.await??;
        assert!(
            answer.starts_with("HTTP/1.0 200") && answer.contains("text/plain; version=0.0.4"),
            "{answer}"
        );
        stop.cancel();
        server.await?
    }
}
