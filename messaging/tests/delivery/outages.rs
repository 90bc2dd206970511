//! The broker or the database goes away under load and comes back: nothing is lost, nothing dies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use messaging::outbox;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use world::{PATIENCE, eventually};

use crate::{place::Place, running::Running};

/// Writes facts at a steady pace, from `from` on, until `enough`; returns the number after the last one.
async fn write_until(place: &Place, from: i64, enough: &AtomicBool) -> Result<i64> {
    let mut next = from;
    while !enough.load(Ordering::Relaxed) {
        place.write(next..next + 20).await?;
        next += 20;
        // The pace of the load, not a wait for anything.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(next)
}

/// The age of the oldest pending message, as the metrics have it.
fn oldest_age(recorder: &PrometheusHandle) -> Result<f64> {
    let text = recorder.render();
    let line = text.lines().find(|line| {
        line.starts_with("messaging_outbox_oldest_age_seconds{") && line.contains("state=\"pending\"")
    });
    Ok(line.and_then(|line| line.rsplit(' ').next()).with_context(|| text.clone())?.parse()?)
}

/// Everything that an operator's graphs are made of is there.
fn has_all(recorder: &PrometheusHandle) -> Result<()> {
    let text = recorder.render();
    for metric in [
        "messaging_outbox_messages{",
        "messaging_commit_to_confirm_seconds",
        "messaging_commit_to_effect_seconds",
        "messaging_window_messages",
        "messaging_batch_messages",
        "messaging_connections_total{",
    ] {
        ensure!(text.contains(metric), "no {metric} in\n{text}");
    }
    Ok(())
}

/// Longer than the age from which on readiness shows it. `tests/e2e/outage.rs` has a longer one, with the real processes.
const OUTAGE: Duration = Duration::from_secs(12);

#[tokio::test]
async fn a_broker_stopped_under_load_loses_nothing() -> Result<()> {
    let recorder = &PrometheusBuilder::new().install_recorder()?;
    let mut place = Place::real_with_own_broker().await?;
    let running = Running::all(&place);
    place.write(0..200).await?;
    place.has_effects(200).await?;
    let enough = Arc::new(AtomicBool::new(false));
    let mut rabbitmq = place.rabbitmq.take().ok_or_else(|| anyhow::anyhow!("a place with RabbitMQ"))?;
    let break_off = async {
        rabbitmq.stop().await?;
        let stopped = tokio::time::Instant::now();
        eventually("readiness to show the outage", PATIENCE, async || {
            let ready = outbox::readiness(&place.database).await;
            ensure!(ready.is_err(), "still ready");
            Ok(())
        })
        .await?;
        tokio::time::sleep(OUTAGE.saturating_sub(stopped.elapsed())).await;
        // It is set every two seconds, or somewhat later: by then it is right.
        eventually("the age of the outage", PATIENCE, async || {
            let (away, shown) = (stopped.elapsed().as_secs_f64(), oldest_age(recorder)?);
            ensure!((away - shown).abs() < 3.0, "the gauge shows {shown} s after {away} s");
            anyhow::Ok(())
        })
        .await?;
        rabbitmq.start_again().await?;
        enough.store(true, Ordering::Relaxed);
        anyhow::Ok(())
    };
    let (written, broken_off) = tokio::join!(write_until(&place, 200, &enough), break_off);
    broken_off?;
    let written = written?;
    place.has_effects(usize::try_from(written)?).await?;
    place.is_drained().await?;
    outbox::readiness(&place.database).await.map_err(anyhow::Error::msg)?;
    place.each_once(0..written).await?;
    place.in_order().await?;
    ensure!(place.parked().await?.is_empty(), "nothing is parked by an outage");
    has_all(recorder)?;
    running.stop().await
}

#[tokio::test]
async fn a_crashed_broker_loses_nothing_it_confirmed() -> Result<()> {
    let mut place = Place::real_with_own_broker().await?;
    let running = Running::all(&place);
    place.write(0..200).await?;
    place.has_effects(200).await?;
    let queue = crate::place::topology().queue("reader", 0);
    place.rabbitmq()?.remembers(&queue).await?;
    place.write(200..2_200).await?;
    place.rabbitmq()?.kill().await?;
    place.rabbitmq()?.start_again().await?;
    place.has_effects(2_200).await?;
    place.is_drained().await?;
    place.each_once(0..2_200).await?;
    running.stop().await
}

#[tokio::test]
async fn a_database_away_delays_and_loses_nothing() -> Result<()> {
    let mut place = Place::real().await?;
    let running = Running::all(&place);
    place.write(0..3_000).await?;
    // In the middle of the batches.
    place.has_effects(1).await?;
    place.postgres_server()?.kill().await?;
    place.postgres_server()?.start_again().await?;
    eventually("the database to be back in use", PATIENCE, async || place.effects().await.map(drop)).await?;
    place.has_effects(3_000).await?;
    place.is_drained().await?;
    place.each_once(0..3_000).await?;
    place.in_order().await?;
    ensure!(place.parked().await?.is_empty(), "nothing is parked by an outage");
    running.stop().await
}
