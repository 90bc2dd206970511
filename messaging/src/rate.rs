//! How many messages leave a second, lately: what an estimate rests on.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Seconds that are looked back at.
const WINDOW: u64 = 10;

/// The rate at which one part gets rid of messages.
#[derive(Debug)]
pub(crate) struct Rate {
    began: Instant,
    /// Of each second in which any left: its number since the beginning, and how many. Taken once for a batch.
    seconds: Mutex<VecDeque<(u64, u64)>>,
}

impl Rate {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), seconds: Mutex::default() }
    }

    /// So many have left.
    pub(crate) fn count(&self, messages: usize) {
        self.count_at(self.began.elapsed().as_secs(), messages);
    }

    /// Messages a second; 0 when none has left lately.
    pub(crate) fn per_second(&self) -> f64 {
        self.per_second_at(self.began.elapsed().as_secs())
    }

    fn count_at(&self, second: u64, messages: usize) {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        match seconds.back_mut() {
            Some((last, count)) if *last == second => *count += messages as u64,
            _ => seconds.push_back((second, messages as u64)),
        }
        while seconds.front().is_some_and(|(first, _)| first + WINDOW < second) {
            seconds.pop_front();
        }
    }

    fn per_second_at(&self, now: u64) -> f64 {
        let seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = seconds.iter().filter(|(second, _)| second + WINDOW > now);
        let count: u64 = lately.map(|(_, count)| count).sum();
        // The present second has only begun.
        count as f64 / (now + 1).min(WINDOW) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_ago_does_not_count() {
        let rate = Rate::new();
        let is = |now, expected: f64| (rate.per_second_at(now) - expected).abs() < 1e-9;
        assert!(is(0, 0.0));
        rate.count_at(0, 30);
        rate.count_at(0, 20);
        assert!(is(0, 50.0) && is(1, 25.0));
        rate.count_at(4, 50);
        assert!(is(9, 10.0) && is(12, 5.0) && is(20, 0.0));
        rate.count_at(30, 1);
        assert_eq!(rate.seconds.lock().expect("no panic").len(), 1);
    }
}
