//! What the transaction of a group does, as often as it is tried, while somebody waits for it.

use std::{ops::Range, sync::Arc, time::Duration};

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use tokio::time::Instant;

use super::batch::{Batch, Reply, is_given_up};
use crate::{
    executor::Executor,
    transact::{Body, gone},
};

/// How long a group may take whoever has gone meanwhile. To take back at once what many others share would let those who go away slow down
/// those who stay.
const SOON: Duration = Duration::from_millis(100);

/// Those who wait for a transaction.
pub(super) struct Callers<B: Batch> {
    /// Each is closed once its caller has gone.
    replies: Arc<Vec<Reply<B>>>,
    /// From when on one who has gone matters.
    since: Instant,
    /// Whether it is one that is tried alone.
    pub(super) is_one: bool,
    /// The statement that says how long it waits for locks, if not as its group.
    lock_wait: Option<&'static str>,
}

impl<B: Batch> Callers<B> {
    pub(super) fn of_group(replies: Arc<Vec<Reply<B>>>) -> Self {
        Self { replies, since: Instant::now() + SOON, is_one: false, lock_wait: None }
    }

    pub(super) fn of_one(replies: Arc<Vec<Reply<B>>>, lock_wait: Option<&'static str>) -> Self {
        Self { replies, since: Instant::now(), is_one: true, lock_wait }
    }

    /// Whether all of them still wait.
    fn are_there(&self) -> Result<(), DbErr> {
        if Instant::now() >= self.since && self.replies.iter().any(is_given_up) {
            return Err(gone());
        }
        Ok(())
    }
}

/// What a transaction does, as often as it is tried.
pub(super) struct Applying<B: Batch> {
    pub(super) batch: Arc<B>,
    pub(super) requests: Arc<[B::Request]>,
    pub(super) range: Range<usize>,
    pub(super) prepared: B::Prepared,
    pub(super) callers: Callers<B>,
}

impl<B: Batch> Applying<B> {
    pub(super) fn run<'t>(self: Arc<Self>, executor: Executor<'t>) -> Body<'t, Vec<B::Reply>> {
        Box::pin(async move {
            let Self { batch, requests, range, prepared, callers } = &*self;
            callers.are_there()?;
            if let Some(wait) = callers.lock_wait
                && executor.get_database_backend() == DbBackend::Postgres
            {
                executor.execute_unprepared(wait).await?;
            }
            let is_committed = matches!(executor, Executor::Connections(_));
            let replies = batch.apply(executor, &requests[range.clone()], prepared).await?;
            // It may have waited for a lock, or for the disk: what nobody waits for is not to take effect later.
            if !is_committed {
                callers.are_there()?;
            }
            Ok(replies)
        })
    }
}
