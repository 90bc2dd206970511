//! A service in the same process: called as a tower service, without a socket.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use chassis::deadline;
use futures_util::{FutureExt as _, future::Fuse};
use http::{HeaderMap, Method, Request, Response, Uri, Version, uri::PathAndQuery};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};
use tokio::{sync::oneshot, time::timeout};
use tonic::{Status, TimeoutExpired, body::Body as GrpcBody};
use tower::{Service, ServiceExt as _, util::BoxCloneSyncService};

use crate::{
    error::{Own, own},
    metadata::{self, GRPC_TIMEOUT},
    unary::{self, Incoming},
};

/// A service that keeps deadlines itself answers first: that answer says more.
const GRACE: Duration = Duration::from_millis(20);

/// A service in the same process. Cloning it is cheap.
#[derive(Clone)]
pub struct Local {
    service: BoxCloneSyncService<Request<GrpcBody>, Response<GrpcBody>, Infallible>,
    authority: String,
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Local {
    /// A service, such as tonic's `Routes`, with the layers that its calls go through.
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<GrpcBody>, Response = Response<B>, Error = Infallible, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let service = service.map_response(|response: Response<B>| response.map(GrpcBody::new));
        Self { service: BoxCloneSyncService::new(service), authority: String::new() }
    }

    /// The same, with the host and the port where other processes find it.
    #[must_use]
    pub fn found_at(self, authority: impl Into<String>) -> Self {
        Self { authority: authority.into(), ..self }
    }

    /// Where other processes find it; empty when nobody has said.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Makes a call with one message each way. Dropping it drops the handler.
    ///
    /// # Errors
    /// The status of the service, or one that says what is wrong with its response.
    pub(crate) async fn unary(
        &self,
        path: PathAndQuery,
        headers: HeaderMap,
        message: &[u8],
    ) -> Result<unary::Response, Status> {
        let mut request = Request::new(GrpcBody::new(Full::new(unary::framed(message))));
        *request.uri_mut() = Uri::from(path);
        *request.headers_mut() = headers;
        let (head, body) = self.called(request).await?.into_parts();
        unary::received(head, Whole { body, trailers: HeaderMap::new() }).await
    }

    /// Makes a call whose bodies may be of any length. Dropping the response, or the call before there is one, drops the handler.
    ///
    /// # Errors
    /// The request's body cannot be read, or the time of the call is over.
    pub(crate) async fn exchange(self, request: Request<GrpcBody>) -> Result<Response<Answered>, Status> {
        let (broken, unreadable) = oneshot::channel();
        let mut unreadable = unreadable.fuse();
        let request = request.map(|body| GrpcBody::new(Asked { body, broken: Some(broken) }));
        let response = tokio::select! {
            biased;
            Ok(why) = &mut unreadable => return Err(own(Own::Body(why))),
            response = self.called(request) => response?,
        };
        // The service may have seen it just now: what it makes of that concerns nobody any more.
        if let Some(Ok(why)) = (&mut unreadable).now_or_never() {
            return Err(own(Own::Body(why)));
        }
        Ok(response.map(|body| Answered { body, unreadable, is_over: false }))
    }

    async fn called(&self, mut request: Request<GrpcBody>) -> Result<Response<GrpcBody>, Status> {
        metadata::complete(request.headers_mut());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        let time = request.headers().get(GRPC_TIMEOUT).and_then(|time| deadline::parse(time.to_str().ok()?));
        let called = self.service.clone().oneshot(request);
        let response = match time {
            None => called.await,
            // As tonic's server does; a handler that is ready in time goes before.
            Some(time) => timeout(time + GRACE, called)
                .await
                .map_err(|_| Status::cancelled(TimeoutExpired(()).to_string()))?,
        };
        let Ok(response) = response;
        Ok(response)
    }
}

/// The answer to a call with one message.
struct Whole {
    body: GrpcBody,
    trailers: HeaderMap,
}

impl Incoming for Whole {
    async fn data(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(frame) = self.body.frame().await.transpose()? else { return Ok(None) };
        match frame.into_data() {
            Ok(data) => Ok(Some(data)),
            Err(frame) => {
                self.trailers = frame.into_trailers().unwrap_or_default();
                Ok(None)
            }
        }
    }

    async fn trailers(&mut self) -> Result<HeaderMap, Status> {
        Ok(std::mem::take(&mut self.trailers))
    }
}

/// The body of a request. That it cannot be read is also reported to whoever made the call.
struct Asked {
    body: GrpcBody,
    broken: Option<oneshot::Sender<Status>>,
}

impl Body for Asked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(pin!(&mut self.body).poll_frame(context));
        if let Some(Err(status)) = &frame
            && let Some(broken) = self.broken.take()
        {
            // Without a receiver nobody waits for the call.
            let _reported = broken.send(status.clone());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// The body of a response. Dropping it early drops what makes it.
pub(crate) struct Answered {
    body: GrpcBody,
    unreadable: Fuse<oneshot::Receiver<Status>>,
    is_over: bool,
}

impl Body for Answered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        // The service first: it is what finds out that the request broke off.
        let frame = pin!(&mut self.body).poll_frame(context);
        if let Poll::Ready(Ok(why)) = self.unreadable.poll_unpin(context) {
            self.is_over = true;
            return Poll::Ready(Some(Err(own(Own::Body(why)))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }
}
