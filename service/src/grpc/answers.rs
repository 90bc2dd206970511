//! What every call gets, whatever it asks for: bounds of its metadata and of its time, an answer when its handler panics, and a reason with every
//! error.

use std::{
    any::Any,
    convert::Infallible,
    future::ready,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::FutureExt as _;
use http::{Request, Response};
use tokio::time::timeout_at;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};
use upstream::length;

use chassis::{
    deadline,
    status::{Fault, Reason},
};

/// The longest metadata of a call, in bytes as HTTP/2 counts them: ids, keys, a token and a trace context need far less.
pub(super) const HEAD_BYTES: usize = 16 << 10;

/// Wraps the routes of a listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answers;

/// Routes with it.
#[derive(Debug, Clone)]
pub(super) struct Answering<S>(S);

impl<S> Layer<S> for Answers {
    type Service = Answering<S>;

    fn layer(&self, routes: S) -> Answering<S> {
        Answering(routes)
    }
}

impl<S, B> Service<Request<B>> for Answering<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if length(request.headers()) > HEAD_BYTES {
            let message =
                format!("the metadata of the call is longer than the {HEAD_BYTES} bytes that are taken");
            return Box::pin(ready(Ok(failed(Reason::HeadersTooLarge, &message))));
        }
        let until = deadline::of(request.headers());
        let handler = self.0.call(request);
        Box::pin(async move {
            let handler = AssertUnwindSafe(handler).catch_unwind();
            Ok(match timeout_at(until, handler).await {
                Ok(Ok(Ok(response))) => reasoned(response),
                Ok(Err(panic)) => panicked(panic.as_ref()),
                Err(_) => failed(
                    Reason::DeadlineExceeded,
                    "the time for this call is over; whether it took effect is not known",
                ),
            })
        })
    }
}

fn failed(reason: Reason, message: &str) -> Response<Body> {
    Status::from(Fault::new(reason, message)).into_http()
}

/// A panic in a handler is a bug of that call alone: its caller gets INTERNAL, the process goes on.
fn panicked(panic: &(dyn Any + Send)) -> Response<Body> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    tracing::error!(panic = text, "a handler panicked");
    failed(Reason::Internal, "internal error")
}

/// What our handlers refuse has a reason. What has none was refused by tonic, before a handler had it: the request cannot be read, or
/// nobody here answers it.
fn reasoned(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    let is_bare =
        headers.contains_key(Status::GRPC_STATUS) && !headers.contains_key(Status::GRPC_STATUS_DETAILS);
    let status = is_bare.then(|| Status::from_header_map(headers)).flatten();
    let Some(status) = status.filter(|status| status.code() != Code::Ok) else { return response };
    let reason = match status.code() {
        Code::Unimplemented => Reason::Unimplemented,
        Code::OutOfRange | Code::ResourceExhausted => Reason::BodyTooLarge,
        _ => Reason::MalformedRequest,
    };
    let message = match status.message() {
        "" => "this process has no such method",
        message => message,
    };
    let mut bare = failed(reason, message);
    // Such as the encodings that are understood.
    for (name, value) in headers {
        if !bare.headers().contains_key(name) {
            bare.headers_mut().append(name, value.clone());
        }
    }
    bare
}
