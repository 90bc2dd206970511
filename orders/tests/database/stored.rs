//! Orders that are stored are answered as stored, whatever becomes of what is read afterwards.

use anyhow::{Result, ensure};
use chassis::status::Reason;
use messaging::outbox::Outbox;
use orders::{
    commands::create_order::{CreateOrder, Placing},
    store::{
        entity::order::{Model as Order, Status},
        schema::Migrations,
    },
};
use sea_orm::{ConnectionTrait as _, Statement};
use storage::{Database, Limits, group::GroupCommit};
use uuid::Uuid;
use world::Postgres;

/// A role that may not read whole orders, which is what a repeated key asks for.
const ROLE: [&str; 3] = [
    "CREATE ROLE half LOGIN",
    "GRANT INSERT ON orders, outbox TO half",
    "GRANT SELECT (id) ON orders TO half",
];

#[tokio::test]
async fn a_failed_read_of_a_repeated_key_fails_nobody_else() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    let owner = Database::connect(&url.parse()?, Limits::default()).await?;
    owner.migrate::<Migrations>().await?;
    let first = group(&owner).submit(placing(1, "first")).await?;
    ensure!(first.is_ok(), "{first:?}");
    for sql in ROLE {
        owner.read().execute_unprepared(sql).await?;
    }

    let half = url.replacen("postgres@", "half@", 1);
    let half = Database::connect(&half.parse()?, Limits::default()).await?;
    let group = group(&half);
    let (repeated, new) = tokio::join!(group.submit(placing(2, "first")), group.submit(placing(3, "new")));
    let repeated = repeated?.expect_err("the first answer cannot be read");
    ensure!(repeated.reason == Reason::StorageUnavailable, "{repeated:?}");
    let (order, replayed) = new??;
    ensure!(order.id == Uuid::from_u128(3) && !replayed);

    let elsewhere = sea_orm::Database::connect(&url).await?;
    let count = Statement::from_string(elsewhere.get_database_backend(), "SELECT COUNT(*) FROM orders");
    let count = elsewhere.query_one_raw(count).await?.expect("a count has a row");
    ensure!(count.try_get_by_index::<i64>(0)? == 2);
    half.close().await;
    owner.close().await;
    postgres.stop().await
}

fn group(database: &Database) -> GroupCommit<CreateOrder> {
    let create = CreateOrder { outbox: Outbox::new() };
    let (group, writer) = GroupCommit::new(database.clone(), create);
    tokio::spawn(writer);
    group
}

fn placing(id: u128, key: &str) -> Placing {
    let order = Order {
        id: Uuid::from_u128(id),
        user_id: "alice".to_owned(),
        amount: 7,
        currency_code: "RUB".to_owned(),
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
        request_id: Some(key.to_owned()),
        fingerprint: Some(vec![7; 32]),
        subject: Some("alice".to_owned()),
        token_id: Some("t".repeat(36)),
        x_request_id: None,
    };
    Placing { order, trace: None }
}
