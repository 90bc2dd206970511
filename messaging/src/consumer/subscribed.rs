//! A subscription as all its partitions work on it.

use storage::Database;
use tokio::sync::Semaphore;

use super::handler::{Deduplication, Handler};
use crate::topology::Subscription;

pub(super) struct Subscribed {
    pub(super) database: Database,
    pub(super) subscription: Subscription,
    pub(super) deduplication: Deduplication,
    pub(super) handler: Box<dyn Handler>,
    pub(super) permits: Permits,
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
