//! How many of a thing each has at once.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What each has, on all threads of an edge.
#[derive(Debug)]
pub(super) struct Shares<K> {
    /// Locked for a moment.
    taken: Mutex<Taken<K>>,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    /// Who has nothing is not in it.
    each: HashMap<K, usize>,
}

/// One thing that counts, until it is dropped.
#[derive(Debug)]
pub(super) struct Share<K: Eq + Hash> {
    of: Arc<Shares<K>>,
    key: K,
}

impl<K: Eq + Hash> Shares<K> {
    fn taken(&self) -> MutexGuard<'_, Taken<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many all have.
    pub(super) fn count(&self) -> usize {
        self.taken().all
    }
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// Nobody has anything.
    pub(super) fn none() -> Arc<Self> {
        Arc::new(Self { taken: Mutex::new(Taken { all: 0, each: HashMap::new() }) })
    }

    /// One more, if there `may` be one by what this one has already, and what all have.
    pub(super) fn take(self: &Arc<Self>, key: K, may: impl FnOnce(usize, usize) -> bool) -> Option<Share<K>> {
        let mut taken = self.taken();
        let own = taken.each.get(&key).copied().unwrap_or_default();
        if !may(own, taken.all) {
            return None;
        }
        taken.each.insert(key.clone(), own + 1);
        taken.all += 1;
        Some(Share { of: Arc::clone(self), key })
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        taken.all -= 1;
        if let Some(own) = taken.each.get_mut(&self.key) {
            *own -= 1;
            if *own == 0 {
                taken.each.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_share_and_who_has_nothing_is_forgotten() {
        let shares = Shares::none();
        let take = |key| shares.take(key, |own, all| own < 2 && all < 3);
        let (one, other) = (take("a"), take("a"));
        assert!(one.is_some() && other.is_some() && take("a").is_none());
        let of_another = take("b");
        assert!(of_another.is_some() && take("b").is_none() && shares.count() == 3);
        drop(one);
        let again = take("a");
        assert!(again.is_some() && take("a").is_none());
        drop((other, again, of_another));
        assert!(shares.count() == 0 && shares.taken().each.is_empty());
    }
}
