//! Group commit: the writes that arrive while a commit is under way share the next transaction.
//!
//! Alone, a write waits for nobody. When a group fails as a whole its members are tried one by one, so a bad request never
//! fails the others.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use sea_orm::{DbBackend, DbErr};
use tokio::sync::{mpsc, oneshot};

use crate::{database::Database, executor::Executor, failure::Failure, transact::Body};

/// Requests of one group at most: what is applied together is also rolled back and retried together.
const GROUP: usize = 256;
/// Requests that wait for their group before callers wait to be let in.
const QUEUE: usize = 1_024;

/// One kind of write, applied to many requests in a transaction.
pub trait Batch: Send + Sync + 'static {
    /// What a caller asks.
    type Request: Send + Sync + 'static;
    /// What the caller hears once the transaction is committed: a refusal of the domain is a reply, not an error.
    type Reply: Send + 'static;

    /// What is made of requests before they are applied, once, however often that is tried.
    type Prepared: Send + Sync + 'static;

    /// Makes it.
    ///
    /// # Errors
    /// For what cannot be applied; nothing was begun then.
    fn prepare(&self, backend: DbBackend, requests: &[Self::Request]) -> Result<Self::Prepared, DbErr>;

    /// Whether all that is changed is changed by a single statement, so that no transaction is needed around it.
    fn is_one_statement(&self, prepared: &Self::Prepared) -> bool {
        let _in_general_not = prepared;
        false
    }

    /// Applies all requests and returns a reply for each, in their order. An error rolls all of it back.
    fn apply<'t>(
        &'t self,
        executor: Executor<'t>,
        requests: &'t [Self::Request],
        prepared: &'t Self::Prepared,
    ) -> BoxFuture<'t, Result<Vec<Self::Reply>, DbErr>>;

    /// Called after each commit, before the callers hear of it.
    fn committed(&self) {}
}

type Waiting<B> = (<B as Batch>::Request, oneshot::Sender<Result<<B as Batch>::Reply, Failure>>);

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

    /// Starts a writer that nobody watches over.
    #[must_use]
    pub fn start(database: Database, batch: B) -> Self {
        let (this, writer) = Self::new(database, batch);
        tokio::spawn(writer);
        this
    }

    /// Waits until the request is committed. Dropping the future does not undo it.
    ///
    /// # Errors
    /// As [`Database::transact`].
    pub async fn submit(&self, request: B::Request) -> Result<B::Reply, Failure> {
        let (reply, replied) = oneshot::channel();
        // The writer outlives every handle, so both ends are there unless it panicked.
        self.queue.send((request, reply)).await.map_err(|_closed| Failure::Panicked)?;
        replied.await.unwrap_or(Err(Failure::Panicked))
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
    let mut waiting = Vec::with_capacity(group);
    while queue.recv_many(&mut waiting, group).await > 0 {
        // Nobody waits for these any more, and nothing was done yet.
        waiting.retain(|(_, reply)| !reply.is_closed());
        if waiting.is_empty() {
            continue;
        }
        let (requests, replies): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        let outcomes = settle(&database, &batch, requests.into()).await;
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            let _caller_has_gone = reply.send(outcome);
        }
    }
}

/// One outcome for each request.
async fn settle<B: Batch>(
    database: &Database,
    batch: &Arc<B>,
    requests: Arc<[B::Request]>,
) -> Vec<Result<B::Reply, Failure>> {
    match apply(database, batch, &requests, 0..requests.len()).await {
        Ok(replies) => replies.into_iter().map(Ok).collect(),
        // One by one would only meet the same, or the outcome of the first attempt is not known.
        Err(failure @ (Failure::Unavailable(_) | Failure::Full(_) | Failure::Unknown(_))) => {
            requests.iter().map(|_| Err(failure.clone())).collect()
        }
        Err(failure) if requests.len() == 1 => vec![Err(failure)],
        Err(failure) => {
            tracing::warn!(error = %failure, group.size = requests.len(), "a group failed: its members are tried alone");
            let mut outcomes = Vec::with_capacity(requests.len());
            for at in 0..requests.len() {
                let alone = apply(database, batch, &requests, at..at + 1).await;
                outcomes.push(alone.and_then(|mut replies| replies.pop().ok_or(Failure::Panicked)));
            }
            outcomes
        }
    }
}

async fn apply<B: Batch>(
    database: &Database,
    batch: &Arc<B>,
    requests: &Arc<[B::Request]>,
    range: std::ops::Range<usize>,
) -> Result<Vec<B::Reply>, Failure> {
    let expected = range.len();
    let prepare = || batch.prepare(database.backend(), &requests[range.clone()]);
    let prepared = catch_unwind(AssertUnwindSafe(prepare)).map_err(|_| Failure::Panicked)??;
    let one_statement = batch.is_one_statement(&prepared);
    let body = Applying {
        batch: Arc::clone(batch),
        requests: Arc::clone(requests),
        range,
        prepared: Arc::new(prepared),
    };
    let replies = if one_statement {
        database.execute(move |executor| body.run(executor)).await?
    } else {
        database.transact(move |transaction| body.run(Executor::Transaction(transaction))).await?
    };
    debug_assert_eq!(replies.len(), expected, "a batch must reply to each of its requests");
    batch.committed();
    // What was woken by that goes on, and waits for the database or the broker while the callers are answered.
    tokio::task::yield_now().await;
    Ok(replies)
}

/// What a transaction does, as often as it is tried.
struct Applying<B: Batch> {
    batch: Arc<B>,
    requests: Arc<[B::Request]>,
    range: std::ops::Range<usize>,
    prepared: Arc<B::Prepared>,
}

impl<B: Batch> Applying<B> {
    fn run<'t>(&self, executor: Executor<'t>) -> Body<'t, Vec<B::Reply>> {
        let (batch, requests) = (Arc::clone(&self.batch), Arc::clone(&self.requests));
        let (range, prepared) = (self.range.clone(), Arc::clone(&self.prepared));
        Box::pin(async move { batch.apply(executor, &requests[range], &prepared).await })
    }
}
