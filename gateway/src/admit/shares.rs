//! How many of a thing each has at once, and a bound on that.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// What each has, on all threads of an edge.
#[derive(Debug)]
pub(super) struct Shares<K> {
    most: usize,
    /// Locked for a moment. Who has nothing is not in it.
    taken: Mutex<HashMap<K, usize>>,
}

/// One thing that counts, until it is dropped.
#[derive(Debug)]
pub(super) struct Share<K: Eq + Hash> {
    of: Arc<Shares<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// At most so many for each.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// How many each may have.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// One more; `None` for who has as many as may be.
    pub(super) fn take(self: &Arc<Self>, key: K) -> Option<Share<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&key).copied().unwrap_or_default();
        if own >= self.most {
            return None;
        }
        taken.insert(key.clone(), own + 1);
        Some(Share { of: Arc::clone(self), key })
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.key) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_share_and_who_has_nothing_is_forgotten() {
        let shares = Shares::new(2);
        let (one, other) = (shares.take("a"), shares.take("a"));
        assert!(one.is_some() && other.is_some() && shares.take("a").is_none());
        let of_another = shares.take("b");
        assert!(of_another.is_some());
        drop(one);
        let again = shares.take("a");
        assert!(again.is_some() && shares.take("a").is_none());
        drop((other, again, of_another));
        assert!(shares.taken.lock().expect("no panic").is_empty());
    }
}
