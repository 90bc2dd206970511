//! The effect of a part and its memory, in one transaction.

use std::{collections::HashSet, sync::Arc};

use sea_orm::{ConnectionTrait as _, DbErr};
use storage::{Executor, Failure, Reading, failpoint};
use tracing::Instrument as _;

use super::{
    attempt::Attempt,
    handler::{AfterCommit, Deduplication, Effects, Verdict},
    part::Part,
    subscribed::Subscribed,
};
use crate::{broker::Delivery, envelope::Envelope, inbox, observe, retry};

impl Subscribed {
    /// Applies or parks every message of the part, together with its memory.
    ///
    /// The first attempt does not look which messages were had before, unless the broker says that it has delivered some: hardly any was,
    /// and their memory refuses what was. Only then another attempt looks, in a transaction.
    ///
    /// `briefly`: it hardly waits for what somebody holds, because others wait for it.
    pub(super) async fn apply(self: &Arc<Self>, part: &Part, briefly: bool) -> Result<(), Failure> {
        let spans = observe::effects(&self.subscription.consumer, &part.deliveries);
        let after = match self.attempts(part, briefly).await {
            Ok(after) => after,
            Err(failure) => {
                spans.failed(&observe::chain(&failure));
                return Err(failure);
            }
        };
        drop(spans);
        failpoint::at("consumer.committed");
        after.run();
        // What was woken by that goes on, and waits for the database or the broker while the batch is acknowledged.
        tokio::task::yield_now().await;
        observe::batch_applied(&self.subscription.consumer, &part.deliveries);
        Ok(())
    }

    async fn attempts(self: &Arc<Self>, part: &Part, briefly: bool) -> Result<AfterCommit, Failure> {
        if part.fault.is_some()
            && self.deduplication == Deduplication::Handler
            && self.was_applied(&part.deliveries).await
        {
            return Ok(AfterCommit::default());
        }
        if briefly || part.deliveries.iter().any(|delivery| delivery.redelivered) {
            return self.locked(part, briefly).await;
        }
        match self.optimistic(part).await {
            Ok(Some(after)) => Ok(after),
            // Who has not looked has not shown that the messages are at fault.
            Ok(None) | Err(Failure::Refused(_)) => self.locked(part, false).await,
            Err(failure) => Err(failure),
        }
    }

    /// See [`Reading::Optimistic`]. `None` when the part has to be handled under locks.
    async fn optimistic(self: &Arc<Self>, part: &Part) -> Result<Option<AfterCommit>, Failure> {
        // Looked at once: hardly ever is anything paused.
        let any = self.pauses.any();
        let goes = |delivery: &Delivery| {
            let message = delivery.message.as_ref();
            message.is_ok_and(|it| self.knows(it) && (!any || self.pause_of(&it.kind, &it.key).is_none()))
        };
        let plain = part.fault.is_none() && !self.knowledge.may_be() && part.deliveries.iter().all(goes);
        if !plain || !self.handler.is_optimistic() {
            return Ok(None);
        }
        let (shared, deliveries) = (Arc::clone(self), Arc::clone(&part.deliveries));
        let handled = self.database.execute(move |executor| {
            let (shared, deliveries) = (Arc::clone(&shared), Arc::clone(&deliveries));
            Box::pin(async move { shared.effects_of(executor, &deliveries).await })
        });
        match handled.await? {
            Some(effects) => {
                failpoint::at("consumer.before_commit");
                effects.commit(&self.database).await.map(Some)
            }
            None => Ok(None),
        }
    }

    async fn effects_of(
        &self,
        executor: Executor<'_>,
        deliveries: &[Delivery],
    ) -> Result<Option<Effects>, DbErr> {
        let consumer = &self.subscription.consumer;
        let decoded = deliveries.iter().filter_map(|delivery| delivery.message.as_ref().ok());
        let messages = once_each(decoded);
        let mut effects = Effects::default();
        if self.deduplication != Deduplication::Handler && !failpoint::planted("inbox_skipped") {
            // First, as in a transaction, so that nobody waits in a circle.
            let backend = executor.get_database_backend();
            effects.write(inbox::writes(backend, consumer, &messages, retry::now())?);
        }
        match self.verdicts(Reading::Optimistic(executor), &messages, &mut effects).await {
            Ok(verdicts) => Ok(verdicts.iter().all(|verdict| *verdict == Verdict::Done).then_some(effects)),
            Err(DbErr::RecordNotUpdated) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the handler says of each message.
    pub(super) async fn verdicts(
        &self,
        reading: Reading<'_>,
        messages: &[&Envelope],
        effects: &mut Effects,
    ) -> Result<Vec<Verdict>, DbErr> {
        let handling = self.handler.handle(reading, messages, effects);
        let handling = handling.instrument(observe::handling(&self.subscription.consumer, messages));
        let verdicts = handling.await?;
        if verdicts.len() != messages.len() {
            return Err(DbErr::Custom("the handler has not returned a verdict for each message".to_owned()));
        }
        Ok(verdicts)
    }

    /// Whether the effect of the only message is there already: what cannot be looked at is taken for what has none.
    async fn was_applied(self: &Arc<Self>, deliveries: &Arc<[Delivery]>) -> bool {
        let (shared, deliveries) = (Arc::clone(self), Arc::clone(deliveries));
        let looked = self.database.execute(move |executor| {
            let (shared, deliveries) = (Arc::clone(&shared), Arc::clone(&deliveries));
            Box::pin(async move {
                let [Delivery { message: Ok(message), .. }] = &*deliveries else { return Ok(false) };
                shared.handler.was_applied(executor, message).await
            })
        });
        looked.await.unwrap_or(false)
    }

    /// See [`Reading::Locked`].
    async fn locked(self: &Arc<Self>, part: &Part, briefly: bool) -> Result<AfterCommit, Failure> {
        let (shared, deliveries) = (Arc::clone(self), Arc::clone(&part.deliveries));
        let (attempts, fault) = (part.attempts, part.fault.clone());
        let applied = self.database.transact(move |transaction| {
            let (shared, deliveries, fault) = (Arc::clone(&shared), Arc::clone(&deliveries), fault.clone());
            Box::pin(async move {
                if briefly {
                    transaction.wait_briefly().await?;
                }
                let attempt = Attempt { shared: &shared, transaction, attempts };
                attempt.apply(&deliveries, fault).await
            })
        });
        applied.await
    }
}

/// The relay may have published a message twice.
fn once_each<'m>(messages: impl Iterator<Item = &'m Envelope>) -> Vec<&'m Envelope> {
    let mut seen = HashSet::new();
    messages.filter(|message| seen.insert(message.id)).collect()
}
