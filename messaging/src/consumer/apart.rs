//! What waits apart: the messages of keys that others get in the way of, unacknowledged and tried again while the rest of their partition
//! goes on. The order of a key is kept: what comes of it meanwhile waits behind.

use std::{collections::HashMap, time::Instant};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};

use super::{
    attempts::Attempts,
    part::{Key, Part, key},
};
use crate::broker::Delivery;

/// Messages that may wait apart before the partition waits for them: half of what is received and not acknowledged, so that the broker
/// goes on delivering.
const MESSAGES: usize = 200;
/// The same in bytes of their payloads.
const BYTES: usize = 32 * 1024 * 1024;

/// The keys of one partition that wait apart.
pub(super) struct Apart<'p> {
    attempts: &'p Attempts<'p>,
    trying: FuturesUnordered<BoxFuture<'p, Settled>>,
    /// By each key that is being tried: what has come of it since.
    behind: HashMap<Key, Option<Behind>>,
    messages: usize,
    bytes: usize,
}

/// What waits behind others of its key.
struct Behind {
    /// When the first one came.
    since: Instant,
    deliveries: Vec<Delivery>,
}

/// The messages of a key once no more attempts are made at them.
struct Settled {
    key: Key,
    part: Part,
    /// Each was applied or parked, which they were not when the process stops.
    done: bool,
}

impl<'p> Apart<'p> {
    pub(super) fn new(attempts: &'p Attempts<'p>) -> Self {
        let (trying, behind) = (FuturesUnordered::new(), HashMap::new());
        let none = Self { attempts, trying, behind, messages: 0, bytes: 0 };
        none.show();
        none
    }

    pub(super) fn is_empty(&self) -> bool {
        self.trying.is_empty()
    }

    /// Whether so much waits that nothing more is to be received.
    pub(super) fn is_full(&self) -> bool {
        self.messages >= MESSAGES || self.bytes >= BYTES
    }

    /// Takes the messages of a part, each key by itself. None of these keys may wait here already.
    pub(super) fn take(&mut self, part: &Part) {
        self.came(&part.deliveries);
        for (key, part) in part.by_key() {
            self.attempt(key, part);
        }
    }

    /// Keeps those messages of a part that have to wait behind others of their keys, and returns the rest.
    pub(super) fn hold_back(&mut self, part: Part) -> Part {
        if self.behind.is_empty() || part.fault.is_some() {
            return part;
        }
        let (rest, waiting) = part.without(|delivery| self.behind.contains_key(&key(delivery)));
        self.came(&waiting);
        for delivery in waiting {
            let behind = self.behind.entry(key(&delivery)).or_default();
            let behind =
                behind.get_or_insert_with(|| Behind { since: Instant::now(), deliveries: Vec::new() });
            behind.deliveries.push(delivery);
        }
        rest
    }

    /// Waits until the messages of a key are applied or parked, and returns their tags. For who has looked that there are any.
    pub(super) async fn settled(&mut self) -> Vec<u64> {
        let Some(Settled { key, part, done }) = self.trying.next().await else { return Vec::new() };
        self.left(&part.deliveries);
        if let Some(Behind { since, deliveries }) = self.behind.remove(&key).flatten() {
            self.attempt(key, Part::behind(deliveries, since));
        }
        if done { part.tags().collect() } else { Vec::new() }
    }

    fn attempt(&mut self, key: Key, part: Part) {
        self.behind.insert(key.clone(), None);
        let attempts = self.attempts;
        self.trying.push(Box::pin(async move {
            let done = attempts.settle_apart(part.clone()).await;
            Settled { key, part, done }
        }));
    }

    fn came(&mut self, deliveries: &[Delivery]) {
        self.messages += deliveries.len();
        self.bytes += bytes(deliveries);
        self.show();
    }

    fn left(&mut self, deliveries: &[Delivery]) {
        self.messages -= deliveries.len();
        self.bytes -= bytes(deliveries);
        self.show();
    }

    fn show(&self) {
        self.attempts.health.waiting(self.messages);
    }
}

impl Drop for Apart<'_> {
    fn drop(&mut self) {
        // The broker delivers them again.
        self.messages = 0;
        self.show();
    }
}

fn bytes(deliveries: &[Delivery]) -> usize {
    deliveries.iter().map(Delivery::bytes).sum()
}
