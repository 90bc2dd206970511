//! A decision that was not handled is looked at before it is parked: its order may have ended by it meanwhile.

use std::sync::Arc;

use anyhow::{Result, ensure};
use chassis::clock::SystemClock;
use messaging::{consumer::Handler as _, envelope::Envelope};
use ordermesh::payments::v1::{
    Payment, PaymentDecided,
    payment::{Outcome, Reason},
};
use orders::{feed::Feed, reactions::settle_orders::SettleOrders, store::schema::Migrations};
use sea_orm::{ConnectionTrait as _, Statement};
use storage::{Database, DatabaseUrl, Limits};
use uuid::Uuid;
use world::{Postgres, Scratch};

#[tokio::test]
async fn a_decision_that_an_order_has_ended_by_is_applied_on_sqlite() -> Result<()> {
    let scratch = Scratch::new("applied")?;
    is_applied(DatabaseUrl::file(&scratch.path().join("orders.db"))).await
}

#[tokio::test]
async fn a_decision_that_an_order_has_ended_by_is_applied_on_postgresql() -> Result<()> {
    let postgres = Postgres::start().await?;
    is_applied(postgres.fresh_database().await?.parse()?).await
}

async fn is_applied(url: DatabaseUrl) -> Result<()> {
    let database = Database::connect(&url, Limits::default()).await?;
    database.migrate::<Migrations>().await?;
    let feed = Feed::new(database.clone()).await?;
    let handler = Arc::new(SettleOrders { feed, clock: SystemClock::shared() });
    // NEW; cancelled for want of an account; cancelled because it expired.
    for (id, status, reason) in [(1, 1, "NULL"), (2, 3, "2"), (3, 3, "5")] {
        let version = if status == 1 { 1 } else { 2 };
        let place = format!(
            "INSERT INTO orders (id, user_id, amount, currency_code, description, status, cancel_reason, create_time,
                update_time, expire_time, void_due_time, version, change_number)
             VALUES ($1, 'alice', 7, 'RUB', '', {status}, {reason}, 1, 1, 2, 2, {version}, 1)"
        );
        let place = Statement::from_sql_and_values(database.backend(), place, [Uuid::from_u128(id).into()]);
        let placed = database.transact(move |transaction| {
            let place = place.clone();
            Box::pin(async move { transaction.execute_raw(place).await.map(drop) })
        });
        placed.await?;
    }
    for (id, expected) in [(1, false), (2, true), (3, false), (4, false)] {
        let (handler, message) = (Arc::clone(&handler), rejected(id));
        let applied = database.execute(move |executor| {
            let (handler, message) = (Arc::clone(&handler), message.clone());
            Box::pin(async move { handler.was_applied(executor, &message).await })
        });
        ensure!(applied.await? == expected, "order {id}");
    }
    database.close().await;
    Ok(())
}

/// The decision that there is no account for an order.
fn rejected(id: u128) -> Envelope {
    let payment = Payment {
        order_id: Uuid::from_u128(id).to_string(),
        user_id: "alice".into(),
        amount: 7,
        currency_code: "RUB".into(),
        outcome: Outcome::Rejected.into(),
        reason: Reason::AccountNotFound.into(),
        ..Payment::default()
    };
    Envelope::new(Uuid::from_u128(99), "alice", &PaymentDecided { payment: Some(payment) }, 1)
}
