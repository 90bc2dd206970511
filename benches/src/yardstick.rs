//! The yardsticks: pgbench on the same server.

use std::{io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use world::{Postgres, Scratch};

/// The order and its message, as CreateOrder writes them.
const PAIR: &str = "\\set user random(0, 9999)
BEGIN;
INSERT INTO orders (id, user_id, amount, currency_code, description, status, create_time, update_time, expire_time, void_due_time, version)
VALUES (gen_random_uuid(), 'user-' || :user, 7, 'RUB', 'bench', 1, 1, 1, 2, 2, 1);
INSERT INTO outbox (message_id, kind, partition_key, payload, create_time, state, attempts, next_attempt_time)
VALUES (gen_random_uuid(), 'ordermesh.orders.v1.OrderPlaced', 'user-' || :user, decode(repeat('00', 80), 'hex'), 1, 0, 0, 0);
COMMIT;
";

/// TPC-B, transactions per second: scale 20, 32 clients, prepared statements.
pub(crate) async fn tpc_b(postgres: &Postgres, seconds: u64) -> Result<f64> {
    let url = postgres.fresh_database().await?;
    run("pgbench", &["-i", "-q", "-s", "20", &url]).await?;
    let seconds = seconds.to_string();
    tps(&["-M", "prepared", "-c", "32", "-j", "2", "-n", "-T", &seconds, &url]).await
}

/// The two inserts of CreateOrder, transactions per second, into empty tables like those of orders.
pub(crate) async fn pairs(postgres: &Postgres, clients: usize, seconds: u64) -> Result<f64> {
    let url = postgres.fresh_database().await?;
    let files = Scratch::new("pairs")?;
    let (schema, script) = (write(&files, "schema.sql", &[])?, write(&files, "pair.sql", PAIR.as_bytes())?);
    let (schema, script) = (schema.display().to_string(), script.display().to_string());
    run("pg_dump", &["--schema-only", "-f", &schema, &postgres.url("orders")]).await?;
    run("psql", &["-q", "-v", "ON_ERROR_STOP=1", "-f", &schema, &url]).await?;
    let (clients, seconds) = (clients.to_string(), seconds.to_string());
    tps(&["-M", "prepared", "-c", &clients, "-j", "2", "-n", "-T", &seconds, "-f", &script, &url]).await
}

/// Runs SQL from a file.
pub(crate) async fn sql(url: &str, text: &str) -> Result<()> {
    let files = Scratch::new("sql")?;
    let file = write(&files, "statements.sql", text.as_bytes())?.display().to_string();
    run("psql", &["-q", "-v", "ON_ERROR_STOP=1", "-f", &file, url]).await.map(drop)
}

fn write(files: &Scratch, name: &str, text: &[u8]) -> Result<PathBuf> {
    let path = files.path().join(name);
    std::fs::File::create(&path)?.write_all(text)?;
    Ok(path)
}

async fn tps(arguments: &[&str]) -> Result<f64> {
    let output = run("pgbench", arguments).await?;
    let line = output.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench tells no tps")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

async fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
