//! Somebody has changed the books by hand, so that a payment can never be decided: it is parked, and everybody else is paid.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use chassis::clock::{Clock as _, SystemClock};
use messaging::{
    broker::{Broker, Outcome, memory::MemoryBroker},
    consumer::{Consumer, Deduplication},
    envelope::Envelope,
    outbox::Outbox,
    parked,
    topology::Topology,
};
use ordermesh::orders::v1::OrderPlaced;
use payments::{
    reactions::decide_payments::{self, DecidePayments},
    store::{
        entity::{
            account::{self, Model as Account},
            ledger::{self, EntryType},
            payment,
        },
        schema::Migrations,
    },
};
use sea_orm::EntityTrait as _;
use storage::{Database, DatabaseUrl, Limits, rows};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use world::{PATIENCE, Postgres, Scratch, eventually};

#[tokio::test]
async fn on_sqlite() -> Result<()> {
    let scratch = Scratch::new("tampered")?;
    check(&DatabaseUrl::file(&scratch.path().join("payments.db"))).await
}

#[tokio::test]
async fn on_postgres() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    check(&postgres.fresh_database().await?.parse()?).await?;
    postgres.stop().await
}

async fn check(url: &DatabaseUrl) -> Result<()> {
    let database = Database::connect(url, Limits::default()).await?;
    database.migrate::<Migrations>().await?;
    let ahead = SystemClock.new_id();
    let undecided = SystemClock.new_id();
    // A sequence ahead of its account; and a debit without the decision that belongs to it.
    let entries = vec![entry("ahead", 1, ahead), entry("alice", 100, undecided)];
    let inserted = database.transact(move |transaction| {
        let entries = entries.clone();
        Box::pin(async move {
            rows::insert(transaction, &["ahead", "alice", "bob"].map(account)).await?;
            rows::insert(transaction, &entries).await
        })
    });
    inserted.await?;

    let topology = Topology::new("mesh", 1, [decide_payments::subscription()]);
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(topology));
    let handler = DecidePayments { outbox: Outbox::new(), clock: SystemClock::shared() };
    let subscription = decide_payments::subscription();
    let inbox = Deduplication::Inbox;
    let consumer = Consumer::new(database.clone(), Arc::clone(&broker), 1, subscription, inbox, handler);
    let mut tasks = JoinSet::new();
    tasks.spawn(consumer.run(CancellationToken::new()));

    let mut window = vec![placed("ahead", SystemClock.new_id()), placed("alice", undecided)];
    window.extend((0..50).map(|at| placed(if at % 2 == 0 { "alice" } else { "bob" }, SystemClock.new_id())));
    let wrong: Vec<Uuid> = window[..2].iter().map(|message| message.id).collect();
    let mut publisher = broker.publisher().await?;
    let published = publisher.publish(&window).await;
    ensure!(published.iter().all(|outcome| matches!(outcome, Outcome::Confirmed | Outcome::Unknown(_))));

    eventually("fifty decisions", 3 * PATIENCE, async || {
        let decisions = payment::Entity::find().all(database.read()).await?;
        ensure!(decisions.len() == 50, "{}", decisions.len());
        ensure!(decisions.iter().all(|decision| decision.outcome == payment::Outcome::Paid), "{decisions:?}");
        let parked = parked::Entity::find().all(database.read()).await?;
        let ids: Vec<Uuid> = parked.iter().filter_map(|row| row.message_id).collect();
        ensure!(ids.len() == 2 && wrong.iter().all(|id| ids.contains(id)), "{parked:?}");
        Ok(())
    })
    .await?;
    let alice = account::Entity::find_by_id("alice").one(database.read()).await?.context("alice is gone")?;
    ensure!(alice.balance == 1_000 - 25, "{alice:?}");
    tasks.abort_all();
    database.close().await;
    Ok(())
}

fn placed(user: &str, order_id: Uuid) -> Envelope {
    let payload = OrderPlaced {
        order_id: order_id.to_string(),
        user_id: user.to_owned(),
        amount: 1,
        currency_code: "RUB".to_owned(),
        ..OrderPlaced::default()
    };
    Envelope::new(SystemClock.new_id(), "one key", &payload, SystemClock.now())
}

fn account(user: &str) -> Account {
    let now = SystemClock.now();
    Account {
        user_id: user.to_owned(),
        balance: 1_000,
        currency_code: "RUB".to_owned(),
        version: 0,
        create_time: now,
        update_time: now,
        request_id: None,
        fingerprint: None,
    }
}

fn entry(user: &str, sequence: i64, order_id: Uuid) -> ledger::Model {
    ledger::Model {
        id: SystemClock.new_id(),
        user_id: user.to_owned(),
        sequence,
        entry_type: EntryType::OrderDebit,
        amount: -1,
        balance_after: 1_000,
        order_id: Some(order_id),
        request_id: None,
        fingerprint: None,
        counter_account: "system:order-revenue".to_owned(),
        create_time: SystemClock.now(),
        subject: None,
        token_id: None,
        trace_id: None,
        x_request_id: None,
    }
}
