//! Whether anything happens on a connection: one that only keeps its slot must give it back to those who ask, and so must one that takes no
//! answers. An answer is under way until its last byte is written, and not only until the library has it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// Longer data is written in pieces of at most so many bytes, so that it is seen how far it is. Shorter data costs nothing more.
const LARGE: usize = 16 << 10;
const PIECE: usize = 64 << 10;

/// The requests of one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Requests whose answers have not been sent whole.
    open: AtomicUsize,
    /// Answers that are there as a whole, and not written; a stream is none.
    unsent: AtomicUsize,
    /// Whether a request came since somebody looked.
    asked: AtomicBool,
    /// Whether a part of an answer was written since somebody looked.
    moved: AtomicBool,
}

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It asks, waits for an answer, or takes one.
    Busy,
    /// It asks for nothing.
    Idle,
    /// It takes nothing of the answers that it asked for.
    Stuck,
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Counts>);

/// An answer that is there and not written, until it is dropped.
#[derive(Debug)]
struct Unsent(Arc<Counts>);

/// A part of an answer, until it is written.
#[derive(Debug)]
struct Piece {
    data: Bytes,
    _unsent: Unsent,
    _busy: Busy,
}

/// A body that keeps its connection busy until it is sent.
#[derive(Debug)]
pub(crate) struct Sending {
    body: Body,
    /// Of the last data, what is not in pieces yet.
    rest: Bytes,
    busy: Busy,
    _unsent: Option<Unsent>,
}

impl Activity {
    /// Notes a request.
    pub(crate) fn begin(&self) -> Busy {
        self.0.asked.store(true, Relaxed);
        Busy::new(&self.0)
    }

    /// What it does, and did since the last time that this was asked.
    pub(crate) fn since_last(&self) -> State {
        let counts = &*self.0;
        let (asked, moved) = (counts.asked.swap(false, Relaxed), counts.moved.swap(false, Relaxed));
        if counts.unsent.load(Relaxed) > 0 {
            // A request that only just came has an answer that could not move yet.
            return if asked || moved { State::Busy } else { State::Stuck };
        }
        if asked || moved || counts.open.load(Relaxed) > 0 { State::Busy } else { State::Idle }
    }
}

impl Busy {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.open.fetch_add(1, Relaxed);
        Self(Arc::clone(counts))
    }

    /// The answer, under way until its body is sent.
    pub(crate) fn until_sent(self, response: Response) -> http::Response<Sending> {
        response.map(|body| {
            let whole = body.size_hint().exact().is_some_and(|bytes| bytes > 0);
            let unsent = whole.then(|| Unsent::new(&self.0));
            Sending { body, rest: Bytes::new(), busy: self, _unsent: unsent }
        })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

impl Unsent {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.unsent.fetch_add(1, Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.0.unsent.fetch_sub(1, Relaxed);
        self.0.moved.store(true, Relaxed);
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Sending {
    fn piece(&mut self) -> Bytes {
        let data = self.rest.split_to(self.rest.len().min(PIECE));
        let counts = &self.busy.0;
        Bytes::from_owner(Piece { data, _unsent: Unsent::new(counts), _busy: Busy::new(counts) })
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) if data.len() < LARGE => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() {
            return self.body.size_hint();
        }
        let rest = self.rest.len() as u64;
        self.body.size_hint().exact().map_or_else(SizeHint::new, |bytes| SizeHint::with_exact(bytes + rest))
    }
}
