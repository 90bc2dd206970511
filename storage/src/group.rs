//! Group commit: the writes that arrive while a commit is under way share the next transaction.
//!
//! Alone, a write waits for nobody. When a group fails as a whole each of its members is tried alone, beside the groups that come after:
//! neither a bad request nor a row that somebody holds fails the others or keeps them waiting.

mod applying;
mod batch;

use std::{
    fmt,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use sea_orm::DbErr;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

pub use self::batch::Batch;
use self::{
    applying::{Applying, Callers},
    batch::{Reply, is_given_up},
};
use crate::{
    connection::PATIENCE,
    database::{AGAIN, ALONE, Database},
    executor::Executor,
    failpoint,
    failure::Failure,
    transact::{execute_on, is_gone, transact_on},
    transaction::FIRST_WAIT,
};

/// Requests of one group at most: what is applied together is also rolled back and retried together.
const GROUP: usize = 256;
/// Between two attempts at a member whose row is locked.
const PAUSE: Duration = Duration::from_millis(100);
/// Requests that wait for their group before callers wait to be let in.
const QUEUE: usize = 1_024;

/// A request, where its reply goes, and from when on it waits.
type Waiting<B> = (<B as Batch>::Request, Reply<B>, Instant);

/// The way to the writer of one kind of write. Cloning shares it.
pub struct GroupCommit<B: Batch> {
    queue: mpsc::Sender<Waiting<B>>,
}

impl<B: Batch> GroupCommit<B> {
    /// The way to a writer, and the writer itself, for whoever watches over the tasks of the process: it runs until the last handle is
    /// dropped and the queue is empty. Nothing is written without it.
    pub fn new(database: Database, batch: B) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, requests) = mpsc::channel(QUEUE);
        (Self { queue }, write(database, Arc::new(batch), requests))
    }

    /// Waits until the request is committed. Dropping the future does not undo it; but what was not begun is left then, and what waits for
    /// a row that somebody holds, or whose group has taken longer than 0.1 s, is rolled back.
    ///
    /// # Errors
    /// As [`Database::transact`].
    pub async fn submit(&self, request: B::Request) -> Result<B::Reply, Failure> {
        let (reply, replied) = oneshot::channel();
        // The writer outlives every handle, so both ends are there unless it panicked; then the process ends.
        let gone = || Arc::new(DbErr::Custom("the writer of the group has panicked".to_owned()));
        self.queue
            .send((request, reply, Instant::now()))
            .await
            .map_err(|_closed| Failure::Unavailable(gone()))?;
        // It may have been written by then.
        replied.await.unwrap_or_else(|_lost| Err(Failure::Unknown(gone())))
    }
}

impl<B: Batch> Clone for GroupCommit<B> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<B: Batch> fmt::Debug for GroupCommit<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCommit").finish_non_exhaustive()
    }
}

async fn write<B: Batch>(database: Database, batch: Arc<B>, mut queue: mpsc::Receiver<Waiting<B>>) {
    let group = database.batch(GROUP);
    let writer =
        Arc::new(Writer { database, batch, first: Semaphore::new(ALONE), again: Semaphore::new(AGAIN) });
    let mut waiting = Vec::with_capacity(group);
    let mut members = JoinSet::new();
    while queue.recv_many(&mut waiting, group).await > 0 {
        assert!(!failpoint::planted("writer_dies"), "planted");
        while members.try_join_next().is_some() {}
        // Nobody waits for these any more, and nothing was done yet.
        waiting.retain(|(_, reply, _)| !is_given_up(reply));
        // All of them wait for a lock as long as the first one, which may have waited for it with the group before.
        let Some(since) = waiting.iter().map(|(_, _, since)| *since).min() else { continue };
        let (requests, replies): (Vec<_>, Vec<_>) =
            waiting.drain(..).map(|(request, reply, _)| (request, reply)).unzip();
        let requests: Arc<[B::Request]> = requests.into();
        let replies = Arc::new(replies);
        let outcome =
            writer.apply(&requests, 0..requests.len(), Callers::of_group(Arc::clone(&replies)), since).await;
        // The transaction is over, and has dropped its own.
        let Some(replies) = Arc::into_inner(replies) else { continue };
        match outcome {
            Ok(outcomes) => {
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    let _caller_has_gone = reply.send(Ok(outcome));
                }
            }
            Err(failure) if writer.concerns_all(&failure, replies.len()) => {
                for reply in replies {
                    let _caller_has_gone = reply.send(Err(failure.clone()));
                }
            }
            Err(failure) => {
                if is_gone(&failure) {
                    tracing::info!(
                        group.size = replies.len(),
                        "a group had to wait, and not all of its callers did: its members are tried alone"
                    );
                } else {
                    tracing::warn!(error = %failure, group.size = replies.len(), "a group failed: its members are tried alone");
                }
                for (at, reply) in replies.into_iter().enumerate() {
                    members.spawn(Arc::clone(&writer).settle(Arc::clone(&requests), at, reply));
                }
            }
        }
    }
    while members.join_next().await.is_some() {}
}

/// What all groups of a kind of write are applied with.
struct Writer<B> {
    database: Database,
    batch: Arc<B>,
    /// For the first attempts at members alone.
    first: Semaphore,
    /// For the others, of rows that are locked: they do not delay the first ones.
    again: Semaphore,
}

impl<B: Batch> Writer<B> {
    /// Whether every member of a group of this size would only meet the same alone, or the outcome is not known.
    fn concerns_all(&self, failure: &Failure, size: usize) -> bool {
        match failure {
            Failure::Unavailable(_) | Failure::Full(_) | Failure::Unknown(_) => true,
            // SQLite has one lock, for everybody. A conditional write concerns its own row on either.
            Failure::Contention(cause) if self.database.is_embedded() => {
                !matches!(**cause, DbErr::RecordNotUpdated | DbErr::RecordNotInserted) || size == 1
            }
            _ => size == 1 && !failure.is_held(),
        }
    }

    /// Applies the request at this place alone, while somebody waits for it. A row that is held is tried again, in all as long as any
    /// transaction waits for a lock, but no connection is kept for it meanwhile.
    async fn settle(self: Arc<Self>, requests: Arc<[B::Request]>, at: usize, reply: Reply<B>) {
        let replies = Arc::new(vec![reply]);
        let since = Instant::now();
        let until = since + PATIENCE;
        let mut locked: Option<Failure> = None;
        let outcome = loop {
            let wait = locked.is_none().then_some(FIRST_WAIT);
            let permit = match locked {
                None => self.first.acquire().await,
                Some(failure) => match timeout_at(until, self.again.acquire()).await {
                    Ok(permit) => permit,
                    Err(_) => break Err(failure),
                },
            };
            if replies.iter().any(is_given_up) {
                return;
            }
            let callers = Callers::of_one(Arc::clone(&replies), wait);
            match self.apply(&requests, at..at + 1, callers, since).await {
                Err(failure) if failure.is_held() && Instant::now() < until => locked = Some(failure),
                outcome => break outcome.and_then(|mut replies| replies.pop().ok_or(Failure::Panicked)),
            }
            drop(permit);
            sleep(PAUSE).await;
        };
        // The transaction is over, and has dropped its own.
        if let Some(reply) = Arc::into_inner(replies).and_then(|mut replies| replies.pop()) {
            let _caller_has_gone = reply.send(outcome);
        }
    }

    async fn apply(
        &self,
        requests: &Arc<[B::Request]>,
        range: Range<usize>,
        callers: Callers<B>,
        since: Instant,
    ) -> Result<Vec<B::Reply>, Failure> {
        let (database, batch, count) = (&self.database, &self.batch, range.len());
        let prepare = || batch.prepare(database.backend(), &requests[range.clone()]);
        let prepared = catch_unwind(AssertUnwindSafe(prepare)).map_err(|_| Failure::Panicked)??;
        // What is a transaction by itself cannot be taken back when its caller has gone.
        let one_statement = !callers.is_one && batch.is_one_statement(&prepared);
        let (batch, requests) = (Arc::clone(batch), Arc::clone(requests));
        let body = Arc::new(Applying { batch, requests, range, prepared, callers });
        let groups = database.groups().waited_for_since(since);
        failpoint::at("group.before_commit");
        let replies = if one_statement {
            execute_on(&groups, move |executor| Arc::clone(&body).run(executor)).await?
        } else {
            transact_on(&groups, move |transaction| Arc::clone(&body).run(Executor::Transaction(transaction)))
                .await?
        };
        debug_assert_eq!(replies.len(), count, "a batch must reply to each of its requests");
        failpoint::at("group.after_commit");
        self.batch.committed();
        failpoint::at("group.before_reply");
        // What was woken by that goes on, and waits for the database or the broker while the callers are answered.
        tokio::task::yield_now().await;
        Ok(replies)
    }
}
