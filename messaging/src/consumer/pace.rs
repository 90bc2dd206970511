//! How quickly a redrive goes: its rate, and how often it looks at what is paused.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Messages are sent back in steps of so long, or one by one where that is longer.
const STEP: Duration = Duration::from_millis(100);
/// So much of what was not sent in time is made up for,
const BEHIND: Duration = Duration::from_secs(2);
/// at so many times the rate, of which so much may go out together.
const FASTER: f64 = 1.08;
const TOGETHER: Duration = Duration::from_millis(250);
/// Messages of a step at most.
const MOST: u64 = 100;
/// Between two looks through all messages of a job that are paused, at most: it reads each of them.
const PAUSED: Duration = Duration::from_secs(60);

/// Messages that the counts of a pace can hold at least: with one, what a step is beyond it would be lost.
const LEAST: f64 = 2.0;

/// How many messages may be sent, and when.
pub(super) struct Pace {
    per_second: f64,
    /// Messages that should have been sent by now.
    owed: f64,
    /// Messages that may be sent without being too many at a time.
    allowed: f64,
    counted: Instant,
    next: Instant,
}

impl Pace {
    pub(super) fn new(per_second: i32) -> Self {
        let now = Instant::now();
        Self { per_second: per_second.into(), owed: 0.0, allowed: 0.0, counted: now, next: now + STEP }
    }

    /// Waits until at least one may be sent, and returns how many may be.
    pub(super) async fn due(&mut self) -> u64 {
        if self.per_second <= 0.0 {
            return MOST;
        }
        loop {
            sleep_until(self.next).await;
            let now = Instant::now();
            self.next = (self.next + STEP).max(now);
            let due = self.count(now.duration_since(self.counted));
            self.counted = now;
            if due > 0 {
                return due;
            }
        }
    }

    fn count(&mut self, passed: Duration) -> u64 {
        let at_rate = |time: Duration| time.as_secs_f64() * self.per_second;
        self.owed = (self.owed + at_rate(passed)).min(at_rate(BEHIND).max(LEAST));
        self.allowed = (self.allowed + at_rate(passed) * FASTER).min(at_rate(TOGETHER).max(LEAST));
        let credit = self.owed.min(self.allowed);
        (0..MOST).take_while(|many| *many as f64 + 1.0 <= credit).count() as u64
    }

    pub(super) fn sent(&mut self, messages: usize) {
        self.owed -= messages as f64;
        self.allowed -= messages as f64;
    }
}

/// How long to wait between two looks through all messages of a job that are paused.
pub(super) struct Looks {
    first: Duration,
    next: Duration,
}

impl Looks {
    /// So long at first.
    pub(super) const fn new(first: Duration) -> Self {
        Self { first, next: first }
    }

    /// The next wait: twice as long as the one before, up to [`PAUSED`].
    pub(super) fn rest(&mut self) -> Duration {
        let rest = self.next;
        self.next = (rest * 2).min(PAUSED);
        rest
    }

    /// Something has changed.
    pub(super) const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of each second, where each step takes so long.
    fn seconds(per_second: i32, steps: impl Fn(u32) -> u64) -> Vec<u64> {
        let (mut pace, mut now, mut sent, mut step) = (Pace::new(per_second), 0, vec![0; 10], 0);
        while now < 10_000 {
            let took = steps(step).min(10_000 - now);
            now += took;
            let due = pace.count(Duration::from_millis(took));
            pace.sent(usize::try_from(due).unwrap_or_default());
            sent[usize::try_from((now - 1) / 1_000).unwrap_or_default()] += due;
            step += 1;
        }
        sent
    }

    #[test]
    fn a_rate_is_held_by_steps_of_any_length() {
        for step in [7, 100, 130, 200] {
            for per_second in [1, 3, 50] {
                let sent = seconds(per_second, |_| step);
                let rate = u64::from(per_second.unsigned_abs());
                let (least, most) = (rate - rate / 10, rate + rate / 10);
                assert!(
                    sent[1..].iter().all(|sent| (least.saturating_sub(1)..=most + 1).contains(sent)),
                    "{step}: {sent:?}"
                );
                assert!(sent.iter().sum::<u64>().abs_diff(rate * 10) <= rate / 4 + 2, "{step}: {sent:?}");
            }
        }
    }

    #[test]
    fn a_pause_is_made_up_for_slowly() {
        // The twentieth step takes a second.
        let sent = seconds(50, |step| if step == 20 { 1_000 } else { 100 });
        assert!(sent.iter().all(|sent| *sent <= 65), "{sent:?}");
        assert!(sent.iter().sum::<u64>() >= 470, "{sent:?}");
    }

    /// A job of a million paused messages is not read through every five seconds for hours.
    #[test]
    fn looks_become_rare() {
        let mut looks = Looks::new(Duration::from_secs(5));
        let rests: Vec<u64> = std::iter::repeat_with(|| looks.rest().as_secs()).take(7).collect();
        assert_eq!(rests, [5, 10, 20, 40, 60, 60, 60]);
        looks.reset();
        assert_eq!(looks.rest(), Duration::from_secs(5));
    }
}
