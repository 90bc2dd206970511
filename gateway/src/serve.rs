//! Accepts connections and serves the edge on them, with limits that the plain accept loop of axum has not.

use std::{convert::Infallible, net::SocketAddr, pin::pin, time::Duration};

use axum::body::Body;
use chassis::{accept::rest_after, lifecycle::Stage};
use http::header;
use hyper::{
    body::{Body as _, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    activity::{Activity, State},
    admit::{Client, Slot},
    body::Rest,
    edge::Edge,
    front::Front,
};

const MAX_CONCURRENT_STREAMS: u32 = 256;
const MAX_HEADER_LIST_BYTES: u32 = 32 << 10;

/// What a connection of HTTP/1.1 may keep of what it has read: its longest head.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// A peer that does not answer a ping within the sum of both is gone.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long requests in flight may take to end after the stop; then their connections are cut, within the budget of the stage.
const DRAIN: Duration = Stage::Edge.budget().saturating_sub(Duration::from_millis(500));

/// Serves the edge over HTTP/1.1 and HTTP/2 (with prior knowledge) until `stop`; then finishes what is in flight, but ends
/// open streams with an error that asks the client to come again, and cuts the connections of clients that do not take what they
/// asked for.
///
/// # Errors
/// None at present: what goes wrong on a connection ends that connection.
pub async fn serve(listener: TcpListener, edge: Edge, stop: CancellationToken) -> anyhow::Result<()> {
    let graceful = GracefulShutdown::new();
    let patience = Patience { head: edge.header_timeout(), idle: edge.idle_timeout() };
    let (front, server) = (Front::new(edge.clone()), server(patience));
    tracing::info!(listen = %listener.local_addr()?, "serving HTTP");
    // Dropped with this future: a stop that is cut cuts the connections.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, &edge, &stop) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Some((stream, client, slot)) = accepted else { break };
        let peer = Peer { client: Client(client.ip()), slot };
        connections.spawn(connection(
            server.clone(),
            front.clone(),
            stream,
            peer,
            graceful.watcher(),
            patience,
        ));
    }
    drop(listener);
    edge.stopping().cancel();
    edge.sockets().close();
    let ended = async {
        graceful.shutdown().await;
        while connections.join_next().await.is_some() {}
        edge.sockets().wait().await;
    };
    if timeout(DRAIN, ended).await.is_err() {
        let (connections, sockets) = (connections.len(), edge.sockets().len());
        tracing::warn!(connections, sockets, "connections whose clients do not end are cut");
    }
    Ok(())
}

/// Who is at the other end of a connection, and its place among the connections.
#[derive(Debug)]
struct Peer {
    client: Client,
    slot: Slot,
}

impl Peer {
    /// Notes it for who needs it.
    fn note(&self, request: &mut hyper::Request<Incoming>) {
        // What the connection may become keeps its slot.
        if request.headers().contains_key(header::UPGRADE) {
            request.extensions_mut().insert(self.slot.clone());
        }
    }
}

/// How long a connection may keep the edge waiting.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For the head of a request that has begun, or must be the first one.
    head: Duration,
    /// For any request, and for it to take any part of its answers.
    idle: Duration,
}

fn server(patience: Patience) -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(patience.head).max_buf_size(MAX_BUFFER_BYTES);
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
    edge: &Edge,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, Slot)> {
    let accept = async {
        let slot = edge.connection().await?;
        loop {
            match listener.accept().await {
                Ok((stream, client)) => return Some((stream, client, slot.opened())),
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

async fn connection(
    server: Builder<TokioExecutor>,
    front: Front,
    stream: TcpStream,
    peer: Peer,
    watcher: Watcher,
    patience: Patience,
) {
    if let Err(error) = stream.set_nodelay(true) {
        return tracing::debug!(%error, "the client left at once");
    }
    let activity = Activity::default();
    let seen = activity.clone();
    let service = service_fn(move |mut request| {
        peer.note(&mut request);
        let (busy, front, client) = (seen.begin(), front.clone(), peer.client);
        async move {
            let response = front.answer(boxed(request), client).await;
            Ok::<_, Infallible>(busy.until_sent(response))
        }
    });
    let serving = server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    let mut serving = pin!(watcher.watch(serving));
    // hyper's header timeout begins once it knows the protocol, and ends with HTTP/2, whose pings an idle client answers: a
    // client that does not ask is this one's business.
    let mut time = patience.head.min(patience.idle);
    let outcome = loop {
        match timeout(time, serving.as_mut()).await {
            Ok(outcome) => break outcome,
            Err(_) => match activity.since_last() {
                State::Busy => time = patience.idle,
                State::Idle => return tracing::debug!("the client asked for nothing"),
                State::Stuck => return tracing::debug!("the client takes nothing of its answers"),
            },
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(error, "a connection ended early");
    }
}

/// Most requests have no body, and need no place for one. Who asks before sending has sent nothing that could get in the way.
fn boxed(request: hyper::Request<Incoming>) -> hyper::Request<Body> {
    let asks = request.headers().contains_key(header::EXPECT);
    request.map(|body| match body {
        body if body.is_end_stream() => Body::empty(),
        body if asks => Body::new(body),
        body => Body::new(Rest::of(body)),
    })
}
