//! Calls whose callers do not wait any more: how many of them are reset at a time.
//!
//! HTTP/2 shows a service that nobody waits by a reset. A service closes a connection on which more calls were begun and reset than it has
//! taken up (h2 allows 20, against floods: CVE-2023-44487), and with it the calls of everybody else. One that stands still for a
//! moment, while callers give up, would find that many. Beyond a few, what nobody waits for is left to be answered.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::ResponseFuture};
use http::Response;
use tokio::{runtime::Handle, time::timeout};

/// Resets that a service may not have seen yet: half of what the strictest allow.
const UNSEEN: u32 = 10;

/// How long an answer is waited for that nobody wants: as long as most requests have.
const UNWANTED: Duration = Duration::from_secs(15);

/// The calls of one connection.
#[derive(Debug, Default)]
pub(super) struct Cancellations {
    begun: AtomicU64,
    /// How many had begun when one was reset last.
    at_reset: AtomicU64,
    unseen: AtomicU32,
}

impl Cancellations {
    /// The call that begins with these halves of a stream.
    pub(super) fn begin(self: &Arc<Self>, response: ResponseFuture) -> Answering {
        let number = self.begun.fetch_add(1, Relaxed) + 1;
        Answering { response: Some(response), number, calls: Arc::clone(self) }
    }

    /// A service reads in order: who answers what began after the resets has seen those.
    fn answered(&self, number: u64) {
        if self.unseen.load(Relaxed) > 0 && number > self.at_reset.load(Relaxed) {
            self.unseen.store(0, Relaxed);
        }
    }

    /// Whether one more may be reset now.
    fn may_reset(&self) -> bool {
        let counted =
            self.unseen.fetch_update(Relaxed, Relaxed, |unseen| (unseen < UNSEEN).then_some(unseen + 1));
        if counted.is_ok() {
            self.at_reset.store(self.begun.load(Relaxed), Relaxed);
        }
        counted.is_ok()
    }
}

/// The answer to a call, when it begins. Dropping it before shows the service that nobody waits any more, as a rule.
#[derive(Debug)]
pub(crate) struct Answering {
    response: Option<ResponseFuture>,
    number: u64,
    calls: Arc<Cancellations>,
}

impl Future for Answering {
    type Output = Result<Response<RecvStream>, h2::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // It is polled no more once it was ready.
        let Some(response) = &mut self.response else { return Poll::Pending };
        let outcome = ready!(Pin::new(response).poll(context));
        self.response = None;
        if outcome.is_ok() {
            self.calls.answered(self.number);
        }
        Poll::Ready(outcome)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let Some(response) = self.response.take() else { return };
        // Without a runtime the connection ends as well.
        let Ok(runtime) = Handle::try_current() else { return };
        if self.calls.may_reset() {
            return;
        }
        let (number, calls) = (self.number, Arc::clone(&self.calls));
        runtime.spawn(async move {
            if let Ok(Ok(_unwanted)) = timeout(UNWANTED, response).await {
                calls.answered(number);
            }
        });
    }
}

/// A call under way.
pub(crate) type Begun = (Answering, SendStream<Bytes>);
