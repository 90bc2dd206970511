//! Every filter and every order of a list is served by an index, on both databases, and so is what ends orders.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use orders::{
    domain::settle::{Decision, End},
    store::{
        decisions,
        entity::order::{CancelReason, Status},
        schema::Migrations,
        selection::{Condition, Cursor, Selection, SortKey, Sorting},
    },
};
use sea_orm::{ConnectionTrait as _, DbBackend, QueryTrait as _, Statement};
use service::filter::Operator;
use storage::{Database, DatabaseUrl, Limits, rows::Write};
use uuid::Uuid;
use world::{Postgres, Scratch, eventually, plan};

const NEWEST: Sorting = Sorting { key: SortKey::CreateTime, descending: true };

/// Lists with one choice each.
fn selections() -> Vec<Selection> {
    let all = Selection { user_id: None, status: None, conditions: Vec::new(), sorting: NEWEST };
    let with = |condition| Selection { conditions: vec![condition], ..all.clone() };
    vec![
        all.clone(),
        Selection { user_id: Some("user-7".into()), ..all.clone() },
        Selection { status: Some(Status::New), ..all.clone() },
        Selection { sorting: Sorting { key: SortKey::CreateTime, descending: false }, ..all.clone() },
        Selection { sorting: Sorting { key: SortKey::Amount, descending: true }, ..all.clone() },
        Selection { sorting: Sorting { key: SortKey::Amount, descending: false }, ..all.clone() },
        with(Condition::Status(Operator::Equal, Some(Status::Cancelled))),
        with(Condition::Status(Operator::NotEqual, Some(Status::Cancelled))),
        with(Condition::Status(Operator::NotEqual, None)),
        with(Condition::Amount(Operator::Equal, 7)),
        with(Condition::Amount(Operator::AtLeast, 19_990)),
        with(Condition::CreateTime(Operator::AtLeast, 1_700_000_019_900_000)),
        with(Condition::CreateTime(Operator::Less, 1_700_000_000_100_000)),
        with(Condition::RequestId(Operator::Equal, Some("key-7".into()))),
        with(Condition::RequestId(Operator::NotEqual, Some("key-7".into()))),
        with(Condition::CancelReason(Operator::Equal, Some(CancelReason::PaymentExpired))),
        with(Condition::CancelReason(Operator::NotEqual, Some(CancelReason::PaymentExpired))),
        with(Condition::CancelReason(Operator::Equal, None)),
    ]
}

/// How the database reads each of the lists, the first page and a later one.
async fn plans(database: &Database) -> Result<Vec<(Selection, String)>> {
    let mut plans = Vec::new();
    let later = Cursor { amount: 10_000, id: Uuid::from_u128(u128::MAX / 2) };
    for selection in selections() {
        for cursor in [None, Some(later)] {
            let statement = selection.query(cursor, 51).build(database.backend());
            plans.push((selection.clone(), plan(database.read(), statement).await?));
        }
    }
    Ok(plans)
}

/// How the database reads what is compared with payments: a minute of orders, and those that are NEW.
async fn compared(database: &Database) -> Result<[String; 2]> {
    let (from, before) = (id(500), id(700));
    let range = decisions::in_range(from, before, 2_000).build(database.backend());
    let new = decisions::new_in_range(Uuid::nil(), before, 1_000).build(database.backend());
    Ok([plan(database.read(), range).await?, plan(database.read(), new).await?])
}

async fn migrated(url: DatabaseUrl) -> Result<Database> {
    let database = Database::connect(&url, Limits::default()).await?;
    database.migrate::<Migrations>().await?;
    Ok(database)
}

#[tokio::test]
async fn sqlite_reads_lists_by_an_index() -> Result<()> {
    let scratch = Scratch::new("plans")?;
    let database = migrated(DatabaseUrl::file(&scratch.path().join("orders.db"))).await?;
    for (selection, plan) in plans(&database).await? {
        ensure!(plan.contains("USING INDEX"), "{selection:?}: {plan}");
        let sorts_what_it_found = selection.conditions.iter().any(|condition| {
            // Found by amount or key, a few orders are put into the order of the list.
            matches!(condition, Condition::Amount(..) | Condition::RequestId(..))
        });
        ensure!(sorts_what_it_found || !plan.contains("TEMP B-TREE"), "{selection:?}: {plan}");
    }
    let [range, new] = compared(&database).await?;
    ensure!(
        range.contains("sqlite_autoindex_orders_1 (id>? AND id<?)") && !range.contains("B-TREE"),
        "{range}"
    );
    ensure!(new.contains("orders_by_status (status=? AND id>? AND id<?)"), "{new}");
    database.close().await;
    Ok(())
}

#[tokio::test]
async fn postgresql_reads_lists_by_an_index() -> Result<()> {
    let postgres = Postgres::start().await?;
    let database = migrated(postgres.fresh_database().await?.parse()?).await?;
    // On an empty table a scan is the right plan.
    fill(&database, 50).await?;
    database.read().execute_unprepared("ANALYZE orders").await?;
    for (selection, plan) in plans(&database).await? {
        ensure!(plan.contains("Index") && !plan.contains("Seq Scan"), "{selection:?}: {plan}");
    }
    let [range, new] = compared(&database).await?;
    ensure!(range.contains("Index Scan using orders_pkey") && range.contains("id >="), "{range}");
    // Few are NEW: of two indexes that begin with those, either will do.
    let by_status = ["orders_by_status", "orders_to_ask"].iter().any(|index| new.contains(index));
    ensure!(by_status && !new.contains("Seq Scan"), "{new}");
    let due = async |column: &str| {
        let due =
            format!("SELECT id FROM orders WHERE status = 1 AND {column} <= 5 ORDER BY {column} LIMIT 9");
        plan(database.read(), Statement::from_string(DbBackend::Postgres, due)).await
    };
    let asked = due("ask_due_time").await?;
    ensure!(asked.contains("orders_to_ask"), "{asked}");
    // The version before, which may still run, looks through the undecided orders.
    let voided = due("void_due_time").await?;
    ensure!(!voided.contains("Seq Scan"), "{voided}");
    database.close().await;
    Ok(())
}

#[tokio::test]
async fn sqlite_ends_orders_by_their_ids() -> Result<()> {
    let scratch = Scratch::new("ends")?;
    let database = migrated(DatabaseUrl::file(&scratch.path().join("orders.db"))).await?;
    for count in [1, 30] {
        let decisions: Vec<Decision> = (0..count).map(decision).collect();
        let decisions: Vec<&Decision> = decisions.iter().collect();
        let [write] = <[Write; 1]>::try_from(orders::store::orders::ends(DbBackend::Sqlite, &decisions, 9)?)
            .map_err(|writes| anyhow!("{} statements", writes.len()))?;
        let plan = plan(database.read(), write.returning(DbBackend::Sqlite, "id")).await?;
        let by_id = "SEARCH orders USING INDEX sqlite_autoindex_orders_1 (id=?)";
        ensure!(plan.lines().any(|line| line == by_id), "{count} orders: {plan}");
    }
    database.close().await;
    Ok(())
}

/// What ends orders is planned once on each connection, perhaps before there are any.
#[tokio::test]
async fn orders_are_ended_by_an_index_in_a_plan_made_before_there_were_any() -> Result<()> {
    let postgres = Postgres::start().await?;
    let database = migrated(postgres.fresh_database().await?.parse()?).await?;
    ensure!(end(&database, 0).await? == 0, "there are none");
    // All of them NEW; the server has no statistics of that, or it would plan anew.
    fill(&database, 1).await?;
    let mut ended = 0;
    // A server process reports what it has read once a second.
    let read = eventually("the server to report what it has read", Duration::from_secs(20), async || {
        ensure!(end(&database, ended + 1).await? == 1, "order {} did not end", ended + 1);
        ended += 1;
        let sql = "SELECT SUM(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname = 'orders'";
        let row = database.read().query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
        let read: i64 = row.context("a sum has a row")?.try_get_by_index(0)?;
        ensure!(read >= 10, "{read} are counted");
        Ok(read)
    });
    let read = read.await?;
    ensure!(read <= 10 * ended, "{read} entries of indexes were read to end {ended} orders");
    database.close().await;
    Ok(())
}

/// Ends the `number`th order; returns how many have ended by that.
async fn end(database: &Database, number: i64) -> Result<usize> {
    let ended = database.execute(move |executor| {
        Box::pin(
            async move { Ok(orders::store::orders::end(&executor, &[&decision(number)], 9).await?.len()) },
        )
    });
    Ok(ended.await?)
}

/// The decision by which the `number`th order ends.
fn decision(number: i64) -> Decision {
    Decision {
        order_id: id(number),
        user_id: format!("user-{}", number % 500),
        amount: 1 + number,
        currency_code: "RUB".into(),
        end: End::Cancelled(CancelReason::PaymentExpired),
    }
}

fn id(number: i64) -> Uuid {
    let millisecond = 1_700_000_000_000 + number;
    let text = format!("{millisecond:012x}70008000{number:012x}");
    text.parse().expect("32 hexadecimal digits")
}

/// 20,000 orders, of which every `new`th is NEW.
async fn fill(database: &Database, new: u32) -> Result<()> {
    let fill = format!(
        "INSERT INTO orders (id, user_id, amount, currency_code, description, status, cancel_reason,
            create_time, update_time, expire_time, void_due_time, ask_due_time, version, ledger_entry_id, request_id, fingerprint)
        SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
            'user-' || n % 500, 1 + n, 'RUB', repeat('x', 100), CASE WHEN n % {new} = 0 THEN 1 ELSE 3 END,
            CASE WHEN n % {new} = 0 THEN NULL WHEN n % 100 = 1 THEN 5 ELSE 1 END,
            0, 0, 0, 0, 0, CASE WHEN n % {new} = 0 THEN 1 ELSE 2 END, NULL, 'key-' || n, '\\x00'
        FROM generate_series(1, 20000) AS n"
    );
    database.read().execute_unprepared(&fill).await.context("cannot fill the table")?;
    Ok(())
}
