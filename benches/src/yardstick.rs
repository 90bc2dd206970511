//! The yardstick: pgbench's TPC-B on the same server, scale 20, 32 clients, prepared statements.

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use world::Postgres;

/// Transactions per second.
pub(crate) async fn tpc_b(postgres: &Postgres, seconds: u64) -> Result<f64> {
    postgres.create_database("tpc_b").await?;
    let url = postgres.url("tpc_b");
    pgbench(&["-i", "-q", "-s", "20", &url]).await?;
    let seconds = seconds.to_string();
    let output = pgbench(&["-M", "prepared", "-c", "32", "-j", "2", "-n", "-T", &seconds, &url]).await?;
    let line = output.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench tells no tps")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

async fn pgbench(arguments: &[&str]) -> Result<String> {
    let output = Command::new("pgbench").args(arguments).kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
