//! One queue in memory: the copies that wait, and who may receive them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};

use super::flight::Message;

/// One queue's copy of a message.
pub(super) struct Queued {
    pub(super) message: Arc<Message>,
    pub(super) redelivered: bool,
}

/// The permit to receive from a queue; it passes on when dropped.
pub(super) type Permit = OwnedSemaphorePermit;

pub(super) struct Queue {
    waiting: Mutex<VecDeque<Queued>>,
    arrived: Notify,
    /// Its single permit makes one of the subscribers the active one, the others wait for it in the order they came.
    permit: Arc<Semaphore>,
}

impl Default for Queue {
    fn default() -> Self {
        Self { waiting: Mutex::default(), arrived: Notify::new(), permit: Arc::new(Semaphore::new(1)) }
    }
}

impl Queue {
    /// Puts a copy at the end. Nobody is woken yet, so that a consumer finds a window and not its first message.
    pub(super) fn push(&self, message: Arc<Message>) {
        self.waiting().push_back(Queued { message, redelivered: false });
    }

    /// Wakes the consumer: something was pushed.
    pub(super) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// Removes what nobody waits for: its publisher sends it again, and two copies would be one too many.
    pub(super) fn withdraw_abandoned(&self) {
        self.waiting().retain(|queued| !queued.message.is_abandoned());
    }

    /// The permit, if nobody has it.
    pub(super) fn try_permit(&self) -> Option<Permit> {
        Arc::clone(&self.permit).try_acquire_owned().ok()
    }

    /// Waits for the permit.
    pub(super) async fn permit(&self) -> Result<Permit, AcquireError> {
        Arc::clone(&self.permit).acquire_owned().await
    }

    /// Waits for at least one copy and takes what is there, at most `max`; `max` is not 0.
    pub(super) async fn take(&self, max: usize) -> Vec<Queued> {
        loop {
            let taken: Vec<Queued> = {
                let mut waiting = self.waiting();
                let there = waiting.len().min(max);
                waiting.drain(..there).collect()
            };
            if !taken.is_empty() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    /// Puts copies that were delivered and not acknowledged back to the head, in their order.
    pub(super) fn put_back(&self, unacked: impl DoubleEndedIterator<Item = Queued>) {
        let mut waiting = self.waiting();
        for queued in unacked.rev() {
            // Looked at under the lock: a flight abandoned later finds the copy in the queue and withdraws it.
            if !queued.message.is_abandoned() {
                waiting.push_front(Queued { redelivered: true, ..queued });
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Queued>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
