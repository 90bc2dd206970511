//! The operator's listener: is the process alive, is it ready, what does it measure, and what else it answers there.

mod healthcheck;

use std::{io::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::future::join_all;
use http::{StatusCode, Uri, header};
use hyper::server::conn::http1::Builder;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;

pub use self::healthcheck::healthcheck;
use crate::{
    accept::{Permits, accept},
    metrics,
    problem::PROBLEM_JSON,
    readiness::{Readiness, Report},
    status::{Fault, Reason},
    tls::{Acceptor, Protocols, ServerTls},
};

/// What whoever asks may take: a probe or a scrape is one short request, and its answer is there within seconds.
const BOUNDS: Bounds = Bounds {
    connections: 256,
    head: Duration::from_secs(5),
    whole: Duration::from_secs(15),
    head_bytes: 16 << 10,
};

/// Bounds on whoever asks.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// At once; the next one waits.
    connections: usize,
    /// For the head of a request.
    head: Duration,
    /// For a connection, which has one request: whatever is not sent or taken by then is cut.
    whole: Duration,
    /// The longest head, and so the most that is read of a body at a time: what takes one has a bound for it.
    head_bytes: usize,
}

/// Serves `/livez` (200 as long as the process runs), `/readyz` (200 when it can do its work for its callers, otherwise 503; the state of
/// each part, and why it is not `ok`), `/metrics` (the text format of Prometheus) and the routes of `api` until `stop`, over HTTP/1.1 and a
/// connection for each request.
///
/// # Errors
/// When something else in the process records its metrics.
pub async fn serve(
    listener: TcpListener,
    tls: ServerTls,
    readiness: Vec<Readiness>,
    api: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    serve_within(BOUNDS, listener, tls, (readiness, api), stop).await
}

async fn serve_within(
    bounds: Bounds,
    listener: TcpListener,
    tls: ServerTls,
    (readiness, api): (Vec<Readiness>, Router),
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let recorder = metrics::recorder()?;
    let metrics_shown = recorder.clone();
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    let app = Router::new()
        .route("/livez", get(async || "alive"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(move || std::future::ready((text, metrics::text(&metrics_shown)))))
        .with_state(Arc::new(readiness))
        .merge(api)
        .fallback(async |uri: Uri| {
            let fault =
                Fault::new(Reason::RouteNotFound, "the admin listener of this process has no such path");
            refusal(&fault, uri.path())
        });
    let upkeep = async {
        loop {
            tokio::time::sleep(metrics::UPKEEP).await;
            recorder.run_upkeep();
        }
    };
    let mut server = Builder::new();
    server.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(bounds.head);
    server.max_buf_size(bounds.head_bytes);
    let permits = Permits::new(bounds.connections);
    let acceptor = Acceptor::new(tls, "admin", Protocols::Http1, bounds.head);
    let connection = |stream, client, permit| {
        let (acceptor, server, app, stop) = (acceptor.clone(), server.clone(), app.clone(), stop.clone());
        async move {
            let serving = async {
                let stream = acceptor.accept(stream, client, &stop).await?;
                server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)).await.ok()
            };
            if !matches!(timeout(bounds.whole, serving).await, Ok(Some(()))) {
                tracing::debug!("a connection of the operator's ended early");
            }
            drop(permit);
        }
    };
    let serving = async {
        let mut connections = accept(listener, &permits, &stop, connection).await;
        while connections.join_next().await.is_some() {}
    };
    tokio::select! {
        () = serving => {}
        () = upkeep => {}
    }
    Ok(())
}

/// The answer to a request of this path that failed: problem details, with a challenge where the caller was not let in.
pub fn refusal(fault: &Fault, path: &str) -> Response {
    let mut response = fault.details(path).to_string().into_response();
    *response.status_mut() = fault.reason.http();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(PROBLEM_JSON));
    headers.extend(fault.challenge().map(|challenge| (header::WWW_AUTHENTICATE, challenge)));
    if let Some(time) = fault.retry_after {
        // Whole seconds, and never at once (RFC 9110, section 10.2.3).
        headers.insert(header::RETRY_AFTER, (time.as_secs_f64().ceil().max(1.0) as u64).into());
    }
    response
}

async fn readyz(State(readiness): State<Arc<Vec<Readiness>>>) -> (StatusCode, Json<Value>) {
    let reports = join_all(readiness.iter().map(Readiness::report)).await;
    let report = reports.into_iter().reduce(Report::and).unwrap_or_default();
    let code = if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let (mut parts, mut states) = (Map::new(), Map::new());
    for (name, state) in &report.parts {
        parts.insert(name.clone(), state.reason().unwrap_or("ready").into());
        states.insert(name.clone(), state.name().into());
    }
    let stopping = readiness.iter().any(Readiness::is_stopping);
    (
        code,
        Json(json!({ "ready": report.is_ready(), "stopping": stopping, "parts": parts, "states": states })),
    )
}

/// Prints on standard output where the process listens, one line an address: the port 0 of a setting is the one taken. The
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

#[cfg(test)]
mod tests {
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
            (Vec::new(), Router::new()),
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
        let server =
            tokio::spawn(serve(listener, ServerTls::default(), Vec::new(), Router::new(), stop.clone()));
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
