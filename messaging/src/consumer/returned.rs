//! What a process remembers of its attempts at messages that come back.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What became of a message that was chosen to be handled.
pub(super) enum Chosen<T> {
    /// It was tried.
    Tried(T),
    /// It is paused, or behind another one of its key.
    PutBack,
    /// Another process was faster, or somebody has discarded it.
    Gone,
}

/// The messages whose last attempt came back with a failure, and since when others get in the way of each, if they do.
#[derive(Default)]
pub(super) struct Returned(Mutex<HashMap<i64, Option<Instant>>>);

impl Returned {
    /// The last attempts at these have come back.
    pub(super) fn add(&self, seqs: &[i64]) {
        let mut known = self.known();
        for seq in seqs {
            known.entry(*seq).or_default();
        }
    }

    pub(super) fn contains(&self, seq: i64) -> bool {
        self.known().contains_key(&seq)
    }

    /// For how long others have been in the way of it.
    pub(super) fn contended_for(&self, seq: i64) -> Duration {
        self.known().entry(seq).or_default().get_or_insert_with(Instant::now).elapsed()
    }

    pub(super) fn remove(&self, seq: i64) {
        self.known().remove(&seq);
    }

    pub(super) fn retain(&self, there: &HashSet<i64>) {
        self.known().retain(|seq, _| there.contains(seq));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<i64, Option<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
