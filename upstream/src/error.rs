//! How the way to a service failed: statuses that the transport made, and what they say.

use std::{error::Error, io, sync::Arc};

use chassis::tls::Distrust;
use tonic::{ConnectError, Status};

/// How the transport failed, if it was the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportError {
    /// There is nobody to call.
    NoEndpoint,
    /// The call was not sent: the endpoint takes no connections.
    NotSent,
    /// The service ended the stream of HTTP/2, before it began the call or after.
    StreamReset,
    /// The connection broke, and whether the call took effect is not known.
    OutcomeUnknown,
    /// No request of HTTP/2 could be made of the call.
    Request,
    /// The client's body could not be read to its end.
    Body,
    /// The head or the trailers of the answer are longer than is taken.
    TooLarge,
}

impl TransportError {
    /// What a status made by the transport says; `None` for those of a service.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
        let mut cause = status.source()?;
        loop {
            if cause.is::<NoEndpoint>() {
                return Some(Self::NoEndpoint);
            }
            if cause.is::<ConnectError>() {
                return Some(Self::NotSent);
            }
            if cause.is::<Status>() {
                return None;
            }
            if let Some(own) = cause.downcast_ref::<Own>() {
                return Some(if matches!(own, Own::Body(_)) { Self::Body } else { Self::Request });
            }
            if let Some(error) = cause.downcast_ref::<h2::Error>().filter(|error| error.is_reset()) {
                // What h2 does with a head above its limit.
                let ours = error.is_library() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
                return Some(if ours { Self::TooLarge } else { Self::StreamReset });
            }
            match cause.source() {
                Some(next) => cause = next,
                None => return Some(Self::OutcomeUnknown),
            }
        }
    }
}

/// Whose certificate is why there was no connection, if that is why.
pub(crate) fn distrust(error: &(dyn Error + 'static)) -> Option<Distrust> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let of_http = error.downcast_ref::<h2::Error>().and_then(h2::Error::get_io);
        if let Some(error) = of_http.or_else(|| error.downcast_ref::<io::Error>()) {
            return Distrust::of(error);
        }
        cause = error.source();
    }
    None
}

/// There is nobody to call.
#[derive(Debug, thiserror::Error)]
#[error("no endpoint of the service takes calls")]
struct NoEndpoint;

/// What a call fails with when there is nobody to call.
pub(crate) fn no_endpoint() -> Status {
    let mut status = Status::unavailable(NoEndpoint.to_string());
    status.set_source(Arc::new(NoEndpoint));
    status
}

/// Why a call failed that says nothing of the endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Own {
    /// No request of HTTP/2 was made of it.
    #[error("the request cannot be sent: {0}")]
    Request(h2::Error),
    /// The client's body cannot be read.
    #[error("the body of the call cannot be read: {}", .0.message())]
    Body(Status),
}

/// What such a call fails with: the reason of whoever made the body, where it has given one.
pub(crate) fn own(error: Own) -> Status {
    let mut status = match &error {
        Own::Body(why) if !why.details().is_empty() => why.clone(),
        _ => Status::internal(error.to_string()),
    };
    status.set_source(Arc::new(error));
    status
}

/// What a call fails with that was not sent.
pub(crate) fn not_sent(error: &Arc<ConnectError>) -> Status {
    let mut status = Status::unavailable(error.to_string());
    status.set_source(Arc::clone(error) as Arc<_>);
    status
}
