//! A service that is connected: a call that comes to nothing says which service that was, where it is, and what can be done.

use std::{error::Error, time::Duration};

use chassis::{redact::redacted, status::Chain};
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Context, Poll, Service, http},
    transport::{self, Channel},
};

/// What an operator reads of a service that has not answered in time.
pub(crate) fn late(url: &str, timeout: Duration) -> String {
    let timeout = humantime::format_duration(timeout);
    format!(
        "{} has not answered within {timeout}: its process is frozen, has too much to do, or waits for its database. Look at its \
         /readyz and its log",
        redacted(url)
    )
}

/// The connection to a service.
#[derive(Debug, Clone)]
pub(crate) struct Reached {
    channel: Channel,
    url: String,
    timeout: Duration,
    /// Why the connection is not ready: the next call ends with that.
    unready: Option<Status>,
}

impl Reached {
    pub(super) fn new(channel: Channel, url: &str, timeout: Duration) -> Self {
        Self { channel, url: url.to_owned(), timeout, unready: None }
    }
}

impl Service<http::Request<Body>> for Reached {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Status>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let ready = Service::<http::Request<Body>>::poll_ready(&mut self.channel, context);
        ready.map(|ready| {
            // A client puts words of its own around an error that it gets here.
            self.unready = ready.err().map(|error| lost(&error, &self.url, self.timeout));
            Ok(())
        })
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if let Some(status) = self.unready.take() {
            return Box::pin(async move { Err(status) });
        }
        let (calling, url, timeout) = (self.channel.call(request), self.url.clone(), self.timeout);
        Box::pin(async move { calling.await.map_err(|error| lost(&error, &url, timeout)) })
    }
}

fn lost(error: &transport::Error, url: &str, timeout: Duration) -> Status {
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    if causes.any(|cause| cause.is::<tonic::TimeoutExpired>()) {
        return Status::deadline_exceeded(late(url, timeout));
    }
    let gone =
        "the call has not come back: its process has ended, or something between has closed the connection";
    Status::unavailable(format!("{}: {gone}: {}", redacted(url), Chain(error)))
}
