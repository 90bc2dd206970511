//! When to try again: exponential backoff with jitter, and the clock for that.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::Rng as _;

/// The delays between attempts at one thing.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self::up_to(LONGEST)
    }

    /// With another bound than 5 s.
    pub(crate) const fn up_to(longest: Duration) -> Self {
        Self { next: FIRST, longest }
    }

    /// The next delay: it doubles up to the bound, of which a random half is taken, so that many who failed together do not come
    /// back together.
    pub(crate) fn delay(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(self.longest);
        rand::rng().random_range(longest / 2..=longest)
    }

    /// After a success.
    pub(crate) const fn reset(&mut self) {
        self.next = FIRST;
    }
}

/// When a message that was refused `attempts` times is due again: from 0.1 s, doubling up to 5 minutes.
pub(crate) fn after_refusals(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 12)).unwrap_or_default();
    let longest = (FIRST * 2_u32.pow(doublings)).min(Duration::from_secs(300));
    rand::rng().random_range(longest / 2..=longest)
}

/// The present moment, in microseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "bookkeeping of the messages themselves; the services' clock comes in with them"
)]
pub(crate) fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    micros(since_epoch)
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound() {
        let mut backoff = Backoff::new();
        let delays: Vec<Duration> = std::iter::repeat_with(|| backoff.delay()).take(20).collect();
        assert!(delays[0] <= FIRST && delays[0] >= FIRST / 2);
        assert!(delays[19] <= LONGEST && delays[19] >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.delay() <= FIRST);
        assert!(after_refusals(0) <= FIRST);
        assert!(after_refusals(i32::MAX) <= Duration::from_secs(300));
    }
}
