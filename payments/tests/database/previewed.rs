//! A preview of parked messages says what their redrive then does: each row and each message of it, on both databases, for a thousand
//! messages of every kind of outcome.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chassis::clock::{Clock, Micros};
use messaging::{
    broker::memory::MemoryBroker,
    consumer::{Consumer, Deduplication, Outcome, Preview},
    outbox::Outbox,
    parked::{self, Action, Filter, Mode, State, operate},
    topology::Topology,
};
use ordermesh::{
    orders::v1::OrderPlaced,
    payments::v1::{VoidPayment, payment::Reason},
};
use payments::{
    reactions::decide_payments::{DecidePayments, subscription},
    store::{entity::account::Model as Account, schema::Migrations},
};
use prost::{Message, Name};
use sea_orm::{ConnectionTrait as _, Statement};
use storage::{Database, DatabaseUrl, Limits, rows};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use world::{PATIENCE, Postgres, Scratch, eventually};

const MESSAGES: u64 = 1_000;
/// More than an operator's call has: all of them are one preview here, on a machine with busy neighbours too.
const HOLD: Duration = Duration::from_secs(60);
const NOW: Micros = 1_767_225_600_000_000;
/// What a redrive leaves of a service's own.
const TABLES: [&str; 4] = ["accounts", "ledger_entries", "payments", "outbox"];

#[tokio::test]
async fn a_preview_is_the_redrive_that_follows_embedded() -> Result<()> {
    let scratch = Scratch::new("previewed")?;
    check(&DatabaseUrl::file(&scratch.path().join("payments.db"))).await
}

#[tokio::test]
async fn a_preview_is_the_redrive_that_follows_on_postgres() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    check(&postgres.fresh_database().await?.parse()?).await?;
    postgres.stop().await
}

/// Stands still, and counts its ids: who does the same makes the same ids.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Clock for Counting {
    fn now(&self) -> Micros {
        NOW
    }

    fn new_id(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + (7 << 76) + (2 << 62))
    }
}

fn consumer(database: &Database) -> Consumer {
    let topology = Topology { consumers: vec![subscription()], ..Topology::new("tests", 1, []) };
    let decide = DecidePayments { outbox: Outbox::new(), clock: Arc::new(Counting::default()) };
    let broker = Arc::new(MemoryBroker::new(topology));
    Consumer::new(database.clone(), broker, 1, subscription(), Deduplication::Requests, decide)
}

async fn check(url: &DatabaseUrl) -> Result<()> {
    let database = Database::connect(url, Limits { statement_timeout: HOLD, ..Limits::default() }).await?;
    database.migrate::<Migrations>().await?;
    park(&database).await?;
    let before = everything(&database).await?;
    let seqs = parked::list(database.read(), &Filter::default(), 0, MESSAGES).await?;
    let previewed =
        consumer(&database).operated().preview(seqs.iter().map(|row| row.seq).collect(), HOLD).await?;
    ensure!(previewed.len() as u64 == MESSAGES, "{} of them were previewed", previewed.len());
    ensure!(everything(&database).await? == before, "a preview has changed something");

    operate(&database, Action::Redrive, &Filter::default(), "olga", Mode::Apply).await?;
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(consumer(&database).run(stop.clone()));
    eventually("every message to be tried", 4 * PATIENCE, async || {
        let left = parked::count(database.read(), State::Redriven).await?;
        ensure!(left == 0, "{left} are left");
        Ok(())
    })
    .await?;
    stop.cancel();
    while tasks.join_next().await.is_some() {}

    let refused: BTreeMap<i64, String> = parked::list(database.read(), &Filter::default(), 0, MESSAGES)
        .await?
        .into_iter()
        .map(|row| (row.seq, row.error))
        .collect();
    ensure!((1..MESSAGES as usize / 2).contains(&refused.len()), "{} are parked again", refused.len());
    for preview in &previewed {
        let expected = match refused.get(&preview.message.seq) {
            None => Outcome::Done,
            Some(error) => Outcome::Parked(unnamed(error)),
        };
        let outcome = match &preview.outcome {
            Outcome::Parked(error) => Outcome::Parked(unnamed(error)),
            other => other.clone(),
        };
        ensure!(outcome == expected, "{expected:?}, and not as in {preview:#?}");
    }
    is_what_happened(&before, &previewed, &everything(&database).await?)?;
    database.close().await;
    Ok(())
}

/// The rows of each table by their keys, as JSON; without the outbox's numbers, which PostgreSQL does not give twice.
type Rows = BTreeMap<(String, String), serde_json::Value>;

/// Tables whose rows are only added, and called by ids that are made on the way: those follow the turns that keys take, which a preview need
/// not know. So their rows are counted by what else they say.
const ADDED: [&str; 2] = ["ledger_entries", "outbox"];

/// How often each row was added, of each such table.
type Added = BTreeMap<(String, String), usize>;

/// The rows before, with the changes that were previewed, are the rows after; and each change begins where the one before has ended.
fn is_what_happened(before: &Rows, previewed: &[Preview], after: &Rows) -> Result<()> {
    let (mut rows, mut added) = counted(before);
    for preview in previewed {
        for change in preview.changes.iter().chain(&preview.outbox) {
            let row = |row: &Option<serde_json::Value>| row.clone().map(unnumbered).map(unnamed_row);
            let (old, new) = (row(&change.before), row(&change.after));
            if ADDED.contains(&change.table.as_str()) {
                ensure!(old.is_none(), "{change:#?}");
                let row = new.context("a row that is added")?.to_string();
                *added.entry((change.table.clone(), row)).or_default() += 1;
                continue;
            }
            let place = (change.table.clone(), change.key.clone());
            ensure!(rows.get(&place).cloned() == old, "{change:#?}: {:?}", rows.get(&place));
            match new {
                Some(after) => drop(rows.insert(place, after)),
                None => drop(rows.remove(&place)),
            }
        }
    }
    let (rows_after, added_after) = counted(after);
    are_the_same(&rows, &rows_after)?;
    are_the_same(&added, &added_after)?;
    ensure!(rows.len() + added.values().sum::<usize>() > MESSAGES as usize, "only {} rows", rows.len());
    Ok(())
}

fn counted(all: &Rows) -> (Rows, Added) {
    let (mut rows, mut added) = (Rows::new(), Added::new());
    for ((table, key), row) in all.iter().filter(|((table, _), _)| TABLES.contains(&table.as_str())) {
        let row = unnamed_row(row.clone());
        if ADDED.contains(&table.as_str()) {
            *added.entry((table.clone(), row.to_string())).or_default() += 1;
        } else {
            rows.insert((table.clone(), key.clone()), row);
        }
    }
    (rows, added)
}

fn are_the_same<V: PartialEq + std::fmt::Debug>(
    previewed: &BTreeMap<(String, String), V>,
    stored: &BTreeMap<(String, String), V>,
) -> Result<()> {
    let places: BTreeSet<_> = previewed.keys().chain(stored.keys()).collect();
    for place in places {
        let (previewed, stored) = (previewed.get(place), stored.get(place));
        ensure!(previewed == stored, "{place:?}: {stored:?} and not {previewed:?}");
    }
    Ok(())
}

fn unnumbered(mut row: serde_json::Value) -> serde_json::Value {
    row.as_object_mut().map(|row| row.remove("seq"));
    row
}

/// A row without the ids that [`Counting`] has made, whose bytes are read as text.
fn unnamed_row(mut row: serde_json::Value) -> serde_json::Value {
    for value in row.as_object_mut().into_iter().flat_map(|row| row.values_mut()) {
        let serde_json::Value::String(text) = value else { continue };
        let bytes = text.strip_prefix("\\x").and_then(|digits| {
            let pairs =
                (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok());
            pairs.collect::<Option<Vec<u8>>>()
        });
        *text = unnamed(&bytes.map_or(text.clone(), |bytes| String::from_utf8_lossy(&bytes).into_owned()));
    }
    row
}

/// A text without the ids that [`Counting`] has made.
fn unnamed(text: &str) -> String {
    const BEGINNING: &str = "00000000-0000-7000-8000-";
    let mut parts = text.split(BEGINNING);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "made " + part.get(12..).unwrap_or_default())
}

async fn everything(database: &Database) -> Result<Rows> {
    let mut rows = Rows::new();
    for (table, key) in [
        ("accounts", "user_id"),
        ("ledger_entries", "id"),
        ("payments", "order_id"),
        ("outbox", "message_id"),
        ("parked", "seq"),
        ("inbox", "message_id"),
        ("leases", "name"),
        ("operator_actions", "seq"),
        ("redrive_jobs", "id"),
    ] {
        for row in all(database, table).await? {
            let key = match (&row[key], table) {
                (serde_json::Value::String(text), "accounts" | "ledger_entries" | "payments") => text.clone(),
                (other, _) => other.to_string(),
            };
            let row = if table == "outbox" { unnumbered(row) } else { row };
            rows.insert((table.to_owned(), key), row);
        }
    }
    Ok(rows)
}

/// The rows of a table as JSON, with bytes as PostgreSQL writes them.
async fn all(database: &Database, table: &str) -> Result<Vec<serde_json::Value>> {
    let sql = if database.is_embedded() {
        let columns = format!("SELECT name, type FROM pragma_table_info('{table}')");
        let columns =
            database.read().query_all_raw(Statement::from_string(database.backend(), columns)).await?;
        let mut members = Vec::new();
        for column in columns {
            let (name, kind): (String, String) = (column.try_get_by_index(0)?, column.try_get_by_index(1)?);
            let hex = format!("lower(hex({name}))");
            let parts = [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)];
            let uuid =
                parts.map(|(from, length)| format!("substr({hex}, {from}, {length})")).join(" || '-' || ");
            members.push(match kind.as_str() {
                "BLOB" => {
                    format!("'{name}', CASE WHEN {name} IS NULL THEN NULL WHEN length({name}) = 16 THEN {uuid} ELSE '\\x' || {hex} END")
                }
                _ => format!("'{name}', {name}"),
            });
        }
        format!("SELECT json_object({}) FROM {table}", members.join(", "))
    } else {
        format!("SELECT to_jsonb({table}.*)::text FROM {table}")
    };
    let rows = database.read().query_all_raw(Statement::from_string(database.backend(), sql)).await?;
    rows.iter().map(|row| Ok(serde_json::from_str(&row.try_get_by_index::<String>(0)?)?)).collect()
}

/// Accounts, and messages that were parked before there were any.
async fn park(database: &Database) -> Result<()> {
    let account = |user: u64| Account {
        user_id: format!("user-{user}"),
        balance: 0,
        currency_code: "RUB".to_owned(),
        version: 0,
        create_time: NOW,
        update_time: NOW,
        request_id: None,
        fingerprint: None,
    };
    let accounts: Vec<Account> = (0..7).map(account).collect();
    let messages: Vec<parked::Model> = (0..MESSAGES).map(message).collect();
    let written = database.transact(move |transaction| {
        let (accounts, messages) = (accounts.clone(), messages.clone());
        Box::pin(async move {
            rows::insert(transaction, &accounts).await?;
            // Enough for most, and not for all.
            transaction.execute_unprepared("UPDATE accounts SET balance = 700").await?;
            rows::insert(transaction, &messages).await
        })
    });
    Ok(written.await?)
}

/// One of every kind: paid, beyond the balance, without an account, in another currency, voided, for the second time, for the second time
/// with another amount, out of limits, not to be decoded, of an unknown kind.
fn message(number: u64) -> parked::Model {
    let id = |number: u64| Uuid::from_u128(0xabc << 64 | u128::from(number)).to_string();
    let placed = |order: u64, amount: i64, currency: &str| OrderPlaced {
        order_id: id(order),
        user_id: format!("user-{}", order % 9),
        amount,
        currency_code: currency.to_owned(),
        ..OrderPlaced::default()
    };
    let amount = i64::try_from(number % 13 + 1).unwrap_or(1);
    // That of the order: what comes again has the key of what came first.
    let user = if matches!(number % 20, 5 | 7) { number - 1 } else { number } % 9;
    let (kind, payload) = match number % 20 {
        3 => encoded(&VoidPayment {
            order_id: id(number),
            user_id: format!("user-{}", number % 9),
            amount,
            currency_code: "RUB".to_owned(),
            reason: Reason::UserRequested.into(),
        }),
        5 => encoded(&placed(number - 1, (amount + 12) % 13 + i64::from(amount == 1), "RUB")),
        7 => encoded(&placed(number - 1, 999, "RUB")),
        9 => encoded(&placed(number, amount, "EUR")),
        11 => encoded(&placed(number, 0, "RUB")),
        13 => (OrderPlaced::full_name(), vec![0xff; 3]),
        15 => ("ordermesh.orders.v1.OrderLost".to_owned(), Vec::new()),
        _ => encoded(&placed(number, amount, "RUB")),
    };
    parked::Model {
        seq: 0,
        consumer: subscription().consumer,
        state: State::Parked,
        message_id: Some(Uuid::from_u128(u128::from(number) + 1)),
        kind,
        source: "/ordermesh/orders".to_owned(),
        partition_key: format!("user-{user}"),
        payload,
        traceparent: None,
        tracestate: None,
        subject: Some("somebody".to_owned()),
        token_id: None,
        headers: None,
        create_time: Some(NOW),
        error: format!("error {number}"),
        attempts: 1,
        park_time: NOW,
        redrives: 0,
        redrive_time: None,
        cause: None,
        original_payload: None,
        redrive_job: None,
        repeats: 0,
        last_repeat_time: None,
    }
}

fn encoded<M: Message + Name>(message: &M) -> (String, Vec<u8>) {
    (M::full_name(), message.encode_to_vec())
}
