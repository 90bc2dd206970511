//! The connections of a gRPC listener: so many at once, each of which has to begin in time, renewed now and then, and ended by a stop,
//! whatever their clients do.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    convert::Infallible,
    error::Error,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    server::conn::http2::Builder,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::{Service, util::MapRequest};

use chassis::{
    accept::rest_after,
    lifecycle::Stage,
    metrics::at_scrape,
    peer::Peer,
    tls::{Acceptor, Protocols},
};

use super::{Contract, answers::HEAD_BYTES, preface::Prefaced};

/// Calls under way on one connection; HTTP/2 asks the client to wait for more.
const STREAMS_PER_CONNECTION: u32 = 1_024;
/// What a connection reads of a head: more than is taken, so that it is refused with a reason. The library refuses what is longer without one, and
/// ends the connection over four times as much.
const HEADER_LIST_BYTES: u32 = 2 * HEAD_BYTES as u32;
/// Connections end now and then, so that clients find new instances; calls under way then have the grace to end.
const CONNECTION_AGE: Duration = Duration::from_secs(30 * 60);
const CONNECTION_AGE_GRACE: Duration = Duration::from_secs(30);
/// A peer that is gone is noticed within the sum of both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a handshake of TLS may take, and what a client of HTTP/2 says first.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long calls may take to end after the stop; then their connections are cut, within the budget of the stage.
const DRAIN: Duration = Stage::Services.budget().saturating_sub(Duration::from_millis(500));

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Those that have begun.
    begun: usize,
    /// Those that have not: one more ends the oldest of them, so that those who say nothing keep out nobody who does.
    silent: usize,
    /// How long one may take to begin.
    patience: Duration,
}

const BOUNDS: Bounds = Bounds { begun: 4_096, silent: 256, patience: HANDSHAKE };

/// Serves `routes` on every connection until `stop`; then accepts no more, lets calls under way finish, and cuts what is left.
pub(super) async fn serve<S, B>(
    listener: TcpListener,
    contract: &Contract,
    routes: S,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let open = open_connections(contract.name);
    let listener_name = format!("{}-grpc", contract.name);
    let acceptor = Acceptor::new(contract.tls.clone(), listener_name, Protocols::Grpc, HANDSHAKE);
    serve_within(BOUNDS, listener, acceptor, open, routes, stop).await;
}

async fn serve_within<S, B>(
    bounds: Bounds,
    listener: TcpListener,
    acceptor: Acceptor,
    open: Arc<()>,
    routes: S,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(bounds.begun));
    let mut silent = Silent::default();
    // Dropped with this future: a stop that is cut cuts the connections.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    let (acceptor, routes, stop) = (acceptor.clone(), routes.clone(), stop.clone());
                    let (open, places) = (Arc::clone(&open), Arc::clone(&places));
                    let ended = silent.enter(bounds.silent);
                    connections.spawn(async move {
                        let begun = tokio::select! {
                            biased;
                            () = ended.cancelled() => None,
                            () = stop.cancelled() => None,
                            begun = timeout(bounds.patience, begin(&acceptor, stream, client, places, &stop)) => begun.ok().flatten(),
                        };
                        drop(ended);
                        match begun {
                            Some((stream, _place)) => {
                                let peer = Peer(client.ip());
                                let routes = MapRequest::new(routes, move |mut request: Request<Incoming>| {
                                    request.extensions_mut().insert(peer);
                                    request
                                });
                                connection(stream, routes, stop).await;
                            }
                            None => tracing::debug!(client.address = %client, "a connection has not begun"),
                        }
                        drop(open);
                    });
                }
                Err(error) => rest_after(&error).await,
            },
        }
    }
    drop((listener, routes));
    let drained = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = connections.len(), "connections whose calls did not end are cut");
        connections.shutdown().await;
    }
}

/// Connections that have not begun, the oldest first.
#[derive(Default)]
struct Silent(VecDeque<Weak<CancellationToken>>);

impl Silent {
    /// Lets one in, and ends the oldest one where there are `most`. It counts until what is returned is dropped, and ends when that is
    /// cancelled.
    fn enter(&mut self, most: usize) -> Arc<CancellationToken> {
        self.0.retain(|one| one.strong_count() > 0);
        if self.0.len() >= most
            && let Some(oldest) = self.0.pop_front().and_then(|oldest| oldest.upgrade())
        {
            oldest.cancel();
        }
        let ended = Arc::new(CancellationToken::new());
        self.0.push_back(Arc::downgrade(&ended));
        ended
    }
}

/// Something that each connection holds, so that they can be counted.
fn open_connections(service: &'static str) -> Arc<()> {
    const OPEN: &str = "rpc_server_connections";
    metrics::describe_gauge!(OPEN, "open connections of clients of gRPC");
    let open = Arc::new(());
    let counted = Arc::downgrade(&open);
    at_scrape(move || {
        // One is the listener's own.
        let count = counted.strong_count();
        if count > 0 {
            metrics::gauge!(OPEN, "service_name" => service).set(count as f64 - 1.0);
        }
        count > 0
    });
    open
}

/// The connection once its client has said what it speaks, and there is a place for it.
async fn begin(
    acceptor: &Acceptor,
    stream: TcpStream,
    client: SocketAddr,
    places: Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(Prefaced, OwnedSemaphorePermit)> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the client left at once");
        return None;
    }
    let stream = acceptor.accept(stream, client, stop).await?;
    let stream = Prefaced::read(stream).await.ok()?;
    // Nobody closes the semaphore.
    Some((stream, places.acquire_owned().await.ok()?))
}

async fn connection<S, B>(stream: Prefaced, routes: S, stop: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut server = Builder::new(TokioExecutor::new());
    server
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_header_list_size(HEADER_LIST_BYTES)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    let mut serving = pin!(server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            // Whoever stops the listener cuts it.
            serving.await
        }
        () = sleep(CONNECTION_AGE) => {
            serving.as_mut().graceful_shutdown();
            match timeout(CONNECTION_AGE_GRACE, serving).await {
                Ok(ended) => ended,
                Err(_) => return tracing::debug!("an old connection is cut"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
