//! The effect of a part and its memory, in one transaction.

use std::{collections::HashSet, sync::Arc};

use sea_orm::{ConnectionTrait as _, DbErr};
use storage::{Executor, Failure, Reading, Transaction};
use tracing::Instrument as _;

use super::{
    handler::{AfterCommit, Deduplication, Effects, Verdict},
    part::{Fault, Part},
    subscribed::Subscribed,
};
use crate::{
    broker::{Delivery, Undecodable},
    envelope::Envelope,
    inbox, observe,
    parked::{self, Form, Parking, State},
    retry,
};

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
        let known = |delivery: &Delivery| {
            delivery.message.as_ref().is_ok_and(|message| self.subscription.kinds.contains(&message.kind))
        };
        let plain = part.fault.is_none() && part.deliveries.iter().all(known);
        if !plain || !self.handler.is_optimistic() {
            return Ok(None);
        }
        let (shared, deliveries) = (Arc::clone(self), Arc::clone(&part.deliveries));
        let handled = self.database.execute(move |executor| {
            let (shared, deliveries) = (Arc::clone(&shared), Arc::clone(&deliveries));
            Box::pin(async move { shared.effects_of(executor, &deliveries).await })
        });
        match handled.await? {
            Some(effects) => effects.commit(&self.database).await.map(Some),
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
        if self.deduplication != Deduplication::Handler {
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

/// One attempt at the transaction of a part.
struct Attempt<'t> {
    shared: &'t Subscribed,
    transaction: &'t Transaction,
    /// How often its messages have been tried, this time included.
    attempts: i32,
}

impl Attempt<'_> {
    /// Returns what is to be done after the commit.
    async fn apply(&self, deliveries: &[Delivery], fault: Option<Fault>) -> Result<AfterCommit, DbErr> {
        let now = retry::now();
        let consumer = &self.shared.subscription.consumer;
        let decoded = deliveries.iter().filter_map(|delivery| delivery.message.as_ref().ok());
        let (known, strange): (Vec<&Envelope>, Vec<&Envelope>) =
            decoded.partition(|message| self.shared.subscription.kinds.contains(&message.kind));
        let mut effects = Effects::default();
        let messages = match self.shared.deduplication {
            Deduplication::Inbox | Deduplication::Requests => {
                inbox::new_among(self.transaction, consumer, known, now).await?
            }
            Deduplication::Handler => known,
        };
        let form = fault.as_ref().map_or(Form::Readable, |fault| fault.form);
        let verdicts = match fault {
            Some(Fault { reason, .. }) => vec![Verdict::Park(reason); messages.len()],
            None if messages.is_empty() => Vec::new(),
            None => self.shared.verdicts(Reading::Locked(self.transaction), &messages, &mut effects).await?,
        };
        let mut after = effects.apply(self.transaction).await?;
        let undecodable = deliveries.iter().filter_map(|delivery| delivery.message.as_ref().err());
        let mut parkings: Vec<Parking<'_>> = self
            .refused(messages.into_iter().zip(verdicts))
            .chain(
                undecodable.map(|message| self.parking(Err(message), message.reason.clone(), State::Parked)),
            )
            .chain(strange.into_iter().map(|message| self.strange(message)))
            .collect();
        if self.shared.deduplication == Deduplication::Requests {
            parkings = self.without_repeated(parkings, form).await?;
        }
        if !parkings.is_empty() {
            let reports = parked::park(self.transaction, consumer, &parkings, form, now).await?;
            let consumer = consumer.clone();
            after
                .0
                .push(Box::new(move || reports.iter().for_each(|report| observe::parked(&consumer, report))));
        }
        Ok(after)
    }

    /// Without requests that repeat one that is parked.
    async fn without_repeated<'m>(
        &self,
        parkings: Vec<Parking<'m>>,
        form: Form,
    ) -> Result<Vec<Parking<'m>>, DbErr> {
        let consumer = &self.shared.subscription.consumer;
        let mut rest = Vec::with_capacity(parkings.len());
        for parking in parkings {
            if let Ok(message) = parking.message
                && parked::is_repeated(self.transaction, consumer, message, form).await?
            {
                observe::parked_before(consumer, message, &parking.error);
                continue;
            }
            rest.push(parking);
        }
        Ok(rest)
    }

    /// A message of a kind that the consumer does not know: the next version may, unless nothing can be called so.
    fn strange<'m>(&self, message: &'m Envelope) -> Parking<'m> {
        let (consumer, kind) = (&self.shared.subscription.consumer, &message.kind);
        if kind.len() <= KIND_MAX && kind.bytes().all(is_of_a_name) {
            let error = format!("{consumer} does not know messages of the kind {kind}");
            return self.parking(Ok(message), error, State::Held);
        }
        let error = format!("cloudEvents:type is not the name of a protobuf message: {kind:?}");
        self.parking(Ok(message), error, State::Parked)
    }

    fn refused<'m>(
        &self,
        judged: impl Iterator<Item = (&'m Envelope, Verdict)>,
    ) -> impl Iterator<Item = Parking<'m>> {
        judged.filter_map(|(message, verdict)| match verdict {
            Verdict::Done => None,
            Verdict::Park(error) => Some(self.parking(Ok(message), error, State::Parked)),
        })
    }

    fn parking<'m>(
        &self,
        message: Result<&'m Envelope, &'m Undecodable>,
        error: String,
        state: State,
    ) -> Parking<'m> {
        Parking { message, error, attempts: self.attempts, state }
    }
}

/// The bytes of an AMQP property: whoever publishes a message puts its kind into one.
const KIND_MAX: usize = 255;

/// The full name of a protobuf message has no other bytes.
const fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')
}

/// The relay may have published a message twice.
fn once_each<'m>(messages: impl Iterator<Item = &'m Envelope>) -> Vec<&'m Envelope> {
    let mut seen = HashSet::new();
    messages.filter(|message| seen.insert(message.id)).collect()
}
