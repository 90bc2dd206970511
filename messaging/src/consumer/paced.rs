//! Redrives in the background, at a rate: of several processes the one with the lease runs the jobs of a consumer, one after another.

use std::{sync::Arc, time::Duration};

use storage::{
    Failure, Outage,
    lease::{Attempt, Lease},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    lanes,
    pace::{Looks, Pace},
    returned::Chosen,
    subscribed::Subscribed,
};
use crate::{
    observe,
    parked::jobs::{self, Next},
    pauses, processes,
    retry::Backoff,
};

/// How long a job waits at most until a process finds it that did not start it.
const POLL: Duration = Duration::from_secs(5);
/// How long another process waits for the jobs of one that has died.
const TERM: Duration = Duration::from_secs(6);
/// The lease is given up before its end: no message is begun after it.
const MARGIN: Duration = Duration::from_secs(1);
/// Between two looks at a job whose last messages others are at.
const OTHERS: Duration = Duration::from_secs(1);

/// Runs the jobs of a consumer until `stop`.
pub(super) async fn run(shared: &Arc<Subscribed>, wake: &Notify, stop: &CancellationToken) {
    let holder = processes::id(&shared.database);
    tokio::select! {
        () = shared.pauses.read() => {}
        () = stop.cancelled() => {}
    }
    let mut outage = Outage::default();
    while !stop.is_cancelled() {
        let step = step(shared, &holder, stop).await;
        observe::storage(&shared.subscription.consumer, &mut outage, step.as_ref().map(|_| ()));
        let rest = step.unwrap_or(POLL);
        tokio::select! {
            () = sleep(rest) => {}
            () = wake.notified() => {}
            () = stop.cancelled() => {}
        }
    }
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
    let mut looks = Looks::new(POLL);
    loop {
        let pauses = shared.pauses.now();
        if shared.is_paused_as_a_whole() {
            return if finish(shared, job).await? { Ok(()) } else { wait_out(shared, &pauses, stop).await };
        }
        let most = tokio::select! {
            most = pace.due() => most,
            () = stop.cancelled() => return Ok(()),
        };
        match next(shared, job, pass.after, most).await? {
            Next::Ended => return Ok(()),
            Next::Skip { after } => pass = Pass { after, paused: true, ..pass },
            Next::Try { messages, after } => {
                pace.sent(messages.len());
                let (tried, put_back) = try_all(shared, messages).await?;
                if tried {
                    others.reset();
                    looks.reset();
                }
                // With `Park::Key` what is behind a paused one of its key waits as that one does.
                pass = Pass { after, tried: pass.tried || tried, paused: pass.paused || put_back };
            }
            // What was not free at the beginning may be by now.
            Next::Over { .. } if pass.tried => pass = Pass::default(),
            Next::Over { .. } if finish(shared, job).await? => return Ok(()),
            Next::Over { paused } if paused || pass.paused => {
                pass = Pass::default();
                match wait_for_others(shared, job, &pauses, looks.rest(), stop).await? {
                    Waited::Over => return Ok(()),
                    Waited::Others => looks.reset(),
                    Waited::InVain => {}
                }
            }
            Next::Over { .. } => {
                pass = Pass::default();
                tokio::select! {
                    () = sleep(others.delay()) => {}
                    () = stop.cancelled() => return Ok(()),
                }
            }
        }
    }
}

/// How far the messages of a job were looked through, and whether any was tried, or is paused.
#[derive(Default)]
struct Pass {
    after: i64,
    tried: bool,
    paused: bool,
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

/// What a wait for other pauses came to.
enum Waited {
    /// There are others.
    Others,
    /// There are none yet.
    InVain,
    /// The job has ended, or the process is to.
    Over,
}

async fn wait_for_others(
    shared: &Subscribed,
    job: i64,
    pauses: &[pauses::Model],
    most: Duration,
    stop: &CancellationToken,
) -> Result<Waited, Failure> {
    let until = Instant::now() + most;
    while Instant::now() < until {
        tokio::select! {
            () = shared.pauses.change(pauses) => return Ok(Waited::Others),
            () = sleep(POLL) => {}
            () = stop.cancelled() => return Ok(Waited::Over),
        }
        // The next one is not kept waiting by one that was stopped, or whose messages were discarded.
        if finish(shared, job).await? {
            return Ok(Waited::Over);
        }
    }
    Ok(Waited::InVain)
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

/// Handles each message in a transaction of its own; those of one key one after another. Returns whether any was tried, and any put back.
async fn try_all(shared: &Arc<Subscribed>, messages: Vec<(i64, String)>) -> Result<(bool, bool), Failure> {
    let lanes = lanes::by_key(messages, |(_, key)| key);
    let lanes = lanes.into_iter().map(|lane| async move {
        let (mut tried, mut put_back) = (false, false);
        for (seq, _) in lane {
            match try_one(shared, seq).await? {
                Chosen::Tried(()) => tried = true,
                Chosen::PutBack => put_back = true,
                Chosen::Gone => {}
            }
        }
        Ok::<_, Failure>((tried, put_back))
    });
    let (mut tried, mut put_back) = (false, false);
    for lane in futures_util::future::join_all(lanes).await {
        let of_lane = lane?;
        tried |= of_lane.0;
        put_back |= of_lane.1;
    }
    Ok((tried, put_back))
}

/// Handles a message, of which an attempt was counted. One that others are in the way of stays sent back, and is tried again with all such.
async fn try_one(shared: &Arc<Subscribed>, seq: i64) -> Result<Chosen<()>, Failure> {
    match shared.redrive_begun(seq).await {
        Err(failure @ Failure::Contention(_)) => {
            observe::storage_failed(&shared.subscription.consumer, &failure);
            Ok(Chosen::Tried(()))
        }
        Err(failure) if !failure.passes() => {
            shared.give_back(seq, observe::chain(&failure)).await?;
            Ok(Chosen::Tried(()))
        }
        outcome => outcome,
    }
}
