//! A tiny service of two tables: what is sold is one row, what has to be sent is another, and a message leads from the first
//! to the second. Run it with `cargo run -p messaging --example shop`: on SQLite and in one process, without any server.

use std::sync::Arc;

use async_trait::async_trait;
use messaging::{
    broker::{Broker, memory::MemoryBroker},
    consumer::{Consumer, Deduplication, Effects, Handler, Verdict},
    envelope::Envelope,
    outbox::Outbox,
    relay::Relay,
    schema::{
        COUNTED_REDRIVES, COUNTED_REPEATS, KEPT_ACTIONS, KEPT_CALLS, KEPT_ORDER, KEPT_ORIGINS, KEPT_PAUSES,
        KEPT_PROCESSES, KEPT_REPORTS, KEPT_REQUESTS, KEPT_WHOLE, MESSAGING_TABLES, PARKED_OPERATIONS,
        WHOLE_TRACE_CONTEXTS,
    },
    topology::{Subscription, Topology},
};
use prost::{Message, Name};
use sea_orm::{ConnectionTrait as _, DbErr, Statement};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use storage::{Database, DatabaseUrl, Limits, Reading, Transaction, rows::Write, schema::Statements};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The message. Its full name is the kind by which consumers subscribe; another version is another name.
#[derive(Clone, PartialEq, Message)]
struct Sold {
    #[prost(string, tag = "1")]
    article: String,
}

impl Name for Sold {
    const NAME: &'static str = "Sold";
    const PACKAGE: &'static str = "shop.v1";
}

/// The service's own tables, behind those of messaging.
struct Migrations;

impl MigratorTrait for Migrations {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(MESSAGING_TABLES),
            Box::new(COUNTED_REDRIVES),
            Box::new(WHOLE_TRACE_CONTEXTS),
            Box::new(KEPT_ORIGINS),
            Box::new(KEPT_ACTIONS),
            Box::new(PARKED_OPERATIONS),
            Box::new(KEPT_PAUSES),
            Box::new(KEPT_ORDER),
            Box::new(KEPT_REQUESTS),
            Box::new(KEPT_CALLS),
            Box::new(KEPT_PROCESSES),
            Box::new(KEPT_WHOLE),
            Box::new(Statements::new("shop", TABLES)),
            Box::new(KEPT_REPORTS),
            Box::new(COUNTED_REPEATS),
        ]
    }
}

const TABLES: &[&str] =
    &["CREATE TABLE sales (article TEXT NOT NULL)", "CREATE TABLE parcels (article TEXT NOT NULL)"];

/// Sells an article: the sale and the message about it are one transaction, so there is never the one without the other.
async fn sell(database: &Database, outbox: &Outbox, article: &'static str) -> anyhow::Result<()> {
    let message = Envelope::new(new_id(), article, &Sold { article: article.to_owned() }, now());
    let inside = outbox.clone();
    let sold = database.transact(move |transaction| {
        let (outbox, message) = (inside.clone(), message.clone());
        Box::pin(async move {
            insert(transaction, "sales", article).await?;
            outbox.write(transaction, &[message]).await
        })
    });
    sold.await?;
    outbox.wake();
    Ok(())
}

/// Packs what was sold: the parcel commits together with the row of the inbox that remembers the message.
struct Pack;

#[async_trait]
impl Handler for Pack {
    async fn handle(
        &self,
        _reading: Reading<'_>,
        messages: &[&Envelope],
        effects: &mut Effects,
    ) -> Result<Vec<Verdict>, DbErr> {
        let mut verdicts = Vec::new();
        for message in messages {
            verdicts.push(match Sold::decode(message.payload.clone()) {
                Ok(sold) => {
                    let sql = "INSERT INTO parcels (article) VALUES ($1)".to_owned();
                    effects.write(vec![Write::new(sql, vec![sold.article.into()], 1)]);
                    Verdict::Done
                }
                Err(error) => Verdict::Park(error.to_string()),
            });
        }
        Ok(verdicts)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let file = std::env::temp_dir().join(format!("shop-{}.db", std::process::id()));
    let database = Database::connect(&DatabaseUrl::file(&file), Limits::default()).await?;
    database.migrate::<Migrations>().await?;

    let subscription = Subscription { consumer: "packing".to_owned(), kinds: vec![Sold::full_name()] };
    let topology = Topology::new("shop", 1, [subscription.clone()]);
    let partitions = topology.partitions;
    // `RabbitBroker::new(url, topology)` is the other one.
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(topology));
    let outbox = Outbox::new();
    let stop = CancellationToken::new();
    let relay = Relay::new(database.clone(), outbox.clone(), Arc::clone(&broker), "/shop").run(stop.clone());
    let consumer =
        Consumer::new(database.clone(), broker, partitions, subscription, Deduplication::Inbox, Pack);
    let running = [tokio::spawn(relay), tokio::spawn(consumer.run(stop.clone()))];

    sell(&database, &outbox, "a lamp").await?;
    sell(&database, &outbox, "a chair").await?;
    while count(&database, "parcels").await? < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    stop.cancel();
    for task in running {
        task.await?;
    }
    eprintln!("{} sales, {} parcels", count(&database, "sales").await?, count(&database, "parcels").await?);
    database.close().await;
    Ok(std::fs::remove_file(file)?)
}

async fn insert(transaction: &Transaction, table: &str, article: &str) -> Result<(), DbErr> {
    let sql = format!("INSERT INTO {table} (article) VALUES ($1)");
    let backend = transaction.get_database_backend();
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, [article.into()])).await.map(drop)
}

async fn count(database: &Database, table: &str) -> anyhow::Result<i64> {
    let sql = Statement::from_string(database.backend(), format!("SELECT COUNT(*) FROM {table}"));
    let row = database.read().query_one_raw(sql).await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default())
}

#[expect(clippy::disallowed_methods, reason = "an example has no clock of its own")]
fn new_id() -> Uuid {
    Uuid::now_v7()
}

#[expect(clippy::disallowed_methods, reason = "an example has no clock of its own")]
fn now() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}
