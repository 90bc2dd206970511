//! Migrations: between versions, services and roles, and while others hold what they need.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, Statement, TransactionTrait as _,
};
use world::{PATIENCE, Postgres, Process, Program, Scratch, eventually};

use crate::alone;

/// Longer than [`PATIENCE`]: some of what is waited for has bounds of seconds of its own.
const LONG: Duration = Duration::from_secs(60);

/// A service on this database, or one of its commands. The broker is away, which stops neither.
fn program(service: &str, url: &str) -> Result<Program> {
    Ok(Program::named(service)?
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .env("DATABASE_URL", url)
        .env("AMQP_URL", "amqp://127.0.0.1:1"))
}

async fn ended(program: &Program) -> Result<(bool, String)> {
    let mut process = program.start()?;
    let status = process.wait(LONG).await?;
    Ok((status.success(), process.output()))
}

async fn succeeds(program: Program) -> Result<String> {
    let (success, output) = ended(&program).await?;
    ensure!(success, "{output}");
    Ok(output)
}

async fn fails(program: Program) -> Result<String> {
    let (success, output) = ended(&program).await?;
    ensure!(!success, "{output}");
    Ok(output)
}

fn migrate(service: &str, url: &str) -> Result<Program> {
    Ok(program(service, url)?.args(["migrate"]))
}

async fn connect(url: &str) -> Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(2);
    Ok(Database::connect(options).await?)
}

async fn run(url: &str, sql: &str) -> Result<()> {
    let database = connect(url).await?;
    database.execute_unprepared(sql).await.with_context(|| sql.to_owned())?;
    Ok(database.close().await?)
}

/// Waits for a part of its output.
async fn says(process: &Process, part: &str) -> Result<()> {
    eventually(&format!("{part:?} in its output"), LONG, async || {
        let output = process.output();
        ensure!(output.contains(part), "{output}");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn those_of_a_later_version_are_passed_over() -> Result<()> {
    let (postgres, scratch) = (Postgres::start().await?, Scratch::new("migrations")?);
    let file = format!("sqlite:{}", scratch.path().join("orders.db").display());
    for url in [postgres.fresh_database().await?, file] {
        let mut first = program("orders", &url)?.start()?;
        first.address("orders-grpc").await?;
        first.kill9().await?;
        run(&url, "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_later', 0)").await?;
        let mut older = program("orders", &url)?.start()?;
        older.address("orders-grpc").await?;
        let output = older.output();
        ensure!(output.contains("WARN") && output.contains("m9999_later"), "{output}");
        older.terminate()?;
        ensure!(older.wait(LONG).await?.success());
    }
    Ok(())
}

/// Each has migrations and messages under the same names.
#[tokio::test]
async fn two_schemas_of_one_database_keep_two_services_apart() -> Result<()> {
    let postgres = Postgres::start().await?;
    let shared = postgres.fresh_database().await?;
    for service in ["orders", "payments"] {
        run(&shared, &format!("CREATE SCHEMA of_{service}")).await?;
        let url = format!("{shared}?options=-c%20search_path%3Dof_{service}");
        succeeds(migrate(service, &url)?).await?;
        let mut process = program(service, &url)?.start()?;
        if service == "orders" {
            alone::place(&mut alone::orders(&mut process).await?, "alice").await?;
        } else {
            alone::payments(&mut process).await?;
        }
    }
    ensure!(alone::number(&shared, "SELECT COUNT(*) FROM of_orders.orders").await? == 1);
    ensure!(alone::number(&shared, "SELECT COUNT(*) FROM of_payments.accounts").await? == 0);
    let elsewhere = "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'";
    ensure!(alone::number(&shared, elsewhere).await? == 0);
    Ok(())
}

#[tokio::test]
async fn the_schema_of_another_service_is_refused_by_name() -> Result<()> {
    let (postgres, scratch) = (Postgres::start().await?, Scratch::new("migrations")?);
    let file = format!("sqlite:{}", scratch.path().join("shared.db").display());
    for url in [postgres.fresh_database().await?, file] {
        succeeds(migrate("payments", &url)?).await?;
        for refused in [migrate("orders", &url)?, program("orders", &url)?] {
            let output = fails(refused).await?;
            ensure!(output.contains("this database belongs to payments"), "{output}");
        }
        // As versions left it that wrote no name.
        run(&url, "DELETE FROM seaql_migrations WHERE version LIKE 'belongs_to%'").await?;
        let output = fails(migrate("orders", &url)?).await?;
        ensure!(output.contains("another service") && output.contains("m0002_ledger"), "{output}");
        succeeds(migrate("payments", &url)?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_created_when_nothing_is_missing() -> Result<()> {
    let postgres = Postgres::start().await?;
    let admin = postgres.fresh_database().await?;
    run(&admin, "CREATE ROLE app LOGIN; CREATE ROLE owner LOGIN; GRANT CREATE ON SCHEMA public TO owner")
        .await?;
    let app = admin.replace("postgres@", "app@");
    let output = fails(program("orders", &app)?).await?;
    ensure!(output.contains("permission denied for schema public"), "{output}");

    succeeds(migrate("orders", &admin.replace("postgres@", "owner@"))?).await?;
    run(&admin, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app").await?;
    let mut service = program("orders", &app)?.start()?;
    service.address("orders-grpc").await?;
    succeeds(migrate("orders", &app)?).await.map(drop)
}

#[tokio::test]
async fn many_may_migrate_at_once_and_again() -> Result<()> {
    let (postgres, scratch) = (Postgres::start().await?, Scratch::new("migrations")?);
    let mesh = Program::named("ordermesh")?.args(["migrate"]);
    let on_files = mesh.clone().env("DATA_DIR", scratch.path().join("data").display().to_string());
    let on_postgres = mesh
        .env("ORDERS_DATABASE_URL", postgres.fresh_database().await?)
        .env("PAYMENTS_DATABASE_URL", postgres.fresh_database().await?);
    for program in [on_files, on_postgres] {
        try_join_all((0..4).map(|_| succeeds(program.clone()))).await?;
        let output = succeeds(program).await?;
        ensure!(output.contains("up to date") && !output.contains("migration="), "{output}");
    }
    Ok(())
}

/// A database in which one migration is still to be done, and somebody who holds the table that it changes.
struct Held {
    _postgres: Postgres,
    url: String,
    holder: DatabaseConnection,
}

impl Held {
    async fn new() -> Result<Self> {
        let postgres = Postgres::start().await?;
        let url = postgres.fresh_database().await?;
        succeeds(migrate("payments", &url)?).await?;
        // What a role has to say is meant for requests.
        run(&url, "ALTER ROLE postgres SET statement_timeout = '300ms'").await?;
        let undone = "DROP INDEX accounts_by_bytes; \
                      DELETE FROM seaql_migrations WHERE version = 'm0003_accounts_by_bytes'";
        run(&url, undone).await?;
        let holder = connect(&url).await?;
        Ok(Self { _postgres: postgres, url, holder })
    }
}

const LOCK: &str = "SET LOCAL statement_timeout = 0; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE";

#[tokio::test]
async fn a_lock_that_others_hold_is_waited_for_and_named() -> Result<()> {
    let held = Held::new().await?;
    let holding = held.holder.begin().await?;
    holding.execute_unprepared(LOCK).await?;
    let mut migration = migrate("payments", &held.url)?.start()?;
    says(&migration, "waits for a lock").await?;
    says(&migration, "holds accounts").await?;
    holding.rollback().await?;
    ensure!(migration.wait(LONG).await?.success(), "{}", migration.output());
    let there = Statement::from_string(
        held.holder.get_database_backend(),
        "SELECT 1 FROM pg_indexes WHERE indexname = 'accounts_by_bytes'",
    );
    ensure!(held.holder.query_one_raw(there).await?.is_some(), "the migration was not done");
    Ok(())
}

#[tokio::test]
async fn waiting_for_a_lock_has_an_end() -> Result<()> {
    let held = Held::new().await?;
    let holding = held.holder.begin().await?;
    holding.execute_unprepared(LOCK).await?;
    let output = fails(program("payments", &held.url)?.env("MIGRATION_WAIT", "1s")).await?;
    ensure!(output.contains("gave up after") && output.contains("holds accounts"), "{output}");
    holding.rollback().await?;
    Ok(())
}

#[tokio::test]
async fn a_start_that_waits_ends_when_it_is_asked_to() -> Result<()> {
    let held = Held::new().await?;
    let holding = held.holder.begin().await?;
    holding.execute_unprepared(LOCK).await?;
    for (program, code) in [(program("payments", &held.url)?, 0), (migrate("payments", &held.url)?, 1)] {
        let mut process = program.start()?;
        says(&process, "waits for a lock").await?;
        process.terminate()?;
        let status = process.wait(PATIENCE).await?;
        // A death by the signal has no code.
        ensure!(status.code() == Some(code), "{status}: {}", process.output());
        ensure!(process.output().contains("SIGTERM received"), "{}", process.output());
    }
    holding.rollback().await?;
    Ok(())
}

/// A process with the id 1, as in a container, ignores a signal without a handler.
#[tokio::test]
async fn a_start_that_waits_ends_as_the_first_process_of_a_container() -> Result<()> {
    let held = Held::new().await?;
    let holding = held.holder.begin().await?;
    holding.execute_unprepared(LOCK).await?;
    let binary = std::env::current_exe()?.ancestors().nth(2).context("a target")?.join("payments");
    let mut arguments = vec!["--fork", "--pid", "--kill-child"];
    if !nix::unistd::Uid::effective().is_root() {
        arguments.extend(["--user", "--map-root-user"]);
    }
    let mut namespace = Program::at(Path::new("/usr/bin/unshare"))
        .args(arguments)
        .args([binary.display().to_string()])
        .env("DATABASE_URL", &held.url)
        .env("PAYMENTS_LISTEN", "127.0.0.1:0")
        .env("ADMIN_LISTEN", "127.0.0.1:0")
        .start()?;
    says(&namespace, "waits for a lock").await?;
    let parent = namespace.pid();
    let first = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(first.trim().parse()?),
        nix::sys::signal::Signal::SIGTERM,
    )?;
    ensure!(namespace.wait(PATIENCE).await?.success(), "{}", namespace.output());
    ensure!(namespace.output().contains("SIGTERM received"), "{}", namespace.output());
    holding.rollback().await?;
    Ok(())
}
