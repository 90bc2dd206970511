//! What would become of parked messages, found out by handling them in a transaction that is rolled back.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use sea_orm::DbErr;
use storage::{
    Failure, Transaction,
    rehearsal::{Change, Rehearsal},
};
use tokio::sync::{Notify, Semaphore};
use tracing::{Dispatch, instrument::WithSubscriber as _};

use super::subscribed::Subscribed;
use crate::{
    observe,
    parked::{self, Model, Park},
    retry,
};

/// JSON of changed rows at most: an answer of gRPC has 4 MiB as a rule.
const SPACE: usize = 3 * 1_024 * 1_024;
/// The tables of messages, which say nothing of what a handler does.
const OURS: [&str; 3] = ["parked", "inbox", "redrive_jobs"];
const OUTBOX: &str = "outbox";

/// A consumer for who operates it, in the same process.
#[derive(Clone)]
pub struct Operated {
    shared: Arc<Subscribed>,
    jobs: Arc<Notify>,
    /// One preview at a time: each holds a connection, and rows, for seconds.
    previews: Arc<Semaphore>,
}

/// What would become of a parked message.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The message.
    pub message: Model,
    /// What would become of it.
    pub outcome: Outcome,
    /// The rows that would change, without those of messages.
    pub changes: Vec<Change>,
    /// The rows of the outbox that would be written.
    pub outbox: Vec<Change>,
}

/// What would become of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It would leave.
    Done,
    /// It would be parked again, for this reason.
    Parked(String),
    /// Others hold what it needs: it would be tried again.
    Held(String),
    /// It would wait: its partition or kind is paused, or another message of its key is ahead of it.
    Waits(String),
}

impl Operated {
    pub(super) fn new(shared: &Arc<Subscribed>, jobs: &Arc<Notify>) -> Self {
        let previews = Arc::new(Semaphore::new(1));
        Self { shared: Arc::clone(shared), jobs: Arc::clone(jobs), previews }
    }

    /// The consumer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.subscription.consumer
    }

    /// Why it is paused as a whole, if it is.
    #[must_use]
    pub fn paused(&self) -> Option<String> {
        let shared = &self.shared;
        let reason = || shared.pauses.of_partition(self.name(), 0).map(|paused| paused.reason);
        shared.is_paused_as_a_whole().then(reason).flatten()
    }

    /// Has it look at once whether there is a [job](parked::jobs) to run.
    pub fn wake_jobs(&self) {
        self.jobs.notify_one();
    }

    /// What would become of these messages if they were sent back now, one after another in their order: each that waits for an operator.
    /// Those that would wait, because of a pause or behind another of their keys, do so here. None is begun after `hold`, for so long rows are held: others wait 5 s for them, and for SQLite's only connection that writes. Nor is
    /// one when there is no more space (3 MiB).
    ///
    /// # Errors
    /// As [`storage::Database::rehearse`].
    pub async fn preview(&self, mut seqs: Vec<i64>, hold: Duration) -> Result<Vec<Preview>, Failure> {
        seqs.sort_unstable();
        // Nobody closes the semaphore.
        let _permit = self.previews.acquire().await.ok();
        let shared = Arc::clone(&self.shared);
        let rehearsed = self.shared.database.rehearse(move |rehearsal| {
            // It is no handling: no log and no trace shall say that it was.
            Box::pin(
                async move { shared.preview(rehearsal, &seqs, hold).await }.with_subscriber(Dispatch::none()),
            )
        });
        rehearsed.await
    }
}

impl Subscribed {
    async fn preview(
        &self,
        rehearsal: &Rehearsal,
        seqs: &[i64],
        hold: Duration,
    ) -> Result<Vec<Preview>, DbErr> {
        let (begun, mut space) = (Instant::now(), 0);
        let mut previews = Vec::with_capacity(seqs.len());
        for seq in seqs {
            if begun.elapsed() > hold || space > SPACE {
                break;
            }
            let Some(preview) = self.preview_one(rehearsal, *seq).await? else { continue };
            space += preview.changes.iter().chain(&preview.outbox).map(size).sum::<usize>();
            previews.push(preview);
        }
        Ok(previews)
    }

    /// `None` when it does not wait for an operator any more.
    async fn preview_one(&self, rehearsal: &Rehearsal, seq: i64) -> Result<Option<Preview>, DbErr> {
        let mut found = None;
        let handled = rehearsal.attempt(async {
            let transaction = rehearsal.transaction();
            let Some(row) = parked::lock_parked(transaction, seq).await? else { return Ok(None) };
            // What its job counts stays as it is, and is locked by nobody who holds messages for long.
            let row = found.insert(Model { redrive_job: None, ..row });
            if let Some(reason) = self.waits_for(transaction, row).await? {
                return Ok(Some(Outcome::Waits(reason)));
            }
            // What is to be done after the commit is dropped.
            let (_after, problem) = self.handle_again(transaction, row, retry::now()).await?;
            Ok(Some(problem.map_or(Outcome::Done, Outcome::Parked)))
        });
        let outcome = match handled.await? {
            Ok(None) => return Ok(None),
            Ok(Some(outcome)) => outcome,
            Err(failure @ Failure::Contention(_)) => Outcome::Held(observe::chain(&failure)),
            Err(Failure::Unavailable(error) | Failure::Full(error) | Failure::Unknown(error)) => {
                return Err(Arc::unwrap_or_clone(error));
            }
            Err(failure) => Outcome::Parked(observe::chain(&failure)),
        };
        let Some(message) = found else { return Ok(None) };
        let changes = rehearsal.changes().await?.into_iter();
        let changes = changes.filter(|change| !OURS.contains(&change.table.as_str()));
        let (outbox, changes) = changes.partition(|change| change.table == OUTBOX);
        Ok(Some(Preview { message, outcome, changes, outbox }))
    }

    /// Why a message would wait that is sent back.
    async fn waits_for(&self, transaction: &Transaction, row: &Model) -> Result<Option<String>, DbErr> {
        let paused = self.paused(&row.kind, &row.partition_key).map(|paused| paused.reason);
        if paused.is_some() || self.park == Park::Message {
            return Ok(paused);
        }
        let ahead = parked::ahead_of(transaction, row).await?;
        Ok(ahead.map(|ahead| format!("the message {ahead} of its key is parked ahead of it")))
    }
}

/// About the bytes of a change as JSON.
fn size(change: &Change) -> usize {
    let rows = change.before.iter().chain(&change.after);
    rows.map(|row| row.to_string().len()).sum()
}

impl fmt::Debug for Operated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operated").field("consumer", &self.name()).finish_non_exhaustive()
    }
}
