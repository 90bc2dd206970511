//! Who has placed an order is known to payments however it learns of the order: by the first message, or when it is asked again.

use std::sync::Arc;

use anyhow::{Result, ensure};
use chassis::clock::Micros;
use messaging::outbox::{self, Outbox};
use orders::{
    commands::create_order::{CreateOrder, Placing},
    expiry::Expiry,
    store::{
        entity::order::{Model as Order, Status},
        schema::Migrations,
    },
};
use sea_orm::EntityTrait as _;
use storage::{Database, DatabaseUrl, Limits, group::GroupCommit};
use uuid::Uuid;
use world::{Postgres, Scratch};

use crate::clock::At;

const PLACED: Micros = 1_700_000_000_000_000;
const TTL: Micros = 600_000_000;

#[tokio::test]
async fn on_sqlite() -> Result<()> {
    let scratch = Scratch::new("asked")?;
    on_behalf_of_who_placed_it(DatabaseUrl::file(&scratch.path().join("orders.db"))).await
}

#[tokio::test]
async fn on_postgresql() -> Result<()> {
    let postgres = Postgres::start().await?;
    on_behalf_of_who_placed_it(postgres.fresh_database().await?.parse()?).await
}

async fn on_behalf_of_who_placed_it(url: DatabaseUrl) -> Result<()> {
    let database = Database::connect(&url, Limits::default()).await?;
    database.migrate::<Migrations>().await?;
    let (group, writer) = GroupCommit::new(database.clone(), CreateOrder { outbox: Outbox::new() });
    tokio::spawn(writer);
    let placed = group.submit(Placing { order: order(), trace: None }).await?;
    ensure!(placed.is_ok(), "{placed:?}");
    // The message is published, and lost.
    let gone = database.transact(|transaction| {
        Box::pin(async { outbox::Entity::delete_many().exec(transaction).await.map(drop) })
    });
    let first = outbox::list(database.read()).await?;
    gone.await?;
    let clock = Arc::new(At(PLACED + TTL / 2));
    Expiry { database: database.clone(), outbox: Outbox::new(), clock }.step().await?;
    let again = outbox::list(database.read()).await?;
    for asked in [first, again] {
        let origins: Vec<_> =
            asked.iter().map(|row| (row.subject.as_deref(), row.token_id.as_deref())).collect();
        ensure!(origins == [(Some("alice"), Some("t-1"))], "{asked:?}");
    }
    database.close().await;
    Ok(())
}

fn order() -> Order {
    Order {
        id: Uuid::from_u128(1),
        user_id: "alice".into(),
        amount: 1,
        currency_code: "RUB".into(),
        description: String::new(),
        status: Status::New,
        cancel_reason: None,
        create_time: PLACED,
        update_time: PLACED,
        expire_time: PLACED + TTL,
        cancel_request_time: None,
        cancel_request_id: None,
        void_due_time: PLACED + TTL,
        ask_due_time: PLACED + 1,
        asked_message_id: None,
        version: 1,
        change_number: 0,
        ledger_entry_id: None,
        request_id: None,
        fingerprint: None,
        subject: Some("alice".into()),
        token_id: Some("t-1".into()),
        x_request_id: None,
    }
}
