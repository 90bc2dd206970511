//! The connections of HTTP/2 to one endpoint: one for calls whose answers are taken at once, and others for those whose answers go at
//! the pace of a client. Nothing that a client does not take holds up the calls of others.
//!
//! tonic's channel hands each call to a task, which hands it to another one. Here whoever calls writes into the connection's own
//! buffers, and the one task of the connection does the rest.

mod cancelled;
mod dial;
mod exchange;
mod line;
mod permits;

use std::{net::SocketAddr, sync::Arc};

use http::{
    HeaderMap, Method, Request, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use tonic::{ConnectError, Status};

use self::{
    cancelled::Begun,
    dial::Windows,
    line::Line,
    permits::{Permit, Permits},
};
pub(crate) use self::{
    dial::{BoxError, CONNECT_TIMEOUT, Tls, try_out},
    exchange::{Received, is_end},
};
use crate::{
    error::{Own, not_sent, own},
    metadata,
};

/// The connections to an endpoint, whoever uses them.
#[derive(Debug, Clone)]
pub(crate) struct Channel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The service's name for itself: its host and port as the URL has them.
    authority: Authority,
    is_tls: bool,
    /// For calls whose answers are taken at once: those that wait for a permit in it soon get one.
    calls: Line,
    /// For all others.
    permits: Arc<Permits>,
}

impl Channel {
    /// Connections to this address, which nobody has opened yet.
    pub(crate) fn new(address: SocketAddr, authority: Authority, tls: Option<Tls>) -> Self {
        let is_tls = tls.is_some();
        let calls = Line::new(address, tls.clone(), Windows::CALLS);
        Self(Arc::new(Inner { authority, is_tls, calls, permits: Permits::new(address, tls) }))
    }

    /// Begins a call whose answer is taken as fast as it comes. Dropping both halves before its end shows the service that nobody waits
    /// any more.
    ///
    /// # Errors
    /// UNAVAILABLE with a [`ConnectError`] when it cannot be sent.
    pub(crate) async fn call_at_once(&self, path: PathAndQuery, headers: HeaderMap) -> Result<Begun, Status> {
        self.send(&self.0.calls, path, headers, false).await
    }

    /// A permit for a call whose answer is taken at the pace of a client.
    ///
    /// # Errors
    /// RATE_LIMITED when there are as many as the service takes.
    fn permit(&self) -> Result<Permit, Status> {
        self.0.permits.take()
    }

    /// Begins a request of gRPC. Dropping both halves before its end shows the service that nobody waits any more.
    ///
    /// # Errors
    /// UNAVAILABLE with a [`ConnectError`] when it cannot be sent.
    async fn send(
        &self,
        line: &Line,
        path: PathAndQuery,
        mut headers: HeaderMap,
        is_whole: bool,
    ) -> Result<Begun, Status> {
        metadata::complete(&mut headers);
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri(path)?;
        *request.headers_mut() = headers;
        let mut connection = line.connection().await?;
        // What fails here has not been sent. Where it is not the connection that has gone since, it is the request, and another endpoint
        // would not take it either.
        let (response, stream) = connection.send_request(request, is_whole).map_err(|error| {
            let gone = error.is_io() || error.is_go_away() || error.is_reset();
            if gone { not_sent(&Arc::new(ConnectError(error.into()))) } else { own(Own::Request(error)) }
        })?;
        Ok((line.cancellations.begin(response), stream))
    }

    fn uri(&self, path: PathAndQuery) -> Result<Uri, Status> {
        let scheme = if self.0.is_tls { Scheme::HTTPS } else { Scheme::HTTP };
        let mut parts = http::uri::Parts::default();
        (parts.scheme, parts.authority, parts.path_and_query) =
            (Some(scheme), Some(self.0.authority.clone()), Some(path));
        Uri::from_parts(parts).map_err(|error| Status::internal(error.to_string()))
    }
}
