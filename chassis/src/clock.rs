//! The only place that reads the time and makes ids, so that a test can fix both.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

/// A moment, in microseconds since the Unix epoch: what the databases store.
pub type Micros = i64;

/// Where a service takes its time and its ids from.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The present moment.
    fn now(&self) -> Micros;

    /// A new id that no other call has given: UUIDv7 (RFC 9562), so ids sort by their time.
    fn new_id(&self) -> Uuid;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The machine's clock, as services take it.
    #[must_use]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everyone else must take")]
    fn now(&self) -> Micros {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "this is where everyone else must take ids from")]
    fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// The moment inside an id, to the millisecond; `None` when it is no UUIDv7.
#[must_use]
pub fn moment_of(id: Uuid) -> Option<Micros> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    i64::try_from(seconds).ok()?.checked_mul(1_000_000)?.checked_add(i64::from(nanos) / 1_000)
}

/// A moment as a protobuf Timestamp.
#[must_use]
pub fn timestamp(at: Micros) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.div_euclid(1_000_000),
        // Below 10^9 by construction.
        nanos: i32::try_from(at.rem_euclid(1_000_000) * 1_000).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_the_epoch_keep_positive_nanos() {
        let at = timestamp(-1);
        assert_eq!((at.seconds, at.nanos), (-1, 999_999_000));
    }

    #[test]
    fn ids_sort_by_time() {
        let ids: Vec<Uuid> = std::iter::repeat_with(|| SystemClock.new_id()).take(1_000).collect();
        assert!(ids.is_sorted());
        let moments: Vec<_> = ids.iter().map(|id| moment_of(*id)).collect();
        assert!(moments.is_sorted() && moments[0].is_some_and(|at| SystemClock.now() - at < 1_000_000));
    }
}
