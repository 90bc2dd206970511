//! Messages in flight: published, and awaited by their publisher until the last queue has acknowledged its copy.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use crate::envelope::Envelope;

/// The publisher of a window, as its messages know it.
#[derive(Default)]
pub(super) struct Flight {
    acknowledged: Notify,
    abandoned: AtomicBool,
}

impl Flight {
    /// From now on nobody waits for the messages: copies of them must not enter a queue any more.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }
}

/// A published message, shared by the queues it was routed to.
pub(super) struct Message {
    pub(super) envelope: Envelope,
    flight: Arc<Flight>,
    /// Queues that have not acknowledged their copy.
    open: AtomicUsize,
}

impl Message {
    pub(super) fn new(envelope: Envelope, flight: Arc<Flight>, copies: usize) -> Self {
        Self { envelope, flight, open: AtomicUsize::new(copies) }
    }

    /// One queue is done with its copy.
    pub(super) fn acknowledge(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.flight.acknowledged.notify_one();
        }
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// Waits until every queue is done with it. For one caller per flight.
    pub(super) async fn acknowledged(&self) {
        while !self.is_acknowledged() {
            self.flight.acknowledged.notified().await;
        }
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.flight.abandoned.load(Ordering::Acquire)
    }
}
