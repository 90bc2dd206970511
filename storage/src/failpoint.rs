//! Stations of a write and of a message at which a test ends the process, and bugs that a test plants: by the environment variable
//! `FAILPOINTS`, as the crate `fail` reads it.
//!
//! Both functions are empty unless the feature `failpoints` is on, which is so in builds with tests in them alone, and unless assertions
//! for debugging are too, which is so in none that ships.

use std::process;

/// Ends the process, as a crash would: nothing is dropped, flushed or closed. Only where a test has set this station to `return`, or to
/// `3*off->return` for the fourth time that it is reached.
#[inline]
pub fn at(station: &str) {
    if is_set(station) {
        process::abort();
    }
}

/// Whether a test has planted this bug, to see that it is found.
#[inline]
#[must_use]
pub fn planted(bug: &str) -> bool {
    is_set(bug)
}

#[cfg(all(feature = "failpoints", debug_assertions))]
fn is_set(name: &str) -> bool {
    static READ: std::sync::Once = std::sync::Once::new();
    // Its end would forget what the environment has set.
    READ.call_once(|| std::mem::forget(fail::FailScenario::setup()));
    fail::fail_point!(name, |_| true);
    false
}

#[cfg(not(all(feature = "failpoints", debug_assertions)))]
#[inline]
const fn is_set(_name: &str) -> bool {
    false
}
