//! A subscription as all its partitions work on it.

use storage::Database;
use tokio::sync::Semaphore;

use super::{
    handler::{Deduplication, Handler},
    knowledge::Knowledge,
};
use crate::{
    envelope::Envelope,
    parked::Park,
    pauses::{Paused, Pauses},
    topology::{self, Subscription},
};

pub(super) struct Subscribed {
    pub(super) database: Database,
    pub(super) subscription: Subscription,
    pub(super) partitions: u16,
    pub(super) deduplication: Deduplication,
    pub(super) handler: Box<dyn Handler>,
    pub(super) park: Park,
    pub(super) pauses: Pauses,
    pub(super) knowledge: Knowledge,
    pub(super) permits: Permits,
}

impl Subscribed {
    pub(super) fn knows(&self, message: &Envelope) -> bool {
        self.subscription.kinds.contains(&message.kind)
    }

    /// Why messages like this one are paused, though their partition need not be, if they are.
    pub(super) fn pause_of(&self, kind: &str, key: &str) -> Option<Paused> {
        let number = || topology::partition(key, self.partitions);
        self.pauses.of_kind(&self.subscription.consumer, kind, number)
    }

    /// Whether what an operator sent back has to wait for the end of a pause.
    pub(super) fn is_paused(&self, kind: &str, key: &str) -> bool {
        self.pauses.any() && self.paused(kind, key).is_some()
    }

    /// Why it has to.
    pub(super) fn paused(&self, kind: &str, key: &str) -> Option<Paused> {
        let number = topology::partition(key, self.partitions);
        let partition = self.pauses.of_partition(&self.subscription.consumer, number);
        partition.or_else(|| self.pause_of(kind, key))
    }

    /// Whether nothing of the consumer may be handled.
    pub(super) fn is_paused_as_a_whole(&self) -> bool {
        let is_paused = |number| self.pauses.of_partition(&self.subscription.consumer, number).is_some();
        self.pauses.any() && (0..self.partitions).all(is_paused)
    }
}

/// Attempts at what waits apart at a time, of all partitions of a consumer: the first ones, which do not wait for the others, and those.
const AT_FIRST: usize = 3;
const AGAIN: usize = 2;

/// How many attempts there may be at what waits apart.
pub(super) struct Permits {
    pub(super) first: Semaphore,
    pub(super) again: Semaphore,
}

impl Permits {
    pub(super) fn new() -> Self {
        Self { first: Semaphore::new(AT_FIRST), again: Semaphore::new(AGAIN) }
    }
}
