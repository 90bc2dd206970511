//! The answer to a call on its way to its client, which always ends with a status.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
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
    stream::Over,
};

/// The code that a status has in the protocol of its client: it is counted as that.
pub(crate) type CodeOf = fn(&Status) -> Code;

/// How fast the answer to a unary call has to come, and to be taken.
struct Pace {
    begun: Instant,
    idle: Duration,
    passed: usize,
    /// When what is missing of the answer comes too late, where its client has not said so.
    late: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// From now on, on a connection that may be idle for so long.
    fn begin(idle: Duration, deadline: Option<Instant>) -> Self {
        let late = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
        Self { begun: Instant::now(), idle, passed: 0, late }
    }

    /// Whether so many bytes more come too late.
    fn is_late(&mut self, bytes: usize) -> bool {
        self.passed += bytes;
        self.begun.elapsed() > patience(self.idle, self.passed)
    }

    /// Waits until it is too late for what has not come. When a message has begun to pass, its client may be what takes time.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(late) = &mut self.late else { return Poll::Pending };
        loop {
            ready!(late.as_mut().poll(context));
            let patient = self.begun + patience(self.idle, self.passed);
            if self.passed == 0 || patient <= late.deadline() {
                return Poll::Ready(());
            }
            late.as_mut().reset(patient);
        }
    }
}

/// The answer on its way: it ends with a status, also when the connection to the service breaks or the edge stops.
pub(super) struct Passing {
    /// `None` after the end.
    body: Option<GrpcBody>,
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Why it is over, once it is: its client does not wait any longer, or the token that let a stream in does so no longer.
    over: Option<Over>,
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
        let Begun { response, writes, deadline, is_asked, streams, validity, held: _held } = begun;
        let span = Span::current();
        note(&mut counted, response.headers(), &span, code_of);
        let (asked, own) = (deadline.filter(|_| is_asked), deadline.filter(|_| !is_asked));
        let pace = (!streams).then(|| Pace::begin(edge.config.idle_timeout, own));
        let stopping = streams.then(|| Box::pin(edge.ending.stopping.clone().cancelled_owned()));
        let over = Over::first(asked, validity);
        let account = Arc::clone(&client.answers);
        response.map(|body| {
            let body = Some(body);
            GrpcBody::new(Self { body, stopping, over, writes, pace, account, code_of, counted, _held, span })
        })
    }

    /// Why so many bytes more are not handed on, if they are not. What a write has done is answered, however much is being answered already.
    fn refusal(&mut self, bytes: usize) -> Option<Fault> {
        if self.pace.as_mut().is_some_and(|pace| pace.is_late(bytes)) {
            return Some(deadline_exceeded());
        }
        if self.writes { None } else { self.account.check(bytes).err() }
    }

    /// Why nothing more is handed on, whatever would still come, once that is so.
    fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<Fault> {
        if let Some(stop) = &mut self.stopping
            && stop.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(stopping());
        }
        Over::poll(&mut self.over, context)
    }

    /// Ends the call to the service, and its answer with a status, unless that has one already.
    fn end(&mut self, fault: Fault) -> Option<Frame<Bytes>> {
        self.body = None;
        self.counted.as_ref()?;
        let mut trailers = HeaderMap::new();
        let status = Status::from(fault);
        end(&mut self.counted, (self.code_of)(&status), &self.span);
        if status.add_header(&mut trailers).is_err() {
            tracing::error!("a status of the edge is no header");
        }
        Some(Frame::trailers(trailers))
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
            && let Poll::Ready(fault) = self.poll_over(context)
        {
            return Poll::Ready(self.end(fault).map(Ok));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match pin!(body).poll_frame(context) {
            Poll::Ready(Some(Err(status))) => {
                let fault = fault(&status, self.writes);
                Poll::Ready(self.end(fault).map(Ok))
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let code_of = self.code_of;
                    note(&mut self.counted, trailers, &span, code_of);
                }
                let refusal = frame.data_ref().and_then(|data| self.refusal(data.len()));
                Poll::Ready(refusal.map_or(Some(frame), |fault| self.end(fault)).map(Ok))
            }
            // The library of a client would make up a status, without a reason.
            Poll::Ready(None) if self.counted.is_some() => {
                let fault = fault(&cut_off(), self.writes);
                Poll::Ready(self.end(fault).map(Ok))
            }
            Poll::Pending => {
                let late = self.pace.as_mut().map_or(Poll::Pending, |pace| pace.poll_late(context));
                late.map(|()| self.end(deadline_exceeded()).map(Ok))
            }
            Poll::Ready(None) => Poll::Ready(None),
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
