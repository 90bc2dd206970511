//! What a process knows of parked messages that others have to wait behind: hardly ever is there any, and then nobody looks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether any may be parked. Cloning shares it.
///
/// An attempt that does not look rests on "none". That is so for messages that the broker delivers for the first time: of one partition only
/// a single consumer is active, so whoever has parked a message ahead of them has done so here, which is known from its commit on, or was
/// active before, and then its commit is older than the first batch that is received here, after which the table is read.
/// What somebody may still be at comes again, marked as redelivered, and whoever handles that looks.
#[derive(Debug, Clone)]
pub(super) struct Knowledge(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    may_be: bool,
    /// How often any was found: who reads that there is none may have read too early.
    found: u64,
}

impl Knowledge {
    /// Nothing is known yet.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Known { may_be: true, found: 0 })))
    }

    pub(super) fn may_be(&self) -> bool {
        self.known().may_be
    }

    /// Some may be: one was parked, or is there, or somebody else could have parked one.
    pub(super) fn found(&self) {
        let mut known = self.known();
        known.may_be = true;
        known.found += 1;
    }

    /// To be given to [`Knowledge::none_since`], from before the table is read.
    pub(super) fn before(&self) -> u64 {
        self.known().found
    }

    /// There is none, unless any was found since.
    pub(super) fn none_since(&self, before: u64) {
        let mut known = self.known();
        if known.found == before {
            known.may_be = false;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_too_early_changes_nothing() {
        let knowledge = Knowledge::new();
        assert!(knowledge.may_be());
        let before = knowledge.before();
        knowledge.found();
        knowledge.none_since(before);
        assert!(knowledge.may_be());
        knowledge.none_since(knowledge.before());
        assert!(!knowledge.may_be());
    }
}
