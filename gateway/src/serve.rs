//! Accepts connections and serves the edge on them, with limits that the plain accept loop of axum has not.

mod bare;
mod coding;
mod front;
pub(crate) mod threads;
mod watch;

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use chassis::{
    accept::accept,
    lifecycle::Stage,
    tls::{Acceptor, Protocols, Stream},
};
use http::{Version, header};
use hyper::{
    body::{Body as _, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::TcpListener,
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    bare::Spoken,
    front::Front,
    watch::{Look, Watch},
};
use crate::{
    admit::{Client, Connected, Unread, activity::Activity},
    edge::Edge,
    metrics::{limit, refused},
    request::{body::Rest, headers::MAX_HEAD_BYTES},
};

const MAX_CONCURRENT_STREAMS: u32 = 256;

/// What a connection of HTTP/2 reads of a head: more than is taken, so that it is refused here and with an error object.
const MAX_HEADER_LIST_BYTES: u32 = 2 * MAX_HEAD_BYTES as u32;

/// What a connection of HTTP/2 may keep of bodies that nobody has asked for yet, all of them together.
const MAX_WINDOW_BYTES: u32 = 256 << 10;

/// And those of one request: what its service does not read stops no other on the same connection.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;

/// What a connection of HTTP/1.1 may keep of what it has read: its longest head.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// A peer that does not answer a ping within the sum of both is gone.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long requests in flight may take to end after the stop; then their connections are cut, within the budget of the stage.
const DRAIN: Duration = Stage::Edge.budget().saturating_sub(Duration::from_millis(500));

/// Serves the edge over HTTP/1.1 and HTTP/2 (by ALPN where there is TLS, otherwise with prior knowledge) until `stop`; then finishes what is in flight, but ends
/// open streams with an error that asks the client to come again, and cuts the connections of clients that do not take what they
/// asked for.
///
/// # Errors
/// None at present: what goes wrong on a connection ends that connection.
pub async fn serve(listener: TcpListener, edge: Edge, stop: CancellationToken) -> anyhow::Result<()> {
    let patience = Patience { head: edge.config.header_timeout, idle: edge.config.idle_timeout };
    let (front, server) = (Front::new(edge.clone()), server(patience));
    let acceptor = Acceptor::new(edge.config.tls.clone(), "http", Protocols::Http, patience.head);
    tracing::info!(listen = %listener.local_addr()?, tls = edge.config.tls.is_on(), "serving HTTP");
    let accepted = |stream, client: SocketAddr, permit| {
        let peer = edge.admission.connected(client.ip(), permit);
        let peer = peer.map(|connected| Peer { client: edge.admission.client(client.ip()), connected });
        let (acceptor, server, front, stop) = (acceptor.clone(), server.clone(), front.clone(), stop.clone());
        async move {
            let Some(peer) = peer else { return };
            if let Some(stream) = acceptor.accept(stream, client, &stop).await {
                connection(server, front, stream, peer, stop, patience).await;
            }
        }
    };
    // Dropped with this future: a stop that is cut cuts the connections.
    let mut connections = accept(listener, edge.admission.permits(), &stop, accepted).await;
    edge.ending.stopping.cancel();
    edge.ending.sockets.close();
    let ended = async {
        while connections.join_next().await.is_some() {}
        edge.ending.sockets.wait().await;
    };
    if timeout(DRAIN, ended).await.is_err() {
        let (connections, sockets) = (connections.len(), edge.ending.sockets.len());
        tracing::warn!(connections, sockets, "connections whose clients do not end are cut");
    }
    Ok(())
}

/// Who is at the other end of a connection, and what that counts as.
#[derive(Debug)]
struct Peer {
    client: Client,
    connected: Connected,
}

impl Peer {
    /// Notes it for who needs it.
    fn note(&self, request: &mut hyper::Request<Incoming>, unread: &Unread) {
        // What the connection may become keeps its place, and counts what it reads.
        if request.headers().contains_key(header::UPGRADE) {
            request.extensions_mut().insert(self.connected.clone());
            request.extensions_mut().insert(unread.clone());
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
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(MAX_WINDOW_BYTES)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    server
}

async fn connection(
    server: Builder<TokioExecutor>,
    front: Front,
    stream: Stream,
    peer: Peer,
    stop: CancellationToken,
    patience: Patience,
) {
    let activity = Activity::new(patience.idle, Arc::clone(&peer.client.answers));
    let (seen, unread) = (activity.clone(), Unread::default());
    let stream = TokioIo::new(Spoken::new(stream, activity.clone(), unread.clone()));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        peer.note(&mut request, &unread);
        let (busy, front, client) = (seen.begin(), front.clone(), peer.client.clone());
        // Boxed: hyper keeps the place of the future as long as the connection, and a stream lasts.
        Box::pin(async move {
            // A client that takes no answers gets no refusals either, beyond some: each stream would keep one more.
            if request.version() == Version::HTTP_2 && client.answers.is_beyond() {
                refused(limit::BUFFERED_BYTES);
                return Err(h2::Error::from(h2::Reason::ENHANCE_YOUR_CALM));
            }
            let response = front.answer(boxed(request), client).await;
            Ok(busy.until_sent(response))
        })
    });
    let serving = server.serve_connection_with_upgrades(stream, service).into_owned();
    let (mut serving, mut watch) = (pin!(serving), Watch::new(activity, patience.head, patience.idle));
    let mut stop = pin!(stop.cancelled_owned());
    let mut is_ending = false;
    let outcome = loop {
        let next = watch.next();
        tokio::select! {
            biased;
            outcome = serving.as_mut() => break outcome,
            () = stop.as_mut(), if !is_ending => {
                is_ending = true;
                serving.as_mut().graceful_shutdown();
            }
            () = sleep_until(next) => match watch.look() {
                Look::Fine => {}
                Look::Late => serving.as_mut().graceful_shutdown(),
                Look::Over(why) => return tracing::debug!("{why}"),
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
