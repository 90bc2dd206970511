//! The payment of an order was decided: the order ends by it. A terminal order stays as it is, so the reaction is idempotent by
//! itself and needs no inbox.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use chassis::clock::Clock;
use messaging::{
    consumer::{Effects, Handler, Verdict},
    envelope::Envelope,
    topology::Subscription,
};
use ordermesh::{
    payments::v1::{
        PaymentDecided,
        payment::{Outcome, Reason},
    },
    topology::ORDERS,
};
use prost::{Message as _, Name as _};
use sea_orm::{ConnectionTrait as _, DbErr};
use storage::{Executor, Reading, failpoint, rows};
use uuid::Uuid;

use crate::{
    domain::settle::{Decision, End, Transition, transition},
    feed::Feed,
    store::{
        entity::order::{CancelReason, Model as Order},
        orders,
    },
};

/// Ends orders, a batch together.
#[derive(Debug)]
pub struct SettleOrders {
    /// Who publishes to those who watch.
    pub feed: Feed,
    /// Where the orders take their time from.
    pub clock: Arc<dyn Clock>,
}

/// What orders subscribes to.
#[must_use]
pub fn subscription() -> Subscription {
    Subscription::new(ORDERS.name, ORDERS.kinds)
}

#[async_trait]
impl Handler for SettleOrders {
    /// Nothing is read optimistically: the statement that ends the orders holds the decisions against them, and leaves out an order that
    /// one does not fit. What it has ended stays so.
    async fn handle(
        &self,
        reading: Reading<'_>,
        messages: &[&Envelope],
        effects: &mut Effects,
    ) -> Result<Vec<Verdict>, DbErr> {
        let decisions: Vec<Result<Decision, String>> = messages.iter().map(|message| read(message)).collect();
        let (verdicts, ends) = match reading {
            Reading::Optimistic(_) => judge(&decisions, |_| Transition::Apply),
            Reading::Locked(transaction) => {
                let ids: Vec<Uuid> = decisions.iter().flatten().map(|decision| decision.order_id).collect();
                let found = orders::lock(transaction, &ids).await?;
                let found: HashMap<Uuid, Order> = found.into_iter().map(|order| (order.id, order)).collect();
                judge(&decisions, |decision| transition(found.get(&decision.order_id), decision))
            }
        };
        let parks = verdicts.iter().any(|verdict| matches!(verdict, Verdict::Park(_)));
        if parks && matches!(reading, Reading::Optimistic(_)) {
            // What ends here stays so, and might have to wait behind what is to be parked.
            return Err(DbErr::RecordNotUpdated);
        }
        failpoint::at("orders.before_end");
        self.end(reading.executor(), &ends, effects).await?;
        failpoint::at("orders.after_end");
        Ok(verdicts)
    }

    fn is_optimistic(&self) -> bool {
        true
    }

    async fn was_applied(&self, executor: Executor<'_>, message: &Envelope) -> Result<bool, DbErr> {
        let Ok(decision) = read(message) else { return Ok(false) };
        let order = orders::find(&executor, decision.order_id, None).await?;
        Ok(transition(order.as_ref(), &decision) == Transition::Already)
    }
}

impl SettleOrders {
    /// Ends orders. Who watches is shown the whole order, so it is returned then.
    async fn end(
        &self,
        executor: Executor<'_>,
        ends: &[&Decision],
        effects: &mut Effects,
    ) -> Result<(), DbErr> {
        let now = self.clock.now();
        if !self.feed.is_watched() {
            return rows::write(&executor, &orders::ends(executor.get_database_backend(), ends, now)?).await;
        }
        let ended = orders::end(&executor, ends, now).await?;
        if ended.len() < ends.len() {
            return Err(DbErr::RecordNotUpdated);
        }
        let feed = self.feed.clone();
        effects.after_commit(move || feed.publish(|| ended));
        Ok(())
    }
}

/// A verdict on each decision, and those by which an order ends.
fn judge(
    decisions: &[Result<Decision, String>],
    transition: impl Fn(&Decision) -> Transition,
) -> (Vec<Verdict>, Vec<&Decision>) {
    let (mut verdicts, mut ends, mut ending) = (Vec::new(), Vec::new(), HashSet::new());
    for decision in decisions {
        let change = match decision {
            Ok(decision) => transition(decision),
            Err(problem) => Transition::Refuse(problem.clone()),
        };
        verdicts.push(match (change, decision) {
            (Transition::Refuse(problem), _) => Verdict::Park(problem),
            // The same decision twice in a batch ends its order once.
            (Transition::Apply, Ok(decision)) if ending.insert(decision.order_id) => {
                ends.push(decision);
                Verdict::Done
            }
            _ => Verdict::Done,
        });
    }
    (verdicts, ends)
}

/// The decision in a message, or why there is none: such a message is parked, not guessed at.
fn read(message: &Envelope) -> Result<Decision, String> {
    if message.kind != PaymentDecided::full_name() {
        return Err(format!("orders does not know messages of the kind {}", message.kind));
    }
    let decided = PaymentDecided::decode(message.payload.clone()).map_err(|error| error.to_string())?;
    let payment = decided.payment.ok_or("the message holds no payment")?;
    let uuid = |text: &str| text.parse::<Uuid>().map_err(|_| format!("{text:?} is no UUID"));
    let end = match payment.outcome() {
        Outcome::Paid => End::Finished(uuid(&payment.ledger_entry_id)?),
        Outcome::Rejected => End::Cancelled(match payment.reason() {
            Reason::InsufficientFunds => CancelReason::InsufficientFunds,
            Reason::AccountNotFound => CancelReason::AccountNotFound,
            Reason::CurrencyMismatch => CancelReason::CurrencyMismatch,
            other => return Err(format!("a payment is not rejected for {}", other.as_str_name())),
        }),
        Outcome::Voided => End::Cancelled(match payment.reason() {
            Reason::UserRequested => CancelReason::UserRequested,
            Reason::PaymentExpired => CancelReason::PaymentExpired,
            other => return Err(format!("a payment is not voided for {}", other.as_str_name())),
        }),
        other => return Err(format!("orders does not know the outcome {}", other.as_str_name())),
    };
    Ok(Decision {
        order_id: uuid(&payment.order_id)?,
        user_id: payment.user_id,
        amount: payment.amount,
        currency_code: payment.currency_code,
        end,
    })
}
