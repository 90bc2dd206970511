//! What is compared with orders is read by an index, on both databases: a minute of decisions, whatever else there is.

use anyhow::{Context as _, Result, ensure};
use payments::store::{decisions, schema::Migrations};
use sea_orm::{ConnectionTrait as _, QueryTrait as _};
use storage::{Database, DatabaseUrl, Limits};
use uuid::Uuid;
use world::{Postgres, Scratch, plan};

/// How the database reads a minute of decisions, and the last one before it.
async fn plans(database: &Database) -> Result<[String; 2]> {
    let (from, before) = (id(500), id(700));
    let range = decisions::in_range(from, before, 2_000).build(database.backend());
    let earlier = decisions::last_before(from).build(database.backend());
    Ok([plan(database.read(), range).await?, plan(database.read(), earlier).await?])
}

fn id(number: i64) -> Uuid {
    let millisecond = 1_700_000_000_000 + number;
    let text = format!("{millisecond:012x}70008000{number:012x}");
    text.parse().expect("32 hexadecimal digits")
}

async fn migrated(url: DatabaseUrl) -> Result<Database> {
    let database = Database::connect(&url, Limits::default()).await?;
    database.migrate::<Migrations>().await?;
    Ok(database)
}

#[tokio::test]
async fn sqlite_reads_decisions_by_their_orders() -> Result<()> {
    let scratch = Scratch::new("plans")?;
    let database = migrated(DatabaseUrl::file(&scratch.path().join("payments.db"))).await?;
    let [range, earlier] = plans(&database).await?;
    for (plan, by) in [(range, "(order_id>? AND order_id<?)"), (earlier, "(order_id<?)")] {
        let index = format!("sqlite_autoindex_payments_1 {by}");
        ensure!(plan.contains(&index) && !plan.contains("B-TREE"), "{plan}");
    }
    database.close().await;
    Ok(())
}

#[tokio::test]
async fn postgresql_reads_decisions_by_their_orders() -> Result<()> {
    let postgres = Postgres::start().await?;
    let database = migrated(postgres.fresh_database().await?.parse()?).await?;
    // On an empty table a scan is the right plan.
    let fill = "INSERT INTO payments (order_id, user_id, amount, currency_code, outcome, reason, decide_time)
        SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
            'user-' || n % 500, 1 + n, 'RUB', 2, 2, 0
        FROM generate_series(1, 20000) AS n";
    database.read().execute_unprepared(fill).await.context("cannot fill the table")?;
    database.read().execute_unprepared("ANALYZE payments").await?;
    for plan in plans(&database).await? {
        let is_by_index = ["Index Scan", "Index Only Scan"].iter().any(|scan| plan.contains(scan));
        ensure!(is_by_index && plan.contains("payments_pkey") && !plan.contains("Sort"), "{plan}");
    }
    database.close().await;
    Ok(())
}
