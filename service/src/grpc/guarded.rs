//! The guard before the handlers: each call is let in by the rule of its method, and a stream ends when the token of its caller lets nobody in any
//! longer.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use auth::{Admitted, Guard, Refusal};
use bytes::Bytes;
use chassis::status::Fault;
use futures_util::future::{BoxFuture, FutureExt as _};
use http::{HeaderMap, Request, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

/// Wraps the routes of a listener.
#[derive(Debug, Clone)]
pub(super) struct Guarded {
    pub(super) guard: Arc<Guard>,
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
        let guard = Arc::clone(&self.layer.guard);
        Box::pin(async move {
            let (path, headers, extensions) = (request.uri().path(), request.headers(), request.extensions());
            let admitted = match guard.admit(path, headers, extensions).await {
                Ok(admitted) => admitted,
                Err(fault) => return Ok(Status::from(fault).into_http()),
            };
            let Some(Admitted { access, caller, until }) = admitted else {
                return routes.call(request).await;
            };
            request.extensions_mut().insert(access);
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            let response = routes.call(request).await?;
            let Some(until) = until else { return Ok(response) };
            let ended = async move { until.ended().await }.boxed();
            Ok(response.map(|body| Body::new(WhileValid { body: Some(body), ended })))
        })
    }
}

/// A stream of messages as long as the token of its caller lets them in.
struct WhileValid {
    /// `None` after the end.
    body: Option<Body>,
    ended: BoxFuture<'static, Refusal>,
}

impl HttpBody for WhileValid {
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
        if let Poll::Ready(refusal) = self.ended.as_mut().poll(context) {
            self.body = None;
            let mut trailers = HeaderMap::new();
            let status = Status::from(Fault::from(refusal));
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
