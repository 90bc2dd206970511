//! One queue in memory: the copies that wait, and who may receive them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::flight::Message;

/// One queue's copy of a message.
pub(super) struct Queued {
    pub(super) message: Arc<Message>,
    pub(super) redelivered: bool,
}

/// The permit to receive from a queue; it passes on when dropped.
pub(super) type Permit = OwnedSemaphorePermit;

pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    /// Its single permit makes one of the subscribers the active one, the others wait for it in the order they came.
    permit: Arc<Semaphore>,
}

#[derive(Default)]
struct Waiting {
    copies: VecDeque<Queued>,
    /// Who holds it at present: the consumers of several processes may.
    holders: usize,
}

/// Holds a queue as long as it is there.
pub(super) struct Hold {
    queue: Arc<Queue>,
    resumed: watch::Sender<()>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.queue.waiting().holders -= 1;
        // One call too many costs a look.
        self.resumed.send_replace(());
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { waiting: Mutex::default(), arrived: Notify::new(), permit: Arc::new(Semaphore::new(1)) }
    }
}

impl Queue {
    /// Puts a copy at the end, or gives it back. Nobody is woken yet, so that a consumer finds a window and not its first message.
    /// Returns whether it was taken.
    pub(super) fn push(&self, message: &Arc<Message>) -> bool {
        let mut waiting = self.waiting();
        let takes = waiting.holders == 0;
        if takes {
            waiting.copies.push_back(Queued { message: Arc::clone(message), redelivered: false });
        } else {
            message.give_back();
        }
        takes
    }

    /// Wakes the consumer: something was pushed.
    pub(super) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// Removes what nobody waits for: its publisher sends it again, and two copies would be one too many.
    pub(super) fn withdraw_abandoned(&self) {
        self.waiting().copies.retain(|queued| !queued.message.is_abandoned());
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
                let there = waiting.copies.len().min(max);
                waiting.copies.drain(..there).collect()
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
            if waiting.holders > 0 {
                queued.message.give_back();
            } else if !queued.message.is_abandoned() {
                waiting.copies.push_front(Queued { redelivered: true, ..queued });
            }
        }
    }

    /// Gives back what waits, and what comes, as long as the answer is there, and says to `resumed` when that is over.
    pub(super) fn hold(self: Arc<Self>, resumed: watch::Sender<()>) -> Hold {
        let mut waiting = self.waiting();
        waiting.holders += 1;
        waiting.copies.drain(..).for_each(|queued| queued.message.give_back());
        drop(waiting);
        Hold { queue: self, resumed }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
