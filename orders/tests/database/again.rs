//! A group of orders is applied again after it was stored: an attempt that failed behind its one statement. On SQLite a group is a
//! transaction, of which nothing stays then.

use anyhow::{Context as _, Result, ensure};
use messaging::outbox::{self, Outbox};
use orders::{
    commands::create_order::{CreateOrder, Placed, Placing},
    store::{
        entity::order::{Model as Order, Status},
        schema::Migrations,
    },
};
use storage::{Database, Limits, group::Batch as _};
use uuid::Uuid;
use world::Postgres;

#[tokio::test]
async fn stored_orders_are_answered_as_placed() -> Result<()> {
    let postgres = Postgres::start().await?;
    let database = Database::connect(&postgres.fresh_database().await?.parse()?, Limits::default()).await?;
    database.migrate::<Migrations>().await?;
    apply(&database, vec![order(1, Some("taken"), 1)]).await?;
    // One of each: without a key, with a new one, with one that was used for the same, and for something else.
    let group = || {
        vec![
            order(2, None, 1),
            order(3, Some("new"), 1),
            order(4, Some("taken"), 1),
            order(5, Some("taken"), 9),
        ]
    };
    let first = apply(&database, group()).await?;
    let again = apply(&database, group()).await?;
    for replies in [&first, &again] {
        let answers: Vec<_> = replies
            .iter()
            .map(|reply| {
                reply
                    .as_ref()
                    .map(|(order, replayed)| (order.id.as_u128(), *replayed))
                    .map_err(|fault| fault.reason.as_str())
            })
            .collect();
        ensure!(
            answers == [Ok((2, false)), Ok((3, false)), Ok((1, true)), Err("IDEMPOTENCY_KEY_REUSED")],
            "{answers:?}"
        );
    }
    let backlog = outbox::backlog(database.read()).await?;
    ensure!(backlog.pending == 3, "{backlog:?}");
    database.close().await;
    Ok(())
}

/// Applies a group as the writer does: by one statement where that is enough, and then by what looks for the rest.
async fn apply(database: &Database, orders: Vec<Order>) -> Result<Vec<Placed>> {
    let placings: Vec<Placing> = orders.into_iter().map(|order| Placing { order, trace: None }).collect();
    let batch = CreateOrder { outbox: Outbox::new() };
    let backend = database.backend();
    let applied = database.execute(move |executor| {
        let (batch, placings) = (batch.clone(), placings.clone());
        Box::pin(async move {
            let prepared = batch.prepare(backend, &placings)?;
            batch.apply(executor, &placings, &prepared).await
        })
    });
    applied.await.context("the group is applied")
}

fn order(id: u128, key: Option<&str>, amount: i64) -> Order {
    Order {
        id: Uuid::from_u128(id),
        user_id: "alice".into(),
        amount,
        currency_code: "RUB".into(),
        description: String::new(),
        status: Status::New,
        cancel_reason: None,
        create_time: 1,
        update_time: 1,
        expire_time: 2,
        cancel_request_time: None,
        cancel_request_id: None,
        void_due_time: 2,
        ask_due_time: 2,
        asked_message_id: None,
        version: 1,
        change_number: 0,
        ledger_entry_id: None,
        request_id: key.map(str::to_owned),
        fingerprint: key.map(|_| amount.to_be_bytes().to_vec()),
        subject: None,
        token_id: None,
        x_request_id: None,
    }
}
