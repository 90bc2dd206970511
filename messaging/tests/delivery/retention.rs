//! The inbox forgets what is old, in small batches, while others write.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use messaging::retention::Retention;
use metrics_exporter_prometheus::PrometheusBuilder;
use world::{PATIENCE, eventually};

use crate::{fact::Effects, place::Place, running::Running};

async fn remembered(place: &Place) -> Result<i64> {
    place.one("SELECT COUNT(*) FROM inbox").await
}

async fn only_what_is_old_is_forgotten(place: Place) -> Result<()> {
    let running = Running::default().consumer(&place, Effects::always()).relay(&place);
    place.write(0..1_200).await?;
    place.has_effects(1_200).await?;
    let kept = Retention::new(place.database.clone());
    ensure!(kept.round().await? == 0 && remembered(&place).await? == 1_200, "nothing is seven days old");
    let short = Retention::new(place.database.clone()).with_keep(Duration::ZERO);
    ensure!(short.round().await? == 1_200 && remembered(&place).await? == 0);
    place.write(1_200..1_210).await?;
    place.has_effects(1_210).await?;
    place.each_once(0..1_210).await?;
    running.stop().await
}

#[tokio::test]
async fn only_what_is_old_is_forgotten_embedded() -> Result<()> {
    only_what_is_old_is_forgotten(Place::embedded().await?).await
}

#[tokio::test]
async fn only_what_is_old_is_forgotten_on_postgres() -> Result<()> {
    only_what_is_old_is_forgotten(Place::postgres().await?).await
}

/// More than the orders a second of docs/PERFORMANCE.md, each of which the inbox remembers once.
const RATE: i64 = 7_000;
const SECONDS: i64 = 10;

#[expect(clippy::disallowed_methods, reason = "the inbox remembers real times")]
fn now() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

/// The rows of a tenth of a second, which should have been forgotten `overdue` ago.
async fn remember(place: &Place, overdue: Duration) -> Result<()> {
    let (time, rows) = (now() - i64::try_from(overdue.as_micros())?, RATE / 10);
    let id = if place.database.is_embedded() { "randomblob(16)" } else { "gen_random_uuid()" };
    let insert = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
        INSERT INTO inbox SELECT {id}, 'reader', {time} + i FROM n"
    );
    place.database.execute_unflushed(insert).await?;
    Ok(())
}

/// Somebody remembers at the highest rate that is claimed, while what is too old is forgotten: it must not become more.
async fn forgetting_keeps_up(place: Place) -> Result<()> {
    let overdue = Duration::from_secs(1_200);
    let (batches, retention) =
        (AtomicI64::new(0), Retention::new(place.database.clone()).with_keep(Duration::ZERO));
    let remembering = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            remember(&place, overdue).await?;
            batches.fetch_add(1, Ordering::Relaxed);
        }
    };
    let forgetting = async {
        loop {
            retention.round().await?;
        }
    };
    let few = eventually("few rows, while more come", 3 * PATIENCE, async || {
        let (left, all) = (remembered(&place).await?, batches.load(Ordering::Relaxed) * RATE / 10);
        ensure!(all >= RATE * SECONDS && left <= 2 * RATE, "{left} rows of {all} are left");
        Ok(())
    });
    tokio::select! {
        failed = remembering => failed,
        failed = forgetting => failed,
        few = few => few,
    }
}

#[tokio::test]
async fn forgetting_keeps_up_embedded() -> Result<()> {
    forgetting_keeps_up(Place::embedded().await?).await
}

#[tokio::test]
async fn forgetting_keeps_up_on_postgres() -> Result<()> {
    forgetting_keeps_up(Place::postgres().await?).await
}

#[tokio::test]
async fn how_much_is_overdue_is_reported() -> Result<()> {
    let recorder = PrometheusBuilder::new().install_recorder()?;
    let reported = || {
        let text = recorder.render();
        let line = text.lines().find(|line| line.starts_with("messaging_inbox_overdue_age_seconds "));
        let value = line.and_then(|line| line.rsplit(' ').next()).with_context(|| text.clone())?;
        Ok::<f64, anyhow::Error>(value.parse()?)
    };
    let place = Place::embedded().await?;
    remember(&place, Duration::from_secs(1_000)).await?;
    let kept = Retention::new(place.database.clone()).with_keep(Duration::from_secs(5_000));
    ensure!(kept.round().await? == 0 && reported()? == 0.0, "nothing is overdue");
    let short = Retention::new(place.database.clone()).with_keep(Duration::from_secs(500));
    // Another process is at it: this one reports all the same.
    let busy = format!("UPDATE leases SET holder = 'another', expire_time = {}", i64::MAX);
    let _held = place.database.execute_unflushed(busy).await?;
    ensure!(short.round().await? == 0 && (499.0..700.0).contains(&reported()?), "{}", reported()?);
    Ok(())
}
