//! One attempt at the transaction of a part: what is handled, what is parked, and their memory.

use sea_orm::DbErr;
use storage::{Reading, Transaction, failpoint};

use super::{
    handler::{AfterCommit, Deduplication, Effects, Verdict},
    order::InOrder,
    part::Fault,
    subscribed::Subscribed,
};
use crate::{
    broker::{Delivery, Undecodable},
    envelope::Envelope,
    inbox, observe,
    parked::{self, Form, Parking, Repeat, State},
    retry,
};

/// One attempt at the transaction of a part.
pub(super) struct Attempt<'t> {
    pub(super) shared: &'t Subscribed,
    pub(super) transaction: &'t Transaction,
    /// How often its messages have been tried, this time included.
    pub(super) attempts: i32,
}

impl Attempt<'_> {
    /// Returns what is to be done after the commit.
    pub(super) async fn apply(
        &self,
        deliveries: &[Delivery],
        fault: Option<Fault>,
    ) -> Result<AfterCommit, DbErr> {
        let now = retry::now();
        let Subscribed { subscription, deduplication, .. } = self.shared;
        let decoded: Vec<&Envelope> = deliveries.iter().filter_map(|it| it.message.as_ref().ok()).collect();
        let known = decoded.iter().copied().filter(|message| self.shared.knows(message));
        let known: Vec<&Envelope> = known.collect();
        let all = known.len();
        let new = match deduplication {
            _ if failpoint::planted("inbox_skipped") => known,
            Deduplication::Inbox | Deduplication::Requests => {
                let new = inbox::new_among(self.transaction, &subscription.consumer, known, now).await?;
                failpoint::at("consumer.remembered");
                new
            }
            Deduplication::Handler => known,
        };
        let form = fault.as_ref().map_or(Form::Readable, |fault| fault.form);
        let mut effects = Effects::default();
        let (InOrder { go, wait, behind_any }, verdicts) = match fault {
            // It was tried, so nothing was ahead of it; or the broker has given it up.
            Some(Fault { reason, .. }) => {
                let verdicts = vec![Verdict::Park(reason); new.len()];
                (InOrder { behind_any: true, ..InOrder::go(new) }, verdicts)
            }
            None => {
                // Who had the partition before may still be at what comes a second time; and what was had may have been parked, by an
                // attempt whose outcome nobody knows.
                let again = new.len() < all || deliveries.iter().any(|delivery| delivery.redelivered);
                self.judge(again, &decoded, &new, &mut effects).await?
            }
        };
        let mut after = effects.apply(self.transaction).await?;
        failpoint::at("consumer.written");
        let waiting = wait.into_iter().map(|(it, reason)| self.parking(Ok(it), reason, State::Waiting));
        let parkings = self.refused(go.into_iter().zip(verdicts)).chain(waiting);
        let parkings = parkings.chain(self.unknown(deliveries)).collect();
        let (parkings, repeats) = self.to_park(parkings, deliveries, form, now).await?;
        if !repeats.is_empty() {
            let consumer = subscription.consumer.clone();
            let report = move || repeats.iter().for_each(|repeat| observe::repeated(&consumer, repeat));
            after.0.push(Box::new(report));
        }
        if behind_any || !parkings.is_empty() {
            let knowledge = self.shared.knowledge.clone();
            after.0.push(Box::new(move || knowledge.found()));
        }
        if !parkings.is_empty() {
            let consumer = subscription.consumer.clone();
            let reports = parked::park(self.transaction, &consumer, &parkings, form, now).await?;
            let report = move || reports.iter().for_each(|report| observe::parked(&consumer, report));
            after.0.push(Box::new(report));
        }
        Ok(after)
    }

    /// Which messages go and which wait, and what the handler says of the former.
    async fn judge<'m>(
        &self,
        again: bool,
        decoded: &[&'m Envelope],
        new: &[&'m Envelope],
        effects: &mut Effects,
    ) -> Result<(InOrder<'m>, Vec<Verdict>), DbErr> {
        let looks = again || self.shared.knowledge.may_be();
        let in_order = self.shared.in_order(self.transaction, decoded, new, looks).await?;
        let verdicts = if in_order.go.is_empty() {
            Vec::new()
        } else {
            self.shared.verdicts(Reading::Locked(self.transaction), &in_order.go, effects).await?
        };
        self.shared.overtakes(&in_order.go, &verdicts)?;
        Ok((in_order, verdicts))
    }

    /// What the consumer cannot read, or does not know.
    fn unknown<'m>(&self, deliveries: &'m [Delivery]) -> impl Iterator<Item = Parking<'m>> {
        deliveries.iter().filter_map(|delivery| match &delivery.message {
            Err(undecodable) => {
                Some(self.parking(Err(&**undecodable), undecodable.reason.clone(), State::Parked))
            }
            Ok(message) if !self.shared.knows(message) => Some(self.strange(message)),
            Ok(_) => None,
        })
    }

    /// In the order in which they came, which is that in which they may leave, without requests that repeat one of those or one that is parked.
    async fn to_park<'m>(
        &self,
        mut parkings: Vec<Parking<'m>>,
        deliveries: &[Delivery],
        form: Form,
        now: i64,
    ) -> Result<(Vec<Parking<'m>>, Vec<Repeat>), DbErr> {
        parkings.sort_by_cached_key(|parking| {
            deliveries.iter().position(|delivery| match (&delivery.message, parking.message) {
                (Ok(message), Ok(parked)) => std::ptr::eq(message, parked),
                (Err(undecodable), Err(parked)) => std::ptr::eq(&**undecodable, parked),
                _ => false,
            })
        });
        if self.shared.deduplication != Deduplication::Requests {
            return Ok((parkings, Vec::new()));
        }
        let consumer = &self.shared.subscription.consumer;
        // The inbox was asked about what the consumer knows.
        let is_new = |message: &Envelope| self.shared.knows(message);
        parked::fold(self.transaction, consumer, parkings, form, is_new, now).await
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
        Parking { message, error, attempts: self.attempts, state, repeats: 0 }
    }
}

/// The bytes of an AMQP property: whoever publishes a message puts its kind into one.
const KIND_MAX: usize = 255;

/// The full name of a protobuf message has no other bytes.
const fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')
}
