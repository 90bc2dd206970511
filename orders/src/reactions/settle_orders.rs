//! The payment of an order was decided: the order ends by it. A terminal order stays as it is, so the reaction is idempotent by
//! itself and needs no inbox.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use chassis::clock::Clock;
use messaging::{
    consumer::{Handler, Verdict},
    envelope::Envelope,
    topology::Subscription,
};
use ordermesh::payments::v1::{
    PaymentDecided,
    payment::{Outcome, Reason},
};
use prost::{Message as _, Name as _};
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

use crate::{
    domain::{
        order::{CancelReason, Model as Order},
        settle::{Decision, End, Ruling, rule},
    },
    feed::Feed,
    store::orders,
};

/// Ends orders, a batch in a transaction.
#[derive(Debug)]
pub struct SettleOrders {
    /// Who tells those who watch.
    pub feed: Feed,
    /// Where the orders take their time from.
    pub clock: Arc<dyn Clock>,
}

/// What orders hears.
#[must_use]
pub fn subscription() -> Subscription {
    Subscription { consumer: "orders".to_owned(), kinds: vec![PaymentDecided::full_name()] }
}

#[async_trait]
impl Handler for SettleOrders {
    async fn handle(
        &self,
        transaction: &DatabaseTransaction,
        batch: &[&Envelope],
    ) -> Result<Vec<Verdict>, DbErr> {
        let decisions: Vec<Result<Decision, String>> = batch.iter().map(|message| read(message)).collect();
        let ids: Vec<Uuid> = decisions.iter().flatten().map(|decision| decision.order_id).collect();
        let found: HashMap<Uuid, Order> =
            orders::find_all(transaction, &ids).await?.into_iter().map(|order| (order.id, order)).collect();
        let mut ends = Vec::with_capacity(ids.len());
        let mut ending = HashSet::with_capacity(ids.len());
        let verdicts = decisions
            .into_iter()
            .map(|decision| {
                let decision = match decision {
                    Ok(decision) => decision,
                    Err(problem) => return Verdict::Park(problem),
                };
                match rule(found.get(&decision.order_id), &decision) {
                    Ruling::Refuse(problem) => return Verdict::Park(problem),
                    // The same decision twice in a batch ends its order once.
                    Ruling::Apply if ending.insert(decision.order_id) => {
                        ends.push((decision.order_id, decision.end))
                    }
                    Ruling::Apply | Ruling::Already => {}
                }
                Verdict::Done
            })
            .collect();
        orders::end(transaction, &ends, self.clock.now()).await?;
        Ok(verdicts)
    }

    fn committed(&self) {
        self.feed.wake();
    }
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
            other => return Err(format!("a payment is not rejected for {other:?}")),
        }),
        Outcome::Voided => End::Cancelled(match payment.reason() {
            Reason::UserRequested => CancelReason::UserRequested,
            Reason::PaymentExpired => CancelReason::PaymentExpired,
            other => return Err(format!("a payment is not voided for {other:?}")),
        }),
        other => return Err(format!("orders does not know the outcome {other:?}")),
    };
    Ok(Decision {
        order_id: uuid(&payment.order_id)?,
        user_id: payment.user_id,
        amount: payment.amount,
        currency_code: payment.currency_code,
        end,
    })
}
