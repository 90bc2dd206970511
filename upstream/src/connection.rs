//! The way to one endpoint, whether there is a network on it or not.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, Request, Response, StatusCode, uri::PathAndQuery};
use http_body::{Body, Frame};
use tonic::{Status, body::Body as GrpcBody};
use tower::Service;

use crate::{
    channel::{Channel, Received},
    local::{Answered, Local},
    unary,
};

/// The way to one endpoint. Cloning it is cheap.
#[derive(Debug, Clone)]
pub(crate) enum Connection {
    /// Over HTTP/2.
    Remote(Channel),
    /// In the same process.
    Local(Local),
}

impl Connection {
    /// Makes a call with one message each way.
    ///
    /// # Errors
    /// The status of the service, or one that says what is wrong with its response; what the transport says.
    pub(crate) async fn unary(
        &self,
        path: PathAndQuery,
        headers: HeaderMap,
        message: &[u8],
    ) -> Result<unary::Response, Status> {
        match self {
            Self::Remote(channel) => unary::call(channel, path, headers, message).await,
            Self::Local(local) => local.unary(path, headers, message).await,
        }
    }
}

impl Service<Request<GrpcBody>> for Connection {
    type Response = Response<Reply>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<GrpcBody>) -> Self::Future {
        match self.clone() {
            Self::Remote(channel) => async {
                let response = channel.exchange(request).await?;
                // A head that the service does not take: nobody made a call of gRPC of it, and tonic knows no reason.
                if response.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
                    return Err(unary::of_http(response.status()));
                }
                Ok(response.map(Reply::Remote))
            }
            .boxed(),
            Self::Local(local) => async { Ok(local.exchange(request).await?.map(Reply::Local)) }.boxed(),
        }
    }
}

/// The body of a response. Dropping it early ends the call.
pub(crate) enum Reply {
    Remote(Received),
    Local(Answered),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match &mut *self {
            Self::Remote(body) => Pin::new(body).poll_frame(context),
            Self::Local(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Remote(body) => body.is_end_stream(),
            Self::Local(body) => body.is_end_stream(),
        }
    }
}
