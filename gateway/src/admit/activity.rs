//! Whether anything happens on a connection: one that only keeps its slot must give it back to those who ask, and so must one that takes no
//! answers, or takes them too slowly. An answer is under way until its last byte is written, and not only until the library has it, and
//! counts against the budget of its client as long.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::budget::{Account, Permit};

/// Longer data is written in pieces of at most so many bytes, so that it is seen how far it is.
const LARGE: usize = 16 << 10;
const PIECE: usize = 64 << 10;

/// What an answer takes beside its bytes, about: the state of a stream of HTTP/2, and a task.
pub(crate) const OVERHEAD: usize = 2 << 10;

/// The slowest that a client may take its answers, in bytes a second, after the time that a connection may be idle: 64 kbit/s, which is
/// less than any network of phones has.
const SLOWEST: usize = 8 << 10;

/// How long a client may take for so many bytes, on a connection that may be idle for so long.
pub(crate) fn patience(idle: Duration, bytes: usize) -> Duration {
    idle + Duration::from_secs_f64(bytes as f64 / SLOWEST as f64)
}

/// The requests of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Activity(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    /// How long it may take nothing.
    idle: Duration,
    /// What its client may make the edge keep.
    account: Arc<Account>,
    /// Requests whose answers have not been sent whole.
    open: AtomicUsize,
    /// When each answer, or each part of a stream, has to be written that is there and not written. Equal ones are the same to everybody.
    unsent: Mutex<Vec<Instant>>,
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

/// Bytes that are there and not written, until it is dropped.
#[derive(Debug)]
struct Unsent {
    counts: Arc<Counts>,
    until: Instant,
    permit: Permit,
}

/// A part of an answer, until it is written.
#[derive(Debug)]
struct Piece {
    data: Bytes,
    _unsent: Unsent,
}

/// A body that keeps its connection busy until it is sent.
#[derive(Debug)]
pub(crate) struct Sending {
    body: Body,
    /// Of the last data, what is not in pieces yet.
    rest: Bytes,
    /// What counts of the answer and is in no piece yet.
    unsent: Option<Unsent>,
    /// Whether that is the whole answer; of one whose length is not known it is the data that is there.
    whole: bool,
    busy: Busy,
}

impl Activity {
    /// That of a connection which may be idle for so long.
    pub(crate) fn new(idle: Duration, account: Arc<Account>) -> Self {
        let (open, unsent) = (AtomicUsize::new(0), Mutex::default());
        let (asked, moved) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Counts { idle, account, open, unsent, asked, moved }))
    }

    /// Notes a request.
    pub(crate) fn begin(&self) -> Busy {
        self.0.asked.store(true, Relaxed);
        self.0.open.fetch_add(1, Relaxed);
        Busy(Arc::clone(&self.0))
    }

    /// What it does, and did since the last time that this was asked.
    pub(crate) fn since_last(&self) -> State {
        let counts = &*self.0;
        let (asked, moved) = (counts.asked.swap(false, Relaxed), counts.moved.swap(false, Relaxed));
        if !counts.unsent().is_empty() {
            // A request that only just came has an answer that could not move yet.
            return if asked || moved { State::Busy } else { State::Stuck };
        }
        if asked || moved || counts.open.load(Relaxed) > 0 { State::Busy } else { State::Idle }
    }

    /// Whether a request is under way, or anything of an answer is not written.
    pub(crate) fn is_open(&self) -> bool {
        self.0.open.load(Relaxed) > 0 || !self.0.unsent().is_empty()
    }

    /// When the first of the answers that are there has to be written.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.0.unsent().iter().min().copied()
    }
}

impl Counts {
    fn unsent(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Busy {
    /// The answer, under way until its body is sent.
    pub(crate) fn until_sent(self, response: Response) -> http::Response<Sending> {
        response.map(|body| {
            let length = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
            let unsent = length.filter(|bytes| *bytes > 0).map(|bytes| Unsent::new(&self.0, bytes));
            Sending { body, rest: Bytes::new(), unsent, whole: length.is_some(), busy: self }
        })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

impl Unsent {
    fn new(counts: &Arc<Counts>, bytes: usize) -> Self {
        let until = Instant::now() + patience(counts.idle, bytes);
        Self::of(counts, until, counts.account.count(bytes + OVERHEAD))
    }

    fn of(counts: &Arc<Counts>, until: Instant, permit: Permit) -> Self {
        counts.unsent().push(until);
        Self { counts: Arc::clone(counts), until, permit }
    }

    fn split(&mut self, bytes: usize) -> Self {
        Self::of(&self.counts, self.until, self.permit.split(bytes))
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let mut unsent = self.counts.unsent();
        if let Some(place) = unsent.iter().position(|until| *until == self.until) {
            unsent.swap_remove(place);
        }
        drop(unsent);
        self.counts.moved.store(true, Relaxed);
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Sending {
    /// The next part of the data that is there.
    fn piece(&mut self) -> Bytes {
        let bytes = if self.rest.len() < LARGE { self.rest.len() } else { self.rest.len().min(PIECE) };
        let data = self.rest.split_to(bytes);
        let is_last = self.rest.is_empty() && (!self.whole || self.body.is_end_stream());
        let unsent = match &mut self.unsent {
            Some(unsent) if !is_last => Some(unsent.split(bytes)),
            _ => self.unsent.take(),
        };
        let unsent = unsent.unwrap_or_else(|| Unsent::new(&self.busy.0, bytes));
        Bytes::from_owner(Piece { data, _unsent: unsent })
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        while self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => {
                    if !self.whole && !data.is_empty() {
                        self.unsent = Some(Unsent::new(&self.busy.0, data.len()));
                    }
                    self.rest = data;
                }
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
