//! The answer to a call on its way to its client, which always ends with a status.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use chassis::{
    metrics::Call as Counted,
    status::{Fault, code_name, is_fault_of_server},
    trace,
};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status, body::Body as GrpcBody};
use tracing::Span;
use upstream::cut_off;

use super::{
    fault::{fault, stopping},
    forward::{Begun, Held},
};
use crate::{
    admit::{Account, Client, activity::patience},
    edge::Edge,
    request::deadline::deadline_exceeded,
    stream::expired,
};

/// The code that a status has in the protocol of its client: it is counted as that.
pub(crate) type CodeOf = fn(&Status) -> Code;

/// How fast the answer to a unary call has to be taken.
struct Pace {
    begun: Instant,
    idle: Duration,
    passed: usize,
}

impl Pace {
    /// From now on, on a connection that may be idle for so long.
    fn begin(idle: Duration) -> Self {
        Self { begun: Instant::now(), idle, passed: 0 }
    }

    /// Whether so many bytes more come too late.
    fn is_late(&mut self, bytes: usize) -> bool {
        self.passed += bytes;
        self.begun.elapsed() > patience(self.idle, self.passed)
    }
}

/// The answer on its way: it ends with a status, also when the connection to the service breaks or the edge stops.
pub(super) struct Passing {
    /// `None` after the end.
    body: Option<GrpcBody>,
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// The end of the token that let a stream in.
    expiry: Option<Pin<Box<Sleep>>>,
    writes: bool,
    /// That of a unary call.
    pace: Option<Pace>,
    /// What its client may make the edge keep.
    account: Arc<Account>,
    code_of: CodeOf,
    /// `None` after its status.
    counted: Option<Counted>,
    _held: Held,
    /// That of the call: what goes wrong is logged with its id.
    span: Span,
}

impl Passing {
    /// The answer to a call that has begun.
    pub(super) fn of(
        edge: &Edge,
        client: &Client,
        mut counted: Option<Counted>,
        begun: Begun,
        code_of: CodeOf,
    ) -> http::Response<GrpcBody> {
        let Begun { response, writes, streams, expires, held: _held, .. } = begun;
        let span = Span::current();
        note(&mut counted, response.headers(), &span, code_of);
        let pace = (!streams).then(|| Pace::begin(edge.config.idle_timeout));
        let stopping = streams.then(|| Box::pin(edge.ending.stopping.clone().cancelled_owned()));
        let expiry = expires.filter(|_| streams).map(|expires| Box::pin(sleep_until(expires)));
        let account = Arc::clone(&client.answers);
        response.map(|body| {
            let body = Some(body);
            GrpcBody::new(Self {
                body,
                stopping,
                expiry,
                writes,
                pace,
                account,
                code_of,
                counted,
                _held,
                span,
            })
        })
    }

    /// Why so many bytes more are not handed on, if they are not. What a write has done is answered, however much is being answered already.
    fn refusal(&mut self, bytes: usize) -> Option<Fault> {
        if self.pace.as_mut().is_some_and(|pace| pace.is_late(bytes)) {
            return Some(deadline_exceeded());
        }
        if self.writes { None } else { self.account.check(bytes).err() }
    }

    fn end(&mut self, fault: Fault) -> Frame<Bytes> {
        self.body = None;
        let mut trailers = HeaderMap::new();
        let status = Status::from(fault);
        end(&mut self.counted, (self.code_of)(&status), &self.span);
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
            return Poll::Ready(Some(Ok(self.end(stopping()))));
        }
        if self.body.is_some()
            && let Some(Poll::Ready(())) = self.expiry.as_mut().map(|expiry| expiry.as_mut().poll(context))
        {
            return Poll::Ready(Some(Ok(self.end(expired()))));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match pin!(body).poll_frame(context) {
            Poll::Ready(Some(Err(status))) => {
                let fault = fault(&status, self.writes);
                Poll::Ready(Some(Ok(self.end(fault))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let code_of = self.code_of;
                    note(&mut self.counted, trailers, &span, code_of);
                }
                let refusal = frame.data_ref().and_then(|data| self.refusal(data.len()));
                Poll::Ready(Some(Ok(refusal.map_or(frame, |fault| self.end(fault)))))
            }
            // The library of a client would make up a status, without a reason.
            Poll::Ready(None) if self.counted.is_some() => {
                let fault = fault(&cut_off(), self.writes);
                Poll::Ready(Some(Ok(self.end(fault))))
            }
            frame => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| self.counted.is_none() && body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

/// Counts the end of a call, and says it of its span.
pub(crate) fn end(counted: &mut Option<Counted>, code: Code, span: &Span) {
    if let Some(mut counted) = counted.take() {
        counted.end(code);
        let error = is_fault_of_server(code).then(|| code_name(code));
        trace::ended(span, &[("rpc.response.status_code", code_name(code))], error);
    }
}

/// A status among headers or trailers is the end of a call.
fn note(counted: &mut Option<Counted>, headers: &HeaderMap, span: &Span, code_of: CodeOf) {
    if let Some(status) = Status::from_header_map(headers) {
        end(counted, code_of(&status), span);
    }
}
