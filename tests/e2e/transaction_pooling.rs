//! With `--prepared-statements off` nothing rests on a session with PostgreSQL: a pooler that gives each transaction another process of the
//! server is as good as the server itself.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use storage::{Database, Failure, Limits, limits::PreparedStatements};
use world::{PATIENCE, Postgres, eventually};

use crate::{
    alone,
    mesh::Mesh,
    pooler::{NOTE, Pooler},
    scenario,
};

/// What the role says is otherwise than what a transaction of ours needs.
const ROLE: &str = "ALTER ROLE postgres SET synchronous_commit = 'off'; \
                    ALTER ROLE postgres SET default_transaction_isolation = 'serializable'";
/// Long for a statement behind two others, and shorter than anybody's patience.
const DEADLINE: Duration = Duration::from_secs(2);

/// A server whose role has settings of its own.
async fn server() -> Result<Postgres> {
    let postgres = Postgres::start().await?;
    alone::run(&postgres.url("postgres"), ROLE).await?;
    Ok(postgres)
}

/// As many processes of the server for each database.
fn shared_by_all(processes: usize) -> String {
    format!("default_pool_size = {processes}\n")
}

async fn connect(pooler: &Pooler, direct: &str) -> Result<Database> {
    let limits = Limits {
        statement_timeout: DEADLINE,
        prepared_statements: PreparedStatements::Off,
        ..Limits::default()
    };
    Ok(Database::connect(&pooler.url(direct)?.parse()?, limits).await?)
}

#[tokio::test]
async fn the_main_job_is_done_over_a_few_processes_of_the_server() -> Result<()> {
    let postgres = server().await?;
    let direct = ["orders", "payments"].map(|service| (service, postgres.url(service)));
    let direct = BTreeMap::from(direct);
    let pooler = Pooler::start("transaction", &direct["orders"], &shared_by_all(4)).await?;
    let mut reached = BTreeMap::new();
    for (service, url) in &direct {
        postgres.create_database(service).await?;
        reached.insert(*service, pooler.url(url)?);
    }
    let env = [("PREPARED_STATEMENTS", "off".to_owned())];
    let mesh = Mesh::start_behind(reached, direct, &env).await?;
    mesh.tamper("orders", NOTE).await?;
    scenario::main_job(&mesh).await?;

    // Many at once, so that each process of the server has transactions of many sessions.
    let users = (0..8).map(async |number| {
        let user = format!("user{number}");
        mesh.account(&user, 1_000 + number).await?;
        let orders = try_join_all((0..10).map(|_| mesh.order(&user, 100))).await?;
        for order in &orders {
            let ended = mesh.ended(order).await?;
            ensure!(ended["status"] == "FINISHED" && ended["userId"] == user, "{ended}");
        }
        ensure!(mesh.balance(&user).await? == number);
        anyhow::Ok(())
    });
    try_join_all(users).await?;
    mesh.at_rest().await?;

    let noted = "SELECT COUNT(*) FROM noted WHERE settings = 'on read committed 9s'";
    let placed = mesh.count("orders", "SELECT COUNT(*) FROM orders").await?;
    ensure!(mesh.count("orders", noted).await? == placed && placed > 80, "of {placed} orders");
    let open = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ordermesh'";
    ensure!(mesh.count("orders", open).await? <= 4, "they were not shared");
    let log = postgres.log()?;
    ensure!(!log.contains("prepared statement"), "{log}");
    Ok(())
}

/// Statements without a name, of which several sessions make one at a time over the same process of the server.
#[tokio::test]
async fn each_single_statement_has_its_own_answer() -> Result<()> {
    let postgres = server().await?;
    let direct = postgres.fresh_database().await?;
    let pooler = Pooler::start("transaction", &direct, &shared_by_all(2)).await?;
    let database = connect(&pooler, &direct).await?;
    let clients = (0..8).map(async |client| {
        for number in 0..50 {
            let ask = format!("SELECT 'client {client}, ' || CAST($1 AS TEXT)");
            let ask = Statement::from_sql_and_values(DbBackend::Postgres, ask, [number.to_string().into()]);
            let row = database.read().query_one_raw(ask).await?.context("an answer")?;
            let answer: String = row.try_get_by_index(0)?;
            ensure!(answer == format!("client {client}, {number}"), "client {client}, {number}: {answer}");
        }
        anyhow::Ok(())
    });
    try_join_all(clients).await.map(drop)
}

/// Neither stays open in a process of the server, nor does any of its settings stay there.
#[tokio::test]
async fn a_failed_statement_and_a_deadline_leave_nothing_behind() -> Result<()> {
    let postgres = server().await?;
    let direct = postgres.fresh_database().await?;
    alone::run(&direct, "CREATE TABLE notes (text TEXT)").await?;
    let pooler = Pooler::start("transaction", &direct, &shared_by_all(2)).await?;
    let database = connect(&pooler, &direct).await?;

    let failed = database.transact(|transaction| {
        Box::pin(async move {
            transaction.execute_unprepared("INSERT INTO notes VALUES ('a')").await?;
            transaction.execute_unprepared("INSERT INTO notes VALUES (CAST(1 / 0 AS TEXT))").await.map(drop)
        })
    });
    let failed = failed.await;
    ensure!(matches!(failed, Err(Failure::Refused(_))), "{failed:?}");
    let failed = single(&database, "INSERT INTO notes VALUES ('b'), (CAST(1 / 0 AS TEXT))").await;
    ensure!(matches!(failed, Err(Failure::Refused(_))), "{failed:?}");

    let late = single(&database, "INSERT INTO notes SELECT 'c' FROM pg_sleep(60)").await;
    let Err(Failure::Unavailable(cause)) = &late else { anyhow::bail!("{late:?}") };
    ensure!(cause.to_string().contains("statement timeout"), "the server was to give up first: {cause}");

    // More than there are processes of the server, none of which gives up.
    let begun = Instant::now();
    let hang = async || {
        let hanging = database.transact(|transaction| {
            Box::pin(async move {
                transaction.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
                transaction
                    .execute_unprepared("INSERT INTO notes SELECT 'd' FROM pg_sleep(60)")
                    .await
                    .map(drop)
            })
        });
        hanging.await
    };
    for given_up in join_all([hang(), hang(), hang()]).await {
        ensure!(matches!(given_up, Err(Failure::Unavailable(_))), "{given_up:?}");
    }
    ensure!(begun.elapsed() < 5 * DEADLINE, "after {:?}", begun.elapsed());

    let outside = "INSERT INTO notes VALUES (concat_ws(' ', current_setting('synchronous_commit'), \
                   current_setting('transaction_isolation'), current_setting('statement_timeout')))";
    for _each_process in 0..4 {
        single(&database, "INSERT INTO notes VALUES ('e')").await?;
        database.reports().execute_outside(outside).await?;
    }
    database.reports().execute_outside("VACUUM notes").await?;
    let notes = "SELECT COUNT(*) FROM notes";
    ensure!(alone::number(&direct, &format!("{notes} WHERE text = 'e'")).await? == 4);
    ensure!(alone::number(&direct, &format!("{notes} WHERE text = 'off serializable 0'")).await? == 4);
    ensure!(alone::number(&direct, notes).await? == 8, "something stays of what has failed");
    eventually("the end of all transactions", PATIENCE, async || {
        let open = "SELECT COUNT(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        ensure!(alone::number(&direct, open).await? == 0);
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn single(database: &Database, sql: &'static str) -> Result<(), Failure> {
    let made = database
        .execute(move |executor| Box::pin(async move { executor.execute_unprepared(sql).await.map(drop) }));
    made.await
}

/// sea-orm names the statements of a migration, and a process of the server keeps them.
#[tokio::test]
async fn migrations_may_come_again_in_the_same_process_of_the_server() -> Result<()> {
    let postgres = server().await?;
    let direct = postgres.fresh_database().await?;
    let pooler = Pooler::start("transaction", &direct, &shared_by_all(1)).await?;
    let database = connect(&pooler, &direct).await?;
    for _time in 0..2 {
        alone::run(&direct, "DROP SCHEMA public CASCADE; CREATE SCHEMA public").await?;
        database.migrate::<orders::store::schema::Migrations>().await?;
    }
    Ok(())
}

/// A transaction cannot be given settings where it is a single statement, nor those of a URL where it is one of many sessions.
#[tokio::test]
async fn what_cannot_be_given_to_a_transaction_is_refused() -> Result<()> {
    let postgres = server().await?;
    let direct = postgres.fresh_database().await?;
    for (mode, options, word) in [
        ("statement", "", "transaction blocks not allowed"),
        ("transaction", "?options[search_path]=other", "ALTER ROLE"),
    ] {
        let pooler = Pooler::start(mode, &direct, "").await?;
        let url = format!("{}{options}", pooler.url(&direct)?);
        let program = alone::program("orders", &url, alone::NO_BROKER)?;
        let mut orders = program.env("PREPARED_STATEMENTS", "off").start()?;
        let status = orders.wait(PATIENCE).await?;
        ensure!(!status.success(), "{mode}: {}", orders.output());
        ensure!(orders.output().contains(word), "{mode}: {}", orders.output());
    }
    Ok(())
}
