//! Requests and responses with bodies of any length: what streams of gRPC travel on.

use std::{
    future,
    pin::{Pin, pin},
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, body::Body as GrpcBody};

use super::{Channel, permits::Permit};
use crate::error::{Own, own};

/// Why the body of a request could not be read, once that is known.
type Unreadable = Arc<OnceLock<Status>>;

/// What sends the body of a request; dropping it ends the request.
type Sending = AbortOnDropHandle<()>;

/// The body of a response. Dropping it early ends the request.
#[derive(Debug)]
pub(crate) struct Received {
    body: RecvStream,
    at: Part,
    unreadable: Unreadable,
    _sending: Option<Sending>,
    _permit: Permit,
}

/// What comes next of a body.
#[derive(Debug, Clone, Copy)]
enum Part {
    Data,
    Trailers,
    Nothing,
}

impl Channel {
    /// Begins a call whose answer is taken at the pace of a client. Dropping the response, or the call before there is one, notifies the
    /// service that nobody waits any more.
    ///
    /// # Errors
    /// What the transport says before there is a head.
    pub(crate) async fn exchange(
        self,
        request: http::Request<GrpcBody>,
    ) -> Result<http::Response<Received>, Status> {
        let (head, body) = request.into_parts();
        let path = head.uri.into_parts().path_and_query;
        let path = path.ok_or_else(|| Status::internal("a request has no path"))?;
        let is_whole = body.is_end_stream();
        let permit = self.permit()?;
        let (response, stream) = self.send(&permit.line, path, head.headers, is_whole).await?;
        let unreadable = Unreadable::default();
        let sending = (!is_whole)
            .then(|| AbortOnDropHandle::new(tokio::spawn(send(body, stream, Arc::clone(&unreadable)))));
        let response = response.await.map_err(|error| status(&unreadable, error))?;
        Ok(response.map(|body| Received {
            body,
            at: Part::Data,
            unreadable,
            _sending: sending,
            _permit: permit,
        }))
    }
}

/// Why a call failed: those whose body cannot be read are ended here.
fn status(unreadable: &OnceLock<Status>, error: h2::Error) -> Status {
    unreadable.get().map_or_else(|| error.into(), |why| own(Own::Body(why.clone())))
}

/// Sends a body as fast as the service takes it. Why that fails is the response's to say.
async fn send(mut body: GrpcBody, mut to: SendStream<Bytes>, unreadable: Unreadable) {
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                let _first = unreadable.set(error);
                return to.send_reset(Reason::CANCEL);
            }
        };
        // Requests of gRPC have no trailers.
        if let Ok(data) = frame.into_data()
            && send_part(data, &mut to).await.is_none()
        {
            return;
        }
    }
    // An end that cannot be sent is one that nobody waits for.
    let _sent = to.send_data(Bytes::new(), true);
}

async fn send_part(mut data: Bytes, to: &mut SendStream<Bytes>) -> Option<()> {
    while !data.is_empty() {
        to.reserve_capacity(data.len());
        let granted = future::poll_fn(|context| to.poll_capacity(context)).await?.ok()?;
        let part = data.split_to(granted.min(data.len()));
        to.send_data(part, false).ok()?;
    }
    Some(())
}

/// Whether a service ended a response early without anything being wrong: what is missing is then its status.
pub(crate) fn is_end(error: &h2::Error) -> bool {
    error.is_reset() && matches!(error.reason(), Some(Reason::NO_ERROR | Reason::CANCEL))
}

impl Received {
    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if matches!(self.at, Part::Data) {
            match ready!(self.body.poll_data(context)) {
                Some(Ok(data)) => {
                    // Of a stream that has ended nobody counts what was read.
                    let _counted = self.body.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.at = Part::Trailers,
            }
        }
        if matches!(self.at, Part::Trailers) {
            let trailers = pin!(self.body.trailers());
            let trailers = ready!(trailers.poll(context));
            self.at = Part::Nothing;
            return Poll::Ready(trailers.transpose().map(|trailers| trailers.map(Frame::trailers)));
        }
        Poll::Ready(None)
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let part = ready!(self.poll_part(context)).transpose();
        Poll::Ready(match part {
            Ok(part) => part.map(Ok),
            Err(error) => {
                self.at = Part::Nothing;
                let ours = self.unreadable.get().is_some();
                (ours || !is_end(&error)).then(|| Err(status(&self.unreadable, error)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
