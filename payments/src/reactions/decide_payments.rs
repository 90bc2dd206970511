//! An order was placed, or is to be voided: its payment is decided, once, and the decision is published for whoever requested it. Whichever
//! comes first decides, so the two may come in any order and any number of times.

mod charge;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use chassis::clock::Clock;
use messaging::{
    consumer::{Effects, Handler, Verdict},
    envelope::Envelope,
    outbox::Outbox,
    topology::Subscription,
};
use ordermesh::{payments::v1::PaymentDecided, topology::PAYMENTS};
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use storage::{Executor, Reading, failpoint, rows};
use uuid::Uuid;

use crate::{
    domain::book::{Book, Charge},
    grpc::wire,
    store::{
        accounts,
        entity::{account::Model as Account, payment::Model as Payment},
        ledger, payments,
    },
};

/// Decides payments, a batch together.
#[derive(Debug)]
pub struct DecidePayments {
    /// Where decisions go.
    pub outbox: Outbox,
    /// Where decisions take their time and their ids from.
    pub clock: Arc<dyn Clock>,
}

/// What payments subscribes to.
#[must_use]
pub fn subscription() -> Subscription {
    Subscription::new(PAYMENTS.name, PAYMENTS.kinds)
}

#[async_trait]
impl Handler for DecidePayments {
    async fn handle(
        &self,
        reading: Reading<'_>,
        messages: &[&Envelope],
        effects: &mut Effects,
    ) -> Result<Vec<Verdict>, DbErr> {
        let (charges, executor) = (charges(messages), reading.executor());
        // The accounts first: whoever has locked them sees every decision about their orders that was made before.
        let accounts = match reading {
            Reading::Locked(transaction) => accounts::lock(transaction, users(&charges)).await?,
            Reading::Optimistic(executor) => accounts::find_all(&executor, users(&charges)).await?,
        };
        // Hardly any order was decided before, unless this is about voiding it.
        let is_rare = |charge: &Charge| charge.void.is_some() || charge.restored.is_some();
        let stored = if reading.locks() || charges.iter().flatten().any(is_rare) {
            payments::find_all(&executor, &order_ids(&charges)).await?
        } else {
            Vec::new()
        };
        let known = Known { accounts, stored };
        let (verdicts, decisions) =
            self.decide(messages, charges, known, executor.get_database_backend(), effects)?;
        self.publish(executor, decisions, effects).await?;
        Ok(verdicts)
    }

    /// What rests on an account that has changed meanwhile does not find its version, and a decision that was made before is in the way of
    /// another one. Whoever changes accounts locks them first, and so do these writes.
    fn is_optimistic(&self) -> bool {
        true
    }
}

/// What decisions rest on.
struct Known {
    accounts: Vec<Account>,
    /// Decisions that were made before.
    stored: Vec<Payment>,
}

impl DecidePayments {
    /// Decides about each order that was not decided about; also returns the decision for each message, which is to be published.
    fn decide(
        &self,
        messages: &[&Envelope],
        charges: Vec<Result<Charge, String>>,
        Known { accounts, stored }: Known,
        backend: DbBackend,
        effects: &mut Effects,
    ) -> Result<(Vec<Verdict>, Vec<Envelope>), DbErr> {
        let mut decided: HashSet<Uuid> = stored.iter().map(|payment| payment.order_id).collect();
        let mut book = Book::open(accounts, self.clock.as_ref());
        let mut new: Vec<Payment> = Vec::new();
        for charge in charges.iter().flatten() {
            if decided.contains(&charge.order_id) {
                continue;
            }
            let payment = match &charge.restored {
                Some(was) => book.restore(charge, was),
                None => Some(book.decide(charge)),
            };
            decided.extend(payment.as_ref().map(|payment| payment.order_id));
            new.extend(payment);
        }
        let bookings = book.close();
        effects.write(accounts::updates(backend, &bookings.accounts)?);
        effects.write(ledger::appends(backend, &bookings.entries)?);
        effects.write(if failpoint::planted("no_decision") {
            Vec::new()
        } else {
            payments::records(backend, &new)?
        });
        let decisions: HashMap<Uuid, Payment> =
            stored.into_iter().chain(new).map(|payment| (payment.order_id, payment)).collect();
        let (mut envelopes, mut verdicts) =
            (Vec::with_capacity(messages.len()), Vec::with_capacity(messages.len()));
        for (message, charge) in messages.iter().zip(charges) {
            verdicts.push(match charge.and_then(|charge| decision(&decisions, &charge)) {
                Ok(Some(payment)) => {
                    envelopes.push(self.message(payment, message));
                    Verdict::Done
                }
                Ok(None) => Verdict::Done,
                Err(problem) => Verdict::Park(problem),
            });
        }
        Ok((verdicts, envelopes))
    }

    /// Publishes decisions together with what they have changed.
    async fn publish(
        &self,
        executor: Executor<'_>,
        decisions: Vec<Envelope>,
        effects: &mut Effects,
    ) -> Result<(), DbErr> {
        let writes = self.outbox.writes(executor.get_database_backend(), decisions)?;
        if failpoint::planted("publish_before_commit") {
            return rows::write(&executor, &writes).await;
        }
        effects.write(writes);
        let outbox = self.outbox.clone();
        effects.after_commit(move || outbox.wake());
        Ok(())
    }

    /// The message of a decision, in the trace of the request for it.
    fn message(&self, payment: &Payment, request: &Envelope) -> Envelope {
        let payload = PaymentDecided { payment: Some(wire::payment(payment)) };
        let envelope = Envelope::new(self.clock.new_id(), &payment.user_id, &payload, self.clock.now());
        envelope.in_trace_of(request)
    }
}

fn charges(messages: &[&Envelope]) -> Vec<Result<Charge, String>> {
    messages.iter().map(|message| charge::read(message)).collect()
}

fn users(charges: &[Result<Charge, String>]) -> impl Iterator<Item = &str> {
    charges.iter().flatten().map(|charge| charge.user_id.as_str())
}

fn order_ids(charges: &[Result<Charge, String>]) -> Vec<Uuid> {
    charges.iter().flatten().map(|charge| charge.order_id).collect()
}

/// The decision about the order of a charge, unless that was about something else: an order asks for one thing only. `None` for one that
/// cannot be restored.
fn decision<'d>(
    decisions: &'d HashMap<Uuid, Payment>,
    charge: &Charge,
) -> Result<Option<&'d Payment>, String> {
    let Some(payment) = decisions.get(&charge.order_id) else {
        return if charge.restored.is_some() {
            Ok(None)
        } else {
            Err("the order was not decided about".into())
        };
    };
    if charge.fits(payment) {
        return Ok(Some(payment));
    }
    let was = sum_of(payment.amount, &payment.currency_code, &payment.user_id);
    let asked = sum_of(charge.amount, &charge.currency_code, &charge.user_id);
    Err(format!("the decision was about {was}, and the message is about {asked}"))
}

fn sum_of(amount: i64, currency_code: &str, user_id: &str) -> String {
    format!("{amount} {currency_code} of {user_id:?}")
}
