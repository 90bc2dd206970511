//! Accepts connections and serves the edge on them, with limits that the plain accept loop of axum has not.

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{edge::Edge, limit::Client, router::router};

/// A client that has not sent the head of a request by then is cut off, on a new connection as on one that is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

const MAX_CONCURRENT_STREAMS: u32 = 256;
const MAX_HEADER_LIST_BYTES: u32 = 32 << 10;

/// A peer that does not answer a ping within the sum of both is gone.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long accepting rests when the system has no descriptors left: at once it would fail again, and spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the edge over HTTP/1.1 and HTTP/2 (with prior knowledge) until `stop`; then finishes what is in flight, but ends
/// open streams with an error that asks the client to come again. It returns when the last connection has closed; how long
/// that may take is the caller's to bound.
///
/// # Errors
/// None at present: what goes wrong on a connection ends that connection.
pub async fn serve(listener: TcpListener, edge: Edge, stop: CancellationToken) -> anyhow::Result<()> {
    let slots = Arc::new(Semaphore::new(edge.max_connections()));
    let graceful = GracefulShutdown::new();
    let stopping = edge.stopping().clone();
    let limited = edge.limits().is_some();
    let (app, server) = (router(edge), server());
    tracing::info!(listen = %listener.local_addr()?, "serving HTTP");
    while let Some((stream, client, slot)) = next(&listener, &slots, &stop).await {
        let client = limited.then_some(Client(client.ip()));
        tokio::spawn(connection(server.clone(), app.clone(), stream, client, graceful.watcher(), slot));
    }
    drop(listener);
    stopping.cancel();
    graceful.shutdown().await;
    Ok(())
}

fn server() -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    server
}

/// The next connection, once there is a slot for it; `None` after the stop.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accept = async {
        // Nobody closes the semaphore.
        let slot = Arc::clone(slots).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, client)) => return Some((stream, client, slot)),
                Err(error) => rest_after(&error).await,
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        accepted = accept => accepted,
    }
}

async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "cannot accept connections");
        sleep(ACCEPT_PAUSE).await;
    }
}

async fn connection(
    server: Builder<TokioExecutor>,
    app: Router,
    stream: TcpStream,
    client: Option<Client>,
    watcher: Watcher,
    _slot: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        return tracing::debug!(%error, "the client left at once");
    }
    let asked = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&asked);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        mark.store(true, Ordering::Relaxed);
        if let Some(client) = client {
            request.extensions_mut().insert(client);
        }
        app.clone().oneshot(request)
    });
    let serving = server.serve_connection(TokioIo::new(stream), service).into_owned();
    let mut serving = pin!(watcher.watch(serving));
    // hyper's header timeout begins once it knows the protocol; a client that never shows it is this one's business.
    let outcome = match timeout(HEADER_TIMEOUT, serving.as_mut()).await {
        Err(_) if asked.load(Ordering::Relaxed) => serving.await,
        Err(_) => return tracing::debug!("the client asked for nothing"),
        Ok(outcome) => outcome,
    };
    if let Err(error) = outcome {
        tracing::debug!(error, "a connection ended early");
    }
}
