//! The answer to a call on its way to its client, which always ends with a status.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use chassis::{
    metrics::Call as Counted,
    status::{Fault, Reason, code_name, is_fault_of_server},
    trace,
};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status, body::Body as GrpcBody};
use tracing::Span;

use super::fault;
use crate::admit::Open;

/// What an open call counts as, until it is dropped.
#[expect(dead_code, reason = "held, and never looked at")]
pub(super) enum Held {
    Stream(Open),
    Request(OwnedSemaphorePermit),
}

/// The answer on its way: it ends with a status, also when the connection to the service breaks or the edge stops.
pub(super) struct Passing {
    /// `None` after the end.
    pub(super) body: Option<GrpcBody>,
    pub(super) stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    pub(super) writes: bool,
    /// `None` after its status.
    pub(super) counted: Option<Counted>,
    pub(super) _held: Held,
    /// That of the call: what goes wrong is logged with its id.
    pub(super) span: Span,
}

impl Passing {
    fn end(&mut self, fault: Fault) -> Frame<Bytes> {
        self.body = None;
        let mut trailers = HeaderMap::new();
        let status = Status::from(fault);
        end(&mut self.counted, status.code(), &self.span);
        if status.add_header(&mut trailers).is_err() {
            tracing::error!("a status of the edge is no header");
        }
        Frame::trailers(trailers)
    }
}

impl HttpBody for Passing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let span = self.span.clone();
        let _entered = span.enter();
        // Before the messages: a stream that never rests ends too.
        if self.body.is_some()
            && let Some(Poll::Ready(())) = self.stopping.as_mut().map(|stop| stop.as_mut().poll(context))
        {
            let fault = Fault::new(Reason::UpstreamUnavailable, "the edge is stopping: call again");
            return Poll::Ready(Some(Ok(self.end(fault))));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match pin!(body).poll_frame(context) {
            Poll::Ready(Some(Err(status))) => {
                let fault = fault(&status, self.writes);
                Poll::Ready(Some(Ok(self.end(fault))))
            }
            frame => {
                if let Poll::Ready(Some(Ok(frame))) = &frame
                    && let Some(trailers) = frame.trailers_ref()
                {
                    note(&mut self.counted, trailers, &span);
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

/// Counts the end of a call, and says it of its span.
pub(super) fn end(counted: &mut Option<Counted>, code: Code, span: &Span) {
    if let Some(mut counted) = counted.take() {
        counted.end(code);
        let error = is_fault_of_server(code).then(|| code_name(code));
        trace::ended(span, &[("rpc.response.status_code", code_name(code))], error);
    }
}

/// A status among headers or trailers is the end of a call.
pub(super) fn note(counted: &mut Option<Counted>, headers: &HeaderMap, span: &Span) {
    if let Some(code) = headers.get(Status::GRPC_STATUS) {
        end(counted, Code::from_bytes(code.as_bytes()), span);
    }
}
