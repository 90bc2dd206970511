//! The guard before the handlers: each call is let in by the rule of its method, and a stream ends when the token of its caller does.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use auth::{Admitted, Check, Guard, Refusal};
use bytes::Bytes;
use chassis::{clock::Clock, status::Fault};
use http::{HeaderMap, Request, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

/// Wraps the routes of a listener.
#[derive(Debug, Clone)]
pub(super) struct Guarded {
    pub(super) guard: Arc<Guard>,
    pub(super) clock: Arc<dyn Clock>,
}

/// Routes with it.
#[derive(Debug, Clone)]
pub(super) struct Guarding<S> {
    routes: S,
    layer: Guarded,
}

impl<S> Layer<S> for Guarded {
    type Service = Guarding<S>;

    fn layer(&self, routes: S) -> Guarding<S> {
        Guarding { routes, layer: self.clone() }
    }
}

impl<S, B> Service<Request<B>> for Guarding<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.routes.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that is ready goes with the call.
        let next = self.routes.clone();
        let mut routes = std::mem::replace(&mut self.routes, next);
        let Guarded { guard, clock } = self.layer.clone();
        Box::pin(async move {
            let admitted = match guard.admit(request.uri().path(), request.headers()).await {
                Ok(admitted) => admitted,
                Err(fault) => return Ok(Status::from(fault).into_http()),
            };
            let Some(Admitted { access, caller, streams }) = admitted else {
                return routes.call(request).await;
            };
            request.extensions_mut().insert(access);
            let expires = caller.as_ref().filter(|_| streams).map(|caller| caller.expires);
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            let response = routes.call(request).await?;
            let Some(expires) = expires else { return Ok(response) };
            let left = Duration::from_micros(u64::try_from(expires - clock.now()).unwrap_or_default());
            Ok(response
                .map(|body| Body::new(UntilExpiry { body: Some(body), expiry: Box::pin(sleep(left)) })))
        })
    }
}

/// A stream of messages until the token of its caller expires.
struct UntilExpiry {
    /// `None` after the end.
    body: Option<Body>,
    expiry: Pin<Box<Sleep>>,
}

impl HttpBody for UntilExpiry {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.body.is_none() {
            return Poll::Ready(None);
        }
        // Before the messages: a stream that never rests ends too.
        if self.expiry.as_mut().poll(context).is_ready() {
            self.body = None;
            let mut trailers = HeaderMap::new();
            let status = Status::from(Fault::from(Refusal::Token(Check::Expiry)));
            return Poll::Ready(Some(match status.add_header(&mut trailers) {
                Ok(()) => Ok(Frame::trailers(trailers)),
                Err(status) => Err(status),
            }));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        pin!(body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
