//! A connection of HTTP/2 to one endpoint: opened with the first call, and again after it broke.
//!
//! tonic's channel hands each call to a task, which hands it to another one. Here whoever calls writes into the connection's own
//! buffers, and the one task of the connection does the rest.

mod dial;
mod exchange;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use h2::{
    SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use tonic::{ConnectError, Status};

pub(crate) use self::{
    dial::{CONNECT_TIMEOUT, Tls},
    exchange::is_end,
};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("grpc-rust-ordermesh/", env!("CARGO_PKG_VERSION")));

/// The connection to an endpoint, whoever uses it.
#[derive(Debug, Clone)]
pub(crate) struct Channel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    /// The service's name for itself: its host and port as the URL has them.
    authority: Authority,
    tls: Option<Tls>,
    /// The connection that there is, or is about to be; `None` before the first call and after a failure.
    opening: Mutex<Option<Opening>>,
}

/// One attempt to connect, for all who wait for it.
type Opening = Shared<BoxFuture<'static, Result<SendRequest<Bytes>, Arc<ConnectError>>>>;

impl Channel {
    /// A connection to this address, which nobody has opened yet.
    pub(crate) fn new(address: SocketAddr, authority: Authority, tls: Option<Tls>) -> Self {
        Self(Arc::new(Inner { address, authority, tls, opening: Mutex::default() }))
    }

    /// Begins a request of gRPC. Dropping both halves before its end tells the service that nobody waits any more.
    ///
    /// # Errors
    /// UNAVAILABLE with a [`ConnectError`] when it cannot be sent.
    pub(crate) async fn send(
        &self,
        path: PathAndQuery,
        mut headers: HeaderMap,
        is_whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), Status> {
        headers.insert(header::TE, TRAILERS);
        headers.entry(header::CONTENT_TYPE).or_insert(GRPC);
        headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri(path)?;
        *request.headers_mut() = headers;
        let mut connection = self.connection().await?;
        // What fails here has not been sent. Where it is not the connection that has gone since, it is the request, and another endpoint
        // would not take it either.
        connection.send_request(request, is_whole).map_err(|error| {
            let gone = error.is_io() || error.is_go_away() || error.is_reset();
            if gone { unsent(&Arc::new(ConnectError(error.into()))) } else { own(Own::Request(error)) }
        })
    }

    fn uri(&self, path: PathAndQuery) -> Result<Uri, Status> {
        let scheme = if self.0.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let mut parts = http::uri::Parts::default();
        (parts.scheme, parts.authority, parts.path_and_query) =
            (Some(scheme), Some(self.0.authority.clone()), Some(path));
        Uri::from_parts(parts).map_err(|error| Status::internal(error.to_string()))
    }

    /// A connection that takes a request: the one that there is, or a new one when it has gone.
    async fn connection(&self) -> Result<SendRequest<Bytes>, Status> {
        let opening = self.opening();
        if let Ok(connection) = self.opened(&opening).await?.ready().await {
            return Ok(connection);
        }
        self.forget(&opening);
        self.opened(&self.opening()).await
    }

    /// How an attempt ends. A failure is the answer to those who waited for it, and the next call makes another attempt.
    async fn opened(&self, opening: &Opening) -> Result<SendRequest<Bytes>, Status> {
        opening.clone().await.map_err(|error| {
            self.forget(opening);
            unsent(&error)
        })
    }

    fn opening(&self) -> Opening {
        let mut opening = self.0.opening.lock().unwrap_or_else(PoisonError::into_inner);
        opening.get_or_insert_with(|| self.open()).clone()
    }

    /// Only that one: another call may have begun the next.
    fn forget(&self, failed: &Opening) {
        let mut opening = self.0.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if opening.as_ref().is_some_and(|opening| opening.ptr_eq(failed)) {
            *opening = None;
        }
    }

    /// In a task: the call that needs the connection first may be given up, and others wait for it.
    fn open(&self) -> Opening {
        let opened = tokio::spawn(dial::open(self.0.address, self.0.tls.clone()));
        let outcome = async {
            let opened = opened.await.unwrap_or_else(|error| Err(error.into()));
            opened.map_err(|error| Arc::new(ConnectError(error)))
        };
        outcome.boxed().shared()
    }
}

/// Why a call failed that says nothing of the endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Own {
    /// The edge made no request of HTTP/2 of it.
    #[error("the request cannot be sent: {0}")]
    Request(h2::Error),
    /// The client's body cannot be read.
    #[error("the body of the call cannot be read: {0}")]
    Body(String),
}

/// What such a call fails with.
fn own(error: Own) -> Status {
    let mut status = Status::internal(error.to_string());
    status.set_source(Arc::new(error));
    status
}

/// What a call fails with that never left the edge.
fn unsent(error: &Arc<ConnectError>) -> Status {
    let mut status = Status::unavailable(error.to_string());
    status.set_source(Arc::clone(error) as Arc<_>);
    status
}
