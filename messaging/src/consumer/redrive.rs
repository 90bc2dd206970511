//! What was parked comes back: sent by an operator, or held until this version that knows its kind.

use std::{sync::Arc, time::Duration};

use sea_orm::DbErr;
use storage::{Failure, Transaction};
use tokio_util::sync::CancellationToken;

use super::{AfterCommit, Batch, Consumer, Deduplication, Effects, Shared, Verdict};
use crate::{
    inbox, observe,
    parked::{self, State},
    retry,
};

/// How long an operator waits at most until what was redriven is tried.
const POLL: Duration = Duration::from_secs(5);
/// Looked up at a time.
const PAGE: u64 = 100;

impl Consumer {
    /// Handles what comes back until `stop`, each message in a transaction of its own: it has failed before.
    pub(super) async fn redrive(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            self.shared.tell_parked().await;
            let came_back = self.shared.redrive_page(stop).await;
            let rest = match came_back {
                Ok(true) => continue,
                Ok(false) => POLL,
                Err(failure) => {
                    observe::storage_failed(&self.shared.subscription.consumer, &failure);
                    POLL
                }
            };
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

impl Shared {
    async fn tell_parked(&self) {
        let consumer = &self.subscription.consumer;
        match parked::by_state(self.database.read(), consumer).await {
            Ok(counts) => observe::parked_now(consumer, counts),
            Err(error) => observe::storage_failed(consumer, &error.into()),
        }
    }

    /// Returns whether there may be more.
    async fn redrive_page(self: &Arc<Self>, stop: &CancellationToken) -> Result<bool, Failure> {
        let seqs = parked::leaving(self.database.read(), &self.subscription, PAGE).await?;
        for seq in &seqs {
            if stop.is_cancelled() {
                return Ok(false);
            }
            match self.redrive_one(*seq).await {
                Ok(()) => {}
                Err(failure) if failure.passes() => return Err(failure),
                Err(failure) => self.give_back(*seq, observe::chain(&failure)).await?,
            }
        }
        Ok(seqs.len() as u64 == PAGE)
    }

    async fn redrive_one(self: &Arc<Self>, seq: i64) -> Result<(), Failure> {
        let shared = Arc::clone(self);
        let handled = self.database.transact(move |transaction| {
            let shared = Arc::clone(&shared);
            Box::pin(async move { shared.redrive_in(transaction, seq).await })
        });
        if let Some(after) = handled.await? {
            after.run();
            observe::redriven(&self.subscription.consumer, seq);
        }
        Ok(())
    }

    /// What is to be done after the commit, if it was handled.
    async fn redrive_in(&self, transaction: &Transaction, seq: i64) -> Result<Option<AfterCommit>, DbErr> {
        let Some(row) = parked::lock(transaction, seq).await? else { return Ok(None) };
        let Some(message) = row.envelope() else { return Ok(None) };
        let mut effects = Effects::default();
        let now = retry::now();
        // A parked message is in the inbox since it was parked. A held one is not, and may have come a second time.
        let seen = row.state == State::Held
            && self.deduplication == Deduplication::Inbox
            && inbox::new_among(transaction, &self.subscription.consumer, [&message], now).await?.is_empty();
        let verdict = match seen {
            true => Verdict::Done,
            false => {
                let batch = Batch { transaction, messages: &[&message] };
                let verdict = self.handler.handle(&batch, &mut effects).await?.pop();
                verdict.ok_or_else(|| DbErr::Custom("the handler did not judge its message".to_owned()))?
            }
        };
        let after = effects.apply(transaction).await?;
        match verdict {
            Verdict::Done => parked::remove(transaction, seq).await?,
            Verdict::Park(error) => parked::give_back(transaction, seq, &error, now).await?,
        }
        Ok(Some(after))
    }

    async fn give_back(&self, seq: i64, error: String) -> Result<(), Failure> {
        observe::redrive_failed(&self.subscription.consumer, seq, &error);
        let given_back = self.database.transact(move |transaction| {
            let error = error.clone();
            Box::pin(async move { parked::give_back(transaction, seq, &error, retry::now()).await })
        });
        given_back.await
    }
}
