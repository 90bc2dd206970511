//! Gauges of what somebody knows at any time (how many are open, who is there): they are set when they are looked at.

use std::sync::{Mutex, PoisonError};

type Refresh = Box<dyn Fn() -> bool + Send>;

static REFRESHES: Mutex<Vec<Refresh>> = Mutex::new(Vec::new());

/// Sets gauges each time that `/metrics` is read, as long as `refresh` says that what it measures is there. It may not block.
pub fn at_scrape(refresh: impl Fn() -> bool + Send + 'static) {
    REFRESHES.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(refresh));
}

/// Sets them all.
pub(super) fn refresh() {
    REFRESHES.lock().unwrap_or_else(PoisonError::into_inner).retain(|refresh| refresh());
}
