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
    /// Queues that are not done with their copy.
    open: AtomicUsize,
    /// A queue whose consumer takes nothing has given its copy back.
    given_back: AtomicBool,
}

impl Message {
    pub(super) fn new(envelope: Envelope, flight: Arc<Flight>, copies: usize) -> Self {
        Self { envelope, flight, open: AtomicUsize::new(copies), given_back: AtomicBool::new(false) }
    }

    /// One queue is done with its copy.
    pub(super) fn acknowledge(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.flight.acknowledged.notify_one();
        }
    }

    /// One queue does not take its copy.
    pub(super) fn give_back(&self) {
        self.given_back.store(true, Ordering::Release);
        self.acknowledge();
    }

    /// Whether it has to be published again, whatever others have done with their copies.
    pub(super) fn is_given_back(&self) -> bool {
        self.given_back.load(Ordering::Acquire)
    }

    /// Whether every queue is done with its copy.
    pub(super) fn is_settled(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// Waits until every queue is done with it. For one caller per flight.
    pub(super) async fn settled(&self) {
        while !self.is_settled() {
            self.flight.acknowledged.notified().await;
        }
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.flight.abandoned.load(Ordering::Acquire)
    }
}
