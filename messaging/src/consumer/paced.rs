//! Redrives in the background, at a rate: of several processes the one with the lease runs the jobs of a consumer, one after another.

use std::{sync::Arc, time::Duration};

use storage::{
    Database, Failure,
    lease::{Attempt, Lease},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{lanes, subscribed::Subscribed};
use crate::{
    observe,
    parked::jobs::{self, Next},
    pauses,
    retry::Backoff,
};

/// How long a job waits at most until a process finds it that did not start it.
const POLL: Duration = Duration::from_secs(5);
/// How long another process waits for the jobs of one that has died.
const TERM: Duration = Duration::from_secs(6);
/// The lease is given up before its end: no message is begun after it.
const MARGIN: Duration = Duration::from_secs(1);
/// Messages are sent back in steps of so long, or one by one where that is longer.
const STEP: Duration = Duration::from_millis(100);
/// So much of what was not sent in time is made up for,
const BEHIND: Duration = Duration::from_secs(2);
/// at so many times the rate, of which so much may go out together.
const FASTER: f64 = 1.08;
const TOGETHER: Duration = Duration::from_millis(250);
/// Messages of a step at most.
const MOST: u64 = 100;
/// Between two looks at a job whose last messages others are at.
const OTHERS: Duration = Duration::from_secs(1);

/// Runs the jobs of a consumer until `stop`.
pub(super) async fn run(shared: &Arc<Subscribed>, wake: &Notify, stop: &CancellationToken) {
    let holder = holder(&shared.database);
    while !stop.is_cancelled() {
        let rest = match step(shared, &holder, stop).await {
            Ok(rest) => rest,
            Err(failure) => {
                observe::storage_failed(&shared.subscription.consumer, &failure);
                POLL
            }
        };
        tokio::select! {
            () = sleep(rest) => {}
            () = wake.notified() => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Who holds the lease. A SQLite file belongs to one process at a time: after a crash the next one goes on at once.
fn holder(database: &Database) -> String {
    if database.is_embedded() {
        return "the process with the file".to_owned();
    }
    format!("process {} ({:016x})", std::process::id(), rand::random::<u64>())
}

/// Runs jobs as long as there are any; returns how long to rest.
async fn step(shared: &Arc<Subscribed>, holder: &str, stop: &CancellationToken) -> Result<Duration, Failure> {
    let consumer = &shared.subscription.consumer;
    if jobs::running(shared.database.read(), consumer).await?.is_none() {
        return Ok(POLL);
    }
    let name = format!("redrive.{consumer}");
    let lease = match Lease::attempt(&shared.database, &name, holder, TERM).await? {
        Attempt::Won(lease) => lease,
        Attempt::Taken(rest) => return Ok(rest.min(POLL)),
    };
    let ran = tokio::select! {
        ran = run_all(shared, stop) => ran,
        () = lease.keep(MARGIN) => Ok(()),
    };
    lease.release().await?;
    ran.map(|()| Duration::ZERO)
}

async fn run_all(shared: &Arc<Subscribed>, stop: &CancellationToken) -> Result<(), Failure> {
    while let Some((job, per_second)) =
        jobs::running(shared.database.read(), &shared.subscription.consumer).await?
    {
        if stop.is_cancelled() {
            return Ok(());
        }
        run_one(shared, job, per_second, stop).await?;
    }
    Ok(())
}

/// Runs a job until it is at its end, or has to wait for the end of a pause: it may be stopped meanwhile.
async fn run_one(
    shared: &Arc<Subscribed>,
    job: i64,
    per_second: i32,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let (mut pace, mut pass, mut others) = (Pace::new(per_second), Pass::default(), Backoff::up_to(OTHERS));
    loop {
        let pauses = shared.pauses.now();
        if shared.is_paused_as_a_whole() {
            return wait_out(shared, &pauses, stop).await;
        }
        let most = tokio::select! {
            most = pace.due() => most,
            () = stop.cancelled() => return Ok(()),
        };
        match next(shared, job, pass.after, most).await? {
            Next::Ended => return Ok(()),
            Next::Skip { after } => pass = Pass { after, ..pass },
            Next::Try { messages, after } => {
                pass = Pass { after, tried: true };
                others.reset();
                pace.sent(messages.len());
                try_all(shared, messages).await?;
            }
            // What was not free at the beginning may be by now.
            Next::Over if pass.tried => pass = Pass::default(),
            Next::Over if finish(shared, job).await? => return Ok(()),
            Next::Over if shared.pauses.any() => return wait_out(shared, &pauses, stop).await,
            Next::Over => {
                pass = Pass::default();
                tokio::select! {
                    () = sleep(others.delay()) => {}
                    () = stop.cancelled() => return Ok(()),
                }
            }
        }
    }
}

/// How far the messages of a job were looked through, and whether any was tried.
#[derive(Default)]
struct Pass {
    after: i64,
    tried: bool,
}

async fn wait_out(
    shared: &Subscribed,
    pauses: &[pauses::Model],
    stop: &CancellationToken,
) -> Result<(), Failure> {
    tokio::select! {
        () = shared.pauses.change(pauses) => {}
        () = sleep(POLL) => {}
        () = stop.cancelled() => {}
    }
    Ok(())
}

async fn next(shared: &Arc<Subscribed>, job: i64, after: i64, most: u64) -> Result<Next, Failure> {
    let of = Arc::clone(shared);
    let next = shared.database.transact(move |transaction| {
        let of = Arc::clone(&of);
        Box::pin(async move {
            let is_paused = |kind: &str, key: &str| of.is_paused(kind, key);
            jobs::next(transaction, job, of.park, after, most, is_paused).await
        })
    });
    next.await
}

async fn finish(shared: &Subscribed, job: i64) -> Result<bool, Failure> {
    let park = shared.park;
    let finished = shared
        .database
        .transact(move |transaction| Box::pin(async move { jobs::finish(transaction, job, park).await }));
    finished.await
}

/// Handles each message in a transaction of its own; those of one key one after another.
async fn try_all(shared: &Arc<Subscribed>, messages: Vec<(i64, String)>) -> Result<(), Failure> {
    let lanes = lanes::by_key(messages, |(_, key)| key);
    let lanes = lanes.into_iter().map(|lane| async move {
        for (seq, _) in lane {
            shared.redrive_of_job(seq).await?;
        }
        Ok(())
    });
    futures_util::future::join_all(lanes).await.into_iter().collect()
}

/// Messages that the counts of a pace can hold at least: with one, what a step is beyond it would be lost.
const LEAST: f64 = 2.0;

/// How many messages may be sent, and when.
struct Pace {
    per_second: f64,
    /// Messages that should have been sent by now.
    owed: f64,
    /// Messages that may be sent without being too many at a time.
    allowed: f64,
    counted: Instant,
    next: Instant,
}

impl Pace {
    fn new(per_second: i32) -> Self {
        let now = Instant::now();
        Self { per_second: per_second.into(), owed: 0.0, allowed: 0.0, counted: now, next: now + STEP }
    }

    /// Waits until at least one may be sent, and returns how many may be.
    async fn due(&mut self) -> u64 {
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

    fn sent(&mut self, messages: usize) {
        self.owed -= messages as f64;
        self.allowed -= messages as f64;
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
}
