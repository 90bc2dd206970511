//! An order was placed: its payment is decided, once, and the decision is told to whoever asked.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use chassis::clock::Clock;
use messaging::{
    consumer::{Handler, Verdict},
    envelope::Envelope,
    outbox::Outbox,
    topology::Subscription,
};
use ordermesh::{orders::v1::OrderPlaced, payments::v1::PaymentDecided, rules};
use prost::{Message as _, Name as _};
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

use crate::{
    domain::{
        book::{Book, Charge},
        payment::Model as Payment,
    },
    grpc::wire,
    store::{accounts, ledger, payments},
};

/// Pays orders, a batch in a transaction.
#[derive(Debug)]
pub struct PayOrders {
    /// Where decisions go.
    pub outbox: Outbox,
    /// Where decisions take their time and their ids from.
    pub clock: Arc<dyn Clock>,
}

/// What payments hears.
#[must_use]
pub fn subscription() -> Subscription {
    Subscription { consumer: "payments".to_owned(), kinds: vec![OrderPlaced::full_name()] }
}

#[async_trait]
impl Handler for PayOrders {
    async fn handle(
        &self,
        transaction: &DatabaseTransaction,
        batch: &[&Envelope],
    ) -> Result<Vec<Verdict>, DbErr> {
        let charges: Vec<Result<Charge, String>> = batch.iter().map(|message| read(message)).collect();
        let asked: Vec<&Charge> = charges.iter().filter_map(|charge| charge.as_ref().ok()).collect();
        let decisions = self.decide(transaction, &asked).await?;
        let told = batch.iter().zip(&charges).filter_map(|(message, charge)| {
            let payment = decisions.get(&charge.as_ref().ok()?.order_id)?;
            let payload = PaymentDecided { payment: Some(wire::payment(payment)) };
            let told = Envelope::new(self.clock.new_id(), &payment.user_id, &payload, self.clock.now());
            Some(told.with_traceparent(message.traceparent.clone()))
        });
        self.outbox.write(transaction, &told.collect::<Vec<_>>()).await?;
        Ok(charges.into_iter().map(|charge| charge.map_or_else(Verdict::Park, |_| Verdict::Done)).collect())
    }

    fn committed(&self) {
        self.outbox.wake();
    }
}

impl PayOrders {
    /// The decision about each order: the stored one where there is one, a new one otherwise.
    async fn decide(
        &self,
        transaction: &DatabaseTransaction,
        charges: &[&Charge],
    ) -> Result<HashMap<Uuid, Payment>, DbErr> {
        // The accounts first: who holds them sees every decision about their orders that was made before.
        let accounts =
            accounts::lock(transaction, charges.iter().map(|charge| charge.user_id.as_str())).await?;
        let order_ids: Vec<Uuid> = charges.iter().map(|charge| charge.order_id).collect();
        let stored = payments::find_all(transaction, &order_ids).await?;
        let mut decided: HashSet<Uuid> = stored.iter().map(|payment| payment.order_id).collect();
        let mut book = Book::open(accounts, self.clock.as_ref());
        let new: Vec<Payment> = charges
            .iter()
            .filter(|charge| decided.insert(charge.order_id))
            .map(|charge| book.decide(charge))
            .collect();
        let bookings = book.close();
        ledger::append(transaction, &bookings.entries).await?;
        accounts::update(transaction, &bookings.accounts).await?;
        payments::record(transaction, &new).await?;
        Ok(stored.into_iter().chain(new).map(|payment| (payment.order_id, payment)).collect())
    }
}

/// The charge in a message, or why there is none: such a message is parked, not guessed at.
fn read(message: &Envelope) -> Result<Charge, String> {
    if message.kind != OrderPlaced::full_name() {
        return Err(format!("payments does not know messages of the kind {}", message.kind));
    }
    let placed = OrderPlaced::decode(message.payload.clone()).map_err(|error| error.to_string())?;
    let order_id =
        placed.order_id.parse().map_err(|_| format!("order_id {:?} is no UUID", placed.order_id))?;
    for (field, verdict) in [
        ("user_id", rules::user_id(&placed.user_id)),
        ("amount", rules::amount(placed.amount)),
        ("currency_code", rules::currency_code(&placed.currency_code)),
    ] {
        verdict.map_err(|problem| format!("{field} {problem}"))?;
    }
    Ok(Charge {
        order_id,
        user_id: placed.user_id,
        amount: placed.amount,
        currency_code: placed.currency_code,
    })
}
