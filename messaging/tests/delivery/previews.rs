//! A preview does what a redrive would do now, with pauses and the order of keys, and holds nothing that a redrive counts by.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use messaging::{
    consumer::{self, Consumer, Deduplication, Handler, Outcome, Verdict},
    envelope::Envelope,
    parked::{Filter, Park},
    pauses::{self, Part, Pause, Pauses},
};
use sea_orm::{ConnectionTrait as _, DbErr};
use storage::Reading;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    fact::{Effects, reader},
    paced::{park, start},
    place::Place,
};

const HOLD: Duration = Duration::from_secs(4);

fn consumer(place: &Place, handler: impl Handler, pauses: &Pauses) -> Consumer {
    let (database, broker) = (place.database.clone(), Arc::clone(&place.broker));
    let consumer = Consumer::new(database, broker, 1, reader(), Deduplication::Inbox, handler);
    consumer.with_pauses(pauses).with_park(Park::Key)
}

/// Ten keys with two messages each.
async fn waits_as_a_redrive_would(place: Place) -> Result<()> {
    park(&place, 20).await?;
    let seqs: Vec<i64> = place.parked().await?.iter().map(|row| row.seq).collect();
    let (pauses, stop) = (Pauses::unread(), CancellationToken::new());
    let follows = tokio::spawn(pauses.clone().follow(place.database.clone(), stop.clone()));
    let consumer = consumer(&place, Effects::always(), &pauses);
    let operated = consumer.operated();
    let all = operated.preview(seqs.clone(), HOLD).await?;
    ensure!(all.len() == 20 && all.iter().all(|preview| preview.outcome == Outcome::Done), "{all:?}");
    let second = operated.preview(seqs[10..].to_vec(), HOLD).await?;
    for (preview, ahead) in second.iter().zip(&seqs) {
        let Outcome::Waits(reason) = &preview.outcome else { anyhow::bail!("{preview:?}") };
        ensure!(reason.contains(&format!("the message {ahead} ")) && preview.changes.is_empty(), "{reason}");
    }
    let kind = Some(reader().kinds[0].clone());
    let reason = "a bad release".to_owned();
    let pause = Pause { part: Part::Consumer, consumer: None, kind, partition: None, reason };
    pauses::pause(&place.database, pause, "olga".into(), None).await?;
    pauses.look();
    world::eventually("the pause to be seen", world::PATIENCE, async || {
        ensure!(!pauses.now().is_empty(), "nothing is paused");
        anyhow::Ok(())
    })
    .await?;
    let paused = operated.preview(seqs, HOLD).await?;
    let is_paused =
        |outcome: &Outcome| matches!(outcome, Outcome::Waits(why) if why.contains("paused by olga"));
    ensure!(paused.len() == 20 && paused.iter().all(|preview| is_paused(&preview.outcome)), "{paused:?}");
    stop.cancel();
    Ok(follows.await?)
}

#[tokio::test]
async fn a_preview_waits_as_a_redrive_would_embedded() -> Result<()> {
    waits_as_a_redrive_would(Place::embedded().await?).await
}

#[tokio::test]
async fn a_preview_waits_as_a_redrive_would_on_postgres() -> Result<()> {
    waits_as_a_redrive_would(Place::postgres().await?).await
}

/// Has each message wait for a permit.
struct Gated {
    given: Arc<Semaphore>,
    gate: Arc<Semaphore>,
}

#[async_trait]
impl Handler for Gated {
    async fn handle(
        &self,
        _reading: Reading<'_>,
        messages: &[&Envelope],
        _left: &mut consumer::Effects,
    ) -> Result<Vec<Verdict>, DbErr> {
        self.given.add_permits(1);
        let closed = |error: tokio::sync::AcquireError| DbErr::Custom(error.to_string());
        self.gate.acquire().await.map_err(closed)?.forget();
        Ok(vec![Verdict::Done; messages.len()])
    }
}

/// A redrive locks messages and then its job, so who holds messages for seconds must not hold the job as well.
#[tokio::test]
async fn a_preview_does_not_hold_the_job_of_its_messages() -> Result<()> {
    let place = Place::postgres().await?;
    park(&place, 2).await?;
    let seqs: Vec<i64> = place.parked().await?.iter().map(|row| row.seq).collect();
    let job = start(&place, &Filter::default(), 1).await?.job;
    let (given, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(1)));
    let handler = Gated { given: Arc::clone(&given), gate: Arc::clone(&gate) };
    let operated = consumer(&place, handler, &Pauses::none()).operated();
    let preview = tokio::spawn(async move { operated.preview(seqs, HOLD).await });
    // The first is done in it, and the second under way.
    given.acquire_many(2).await?.forget();
    let mine = sea_orm::Database::connect(place.connection_url()).await?;
    let lock = format!("SELECT id FROM redrive_jobs WHERE id = {} FOR UPDATE NOWAIT", job.id);
    mine.execute_unprepared(&lock).await.context("the preview holds the job")?;
    gate.add_permits(1);
    let previews = preview.await??;
    ensure!(previews.iter().all(|preview| preview.outcome == Outcome::Done), "{previews:?}");
    mine.close().await?;
    Ok(())
}
