//! Whether anything happens on a connection: one that only keeps its slot must give it back to those who ask.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// The requests of one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Requests whose answers have not been sent whole.
    open: AtomicUsize,
    /// Whether a request came since somebody looked.
    asked: AtomicBool,
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Counts>);

/// A body that keeps its connection busy until it is sent.
#[derive(Debug)]
pub(crate) struct Sending {
    body: Body,
    _busy: Busy,
}

impl Activity {
    /// Notes a request.
    pub(crate) fn begin(&self) -> Busy {
        self.0.open.fetch_add(1, Relaxed);
        self.0.asked.store(true, Relaxed);
        Busy(Arc::clone(&self.0))
    }

    /// Whether a request is under way, or one came since the last time that this was asked.
    pub(crate) fn since_last(&self) -> bool {
        self.0.asked.swap(false, Relaxed) || self.0.open.load(Relaxed) > 0
    }
}

impl Busy {
    /// The answer, under way until its body is sent.
    pub(crate) fn until_sent(self, response: Response) -> http::Response<Sending> {
        response.map(|body| Sending { body, _busy: self })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
