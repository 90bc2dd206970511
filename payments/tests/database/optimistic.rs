//! What payments handles optimistically, and what gets in its way: nothing of a batch is written then, and the attempt under locks
//! decides by what is there.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chassis::clock::{Clock as _, SystemClock};
use messaging::{
    consumer::{Effects, Handler as _, Verdict},
    envelope::Envelope,
    origin::Origin,
    outbox::{self, Outbox},
};
use ordermesh::{
    orders::v1::OrderPlaced,
    payments::v1::{VoidPayment, payment::Reason as Why},
};
use payments::{
    commands::{create_account::CreateAccount, top_up_account::TopUpAccount},
    domain::deposit::Deposit,
    reactions::decide_payments::DecidePayments,
    store::{
        accounts,
        entity::{
            account::Model as Account,
            ledger,
            payment::{self, Outcome, Reason},
        },
        schema::Migrations,
    },
};
use sea_orm::{
    ConnectionTrait as _, DbBackend, EntityTrait as _, PaginatorTrait as _, Statement, TransactionTrait as _,
};
use storage::{Database, DatabaseUrl, Failure, Limits, Reading, group::GroupCommit};
use uuid::Uuid;
use world::{Postgres, Scratch, eventually};

use crate::writer;

const USER: &str = "alice";
const CURRENCY: &str = "RUB";

#[tokio::test]
async fn on_sqlite() -> Result<()> {
    let scratch = Scratch::new("optimistic")?;
    check(&DatabaseUrl::file(&scratch.path().join("payments.db"))).await
}

#[tokio::test]
async fn on_postgres() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    check(&postgres.fresh_database().await?.parse()?).await?;
    postgres.stop().await
}

/// A race for an account that is lost is a matter of course: the log of the server shows no error.
#[tokio::test]
async fn a_lost_race_is_no_error_of_the_database() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let world = World::on(&postgres.fresh_database().await?.parse()?).await?;
    open(&world.database, "bob").await?;
    for user in [USER, "bob"] {
        world.top_up_of(user, 100).await?;
    }
    for users in [&[USER][..], &[USER, "bob"], &["bob", USER]] {
        let orders: Vec<(Uuid, Envelope)> = users.iter().map(|user| order_of(user, 1)).collect();
        let messages: Vec<&Envelope> = orders.iter().map(|(_, message)| message).collect();
        let effects = world.prepare(&messages).await?;
        world.top_up(1).await?;
        world.is_refused(effects).await?;
        // Nobody comes between the second time.
        world.apply(world.prepare(&messages).await?).await?;
        for (order_id, _) in orders {
            world.decision(order_id).await?;
        }
    }
    ensure!(world.books().await?.balance == 100 + 3 - 3, "{:?}", world.books().await?);
    let log = postgres.log()?;
    ensure!(!log.contains("ERROR"), "{log}");
    world.database.close().await;
    postgres.stop().await
}

/// Those who lock accounts and those who only change them take them in the same order, also where the database sorts texts otherwise.
#[tokio::test]
async fn accounts_are_held_in_the_order_of_bytes() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let create = "CREATE DATABASE english TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
    let admin = Database::connect(&postgres.fresh_database().await?.parse()?, Limits::default()).await?;
    admin.read().execute_unprepared(create).await?;
    admin.close().await;
    let database = Database::connect(&postgres.url("english").parse()?, Limits::default()).await?;
    database.migrate::<Migrations>().await?;
    let users = ["alice", "Bob"];
    for user in users {
        open(&database, user).await?;
    }
    let row = database.read().query_one_raw(sql("SELECT 'alice' < 'Bob' COLLATE \"default\"")).await?;
    ensure!(row.context("a row")?.try_get_by_index::<bool>(0)?, "the database sorts as bytes do");

    // Somebody holds Bob, and who wants both waits for him first.
    let holder = sea_orm::Database::connect(postgres.url("english")).await?.begin().await?;
    accounts::lock(&holder, ["Bob"]).await?;
    let second = database.clone();
    let both = tokio::spawn(async move {
        let locked = second.transact(move |transaction| {
            Box::pin(async move { Ok(accounts::lock(transaction, users).await?.len()) })
        });
        locked.await
    });
    let waits =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = 'english' AND wait_event_type = 'Lock'";
    eventually("the second to wait", Duration::from_secs(20), async || {
        let row = database.read().query_one_raw(sql(waits)).await?.context("a count has a row")?;
        ensure!(row.try_get_by_index::<i64>(0)? == 1, "nobody waits");
        Ok(())
    })
    .await?;
    let free = "SELECT 1 FROM accounts WHERE user_id = 'alice' FOR UPDATE SKIP LOCKED";
    let free = database.read().query_one_raw(sql(free)).await?;
    ensure!(free.is_some(), "alice is held by who waits for Bob");
    holder.rollback().await?;
    ensure!(both.await?? == 2);
    database.close().await;
    postgres.stop().await
}

async fn check(url: &DatabaseUrl) -> Result<()> {
    let world = World::on(url).await?;
    world.top_up(100).await?;
    nobody_is_in_the_way(&world).await?;
    a_top_up_comes_between(&world).await?;
    a_message_comes_twice(&world).await?;
    a_decision_that_touches_no_account_is_made_once(&world).await?;
    world.database.close().await;
    Ok(())
}

async fn nobody_is_in_the_way(world: &World) -> Result<()> {
    let (order_id, placed) = order(60);
    world.apply(world.prepare(&[&placed]).await?).await?;
    ensure!(world.decision(order_id).await?.outcome == Outcome::Paid);
    let books = world.books().await?;
    ensure!(books == Books { balance: 40, entries: 2, decisions: 1, messages: 1 }, "{books:?}");
    Ok(())
}

async fn a_top_up_comes_between(world: &World) -> Result<()> {
    let [(order_id, placed), (_, other)] = [order(60), order(10)];
    let effects = world.prepare(&[&placed, &other]).await?;
    world.top_up(60).await?;
    world.is_refused(effects).await?;
    world.decide(&placed).await?;
    ensure!(world.decision(order_id).await?.balance_observed == Some(100));
    Ok(())
}

async fn a_message_comes_twice(world: &World) -> Result<()> {
    let [(_, placed), (_, other)] = [order(40), order(1)];
    let first = world.prepare(&[&placed]).await?;
    let second = world.prepare(&[&placed, &other]).await?;
    world.apply(first).await?;
    world.is_refused(second).await?;
    ensure!(world.books().await?.balance == 0);
    Ok(())
}

async fn a_decision_that_touches_no_account_is_made_once(world: &World) -> Result<()> {
    let (order_id, placed) = order(7);
    let void = message(&VoidPayment {
        order_id: order_id.to_string(),
        user_id: USER.to_owned(),
        amount: 7,
        currency_code: CURRENCY.to_owned(),
        reason: Why::UserRequested.into(),
    });
    // The balance is zero: it would be rejected.
    let late = world.prepare(&[&placed]).await?;
    world.apply(world.prepare(&[&void]).await?).await?;
    world.is_refused(late).await?;
    world.decide(&placed).await?;
    let decision = world.decision(order_id).await?;
    ensure!(
        (decision.outcome, decision.reason) == (Outcome::Voided, Some(Reason::UserRequested)),
        "{decision:?}"
    );
    Ok(())
}

/// An order, and the message that it was placed.
fn order(amount: i64) -> (Uuid, Envelope) {
    order_of(USER, amount)
}

fn order_of(user_id: &str, amount: i64) -> (Uuid, Envelope) {
    let order_id = SystemClock.new_id();
    let placed = OrderPlaced {
        order_id: order_id.to_string(),
        user_id: user_id.to_owned(),
        amount,
        currency_code: CURRENCY.to_owned(),
        ..OrderPlaced::default()
    };
    (order_id, Envelope::new(SystemClock.new_id(), user_id, &placed, SystemClock.now()))
}

fn message<M: prost::Message + prost::Name>(payload: &M) -> Envelope {
    Envelope::new(SystemClock.new_id(), USER, payload, SystemClock.now())
}

/// Opens an account without money.
async fn open(database: &Database, user_id: &str) -> Result<()> {
    let now = SystemClock.now();
    let account = Account {
        user_id: user_id.to_owned(),
        balance: 0,
        currency_code: CURRENCY.to_owned(),
        version: 0,
        create_time: now,
        update_time: now,
        request_id: None,
        fingerprint: None,
    };
    let opened = writer(database, CreateAccount).submit(account).await?;
    ensure!(opened.is_ok(), "{opened:?}");
    Ok(())
}

fn sql(text: &str) -> Statement {
    Statement::from_string(DbBackend::Postgres, text)
}

/// The balance, and how many rows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Books {
    balance: i64,
    entries: u64,
    decisions: u64,
    messages: u64,
}

struct World {
    database: Database,
    handler: Arc<DecidePayments>,
    top_ups: GroupCommit<TopUpAccount>,
}

impl World {
    /// With an account without money.
    async fn on(url: &DatabaseUrl) -> Result<Self> {
        let database = Database::connect(url, Limits::default()).await?;
        database.migrate::<Migrations>().await?;
        open(&database, USER).await?;
        let clock = SystemClock::shared();
        let top_ups = writer(&database, TopUpAccount { clock: Arc::clone(&clock) });
        let handler = Arc::new(DecidePayments { outbox: Outbox::new(), clock });
        Ok(Self { database, handler, top_ups })
    }

    async fn top_up(&self, amount: i64) -> Result<()> {
        self.top_up_of(USER, amount).await
    }

    async fn top_up_of(&self, user_id: &str, amount: i64) -> Result<()> {
        let deposit = Deposit {
            user_id: user_id.to_owned(),
            amount,
            currency_code: CURRENCY.to_owned(),
            request_id: None,
            versions: None,
            fingerprint: [0; 32],
            origin: Origin::default(),
        };
        let booked = self.top_ups.submit(deposit).await?;
        ensure!(booked.is_ok(), "{:?}", booked.err());
        Ok(())
    }

    /// What a batch is to leave, by what is there now.
    async fn prepare(&self, messages: &[&Envelope]) -> Result<Effects> {
        let (handler, messages) = (Arc::clone(&self.handler), owned(messages));
        let prepared = self.database.execute(move |executor| {
            let (handler, messages) = (Arc::clone(&handler), Arc::clone(&messages));
            Box::pin(async move {
                let messages: Vec<&Envelope> = messages.iter().collect();
                let mut effects = Effects::default();
                let verdicts = handler.handle(Reading::Optimistic(executor), &messages, &mut effects).await?;
                Ok(verdicts.iter().all(|verdict| *verdict == Verdict::Done).then_some(effects))
            })
        });
        prepared.await?.context("the batch was not handled")
    }

    async fn apply(&self, effects: Effects) -> Result<()> {
        Ok(effects.commit(&self.database).await.map(drop)?)
    }

    /// It cannot be written, and none of it is.
    async fn is_refused(&self, effects: Effects) -> Result<()> {
        let before = self.books().await?;
        let outcome = effects.commit(&self.database).await;
        ensure!(matches!(outcome, Err(Failure::Refused(_))), "{outcome:?}");
        let after = self.books().await?;
        ensure!(before == after, "{before:?} became {after:?}");
        Ok(())
    }

    /// As a consumer does then.
    async fn decide(&self, message: &Envelope) -> Result<()> {
        let (handler, messages) = (Arc::clone(&self.handler), owned(&[message]));
        let decided = self.database.transact(move |transaction| {
            let (handler, messages) = (Arc::clone(&handler), Arc::clone(&messages));
            Box::pin(async move {
                let messages: Vec<&Envelope> = messages.iter().collect();
                let mut effects = Effects::default();
                let verdicts = handler.handle(Reading::Locked(transaction), &messages, &mut effects).await?;
                effects.apply(transaction).await?;
                Ok(verdicts)
            })
        });
        let verdicts = decided.await?;
        ensure!(verdicts == [Verdict::Done], "{verdicts:?}");
        Ok(())
    }

    async fn decision(&self, order_id: Uuid) -> Result<payment::Model> {
        let found = payments::store::payments::find(self.database.read(), order_id, None).await?;
        found.context("there is no decision")
    }

    async fn books(&self) -> Result<Books> {
        let read = self.database.read();
        Ok(Books {
            balance: accounts::find(read, USER).await?.context("the account is gone")?.balance,
            entries: ledger::Entity::find().count(read).await?,
            decisions: payment::Entity::find().count(read).await?,
            messages: outbox::Entity::find().count(read).await?,
        })
    }
}

fn owned(messages: &[&Envelope]) -> Arc<Vec<Envelope>> {
    Arc::new(messages.iter().copied().cloned().collect())
}
