//! Who waits for a look at the keys of the issuer: so many at once, of whom no network has so many that none is left for others.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chassis::peer::network;

/// Callers that wait at once; one more is refused.
const MOST: usize = 512;

/// A network, or all callers of whom nobody knows where they come from.
type Origin = Option<IpAddr>;

/// Those who wait, by where they come from.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<HashMap<Origin, usize>>);

/// One who waits, until it is dropped.
pub(crate) struct Permit<'w> {
    waiting: &'w Waiting,
    from: Origin,
}

impl Waiting {
    /// A permit for a caller from this address. Nobody has more than are still free: a network alone has half of them at most, two have a third
    /// each, and it takes as many networks as there are permits to leave none for others.
    pub(crate) fn enter(&self, address: Option<IpAddr>) -> Option<Permit<'_>> {
        let from = address.map(network);
        let mut each = self.each();
        let taken: usize = each.values().sum();
        let own = each.get(&from).copied().unwrap_or_default();
        if own >= MOST.saturating_sub(taken) {
            return None;
        }
        each.insert(from, own + 1);
        Some(Permit { waiting: self, from })
    }

    fn each(&self) -> MutexGuard<'_, HashMap<Origin, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut each = self.waiting.each();
        if let Some(own) = each.get_mut(&self.from) {
            *own -= 1;
            if *own == 0 {
                each.remove(&self.from);
            }
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}
