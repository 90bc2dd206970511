//! What waited through a pause leaves several messages at a time, in the order of their keys, however many they are.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use messaging::{
    consumer::{self, Consumer, Deduplication, Handler, Verdict},
    envelope::Envelope,
    parked::{Park, State},
    pauses::{self, Begun, Part, Pause},
};
use sea_orm::DbErr;
use storage::Reading;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use world::{PATIENCE, eventually};

use crate::{
    fact::{Answer, Effects, reader},
    place::Place,
    running::Running,
};

const FACTS: usize = 2_000;

/// Counts how often it is given anything.
struct Counted {
    effects: Effects,
    calls: Arc<AtomicUsize>,
}

#[async_trait]
impl Handler for Counted {
    async fn handle(
        &self,
        reading: Reading<'_>,
        messages: &[&Envelope],
        left: &mut consumer::Effects,
    ) -> Result<Vec<Verdict>, DbErr> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.effects.handle(reading, messages, left).await
    }
}

async fn leaves_together(place: Place, park: Park, poison: Option<i64>) -> Result<()> {
    let kind = Some(reader().kinds[0].clone());
    let reason = "a bad release".to_owned();
    let pause = Pause { part: Part::Consumer, consumer: None, kind, partition: None, reason };
    let Begun::Now(pause) = pauses::pause(&place.database, pause, "olga".into(), None).await? else {
        anyhow::bail!("it is the first one")
    };
    let running = Running::default().with_pauses(&place).relay(&place);
    let calls = Arc::new(AtomicUsize::new(0));
    let effects =
        Effects::unless(move |number| if Some(number) == poison { Answer::Refuse } else { Answer::Apply });
    let handler = Counted { effects, calls: Arc::clone(&calls) };
    let (database, broker) = (place.database.clone(), Arc::clone(&place.broker));
    let consumer = Consumer::new(database, broker, 1, reader(), Deduplication::Inbox, handler);
    let consumer = consumer.with_pauses(&running.pauses).with_park(park);
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(consumer.run(stop.clone()));
    place.write(0..i64::try_from(FACTS)?).await?;
    place.is_drained().await?;
    let waiting = place.has_parked(FACTS).await?;
    ensure!(waiting.iter().all(|row| row.state == State::Waiting));
    ensure!(calls.load(Ordering::Relaxed) == 0, "a paused kind was handled");
    pauses::resume(&place.database, pause.seq, "oleg".into()).await?;

    // With a key's order, what comes behind the poison of it stays.
    let behind = match (poison, park) {
        (Some(poison), Park::Key) => {
            (poison + 1..i64::try_from(FACTS)?).filter(|it| it % 10 == poison % 10).count()
        }
        _ => 0,
    };
    let stay = usize::from(poison.is_some()) + behind;
    eventually("the rest to leave", 2 * PATIENCE, async || {
        let left = place.parked().await?;
        let parked = left.iter().filter(|row| row.state == State::Parked).count();
        ensure!(left.len() == stay && parked == stay - behind, "{} are left, {parked} parked", left.len());
        anyhow::Ok(())
    })
    .await?;
    let effects = place.effects().await?;
    ensure!(effects.len() == FACTS - stay, "{} effects", effects.len());
    place.in_order().await?;
    let calls = calls.load(Ordering::Relaxed);
    ensure!(calls <= FACTS / 10, "{FACTS} messages were given in {calls} calls");
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    running.stop().await
}

#[tokio::test]
async fn what_waited_leaves_together_embedded() -> Result<()> {
    leaves_together(Place::embedded().await?, Park::Message, None).await
}

#[tokio::test]
async fn what_waited_leaves_together_on_postgres() -> Result<()> {
    leaves_together(Place::postgres().await?, Park::Key, None).await
}

#[tokio::test]
async fn what_is_behind_poison_stays() -> Result<()> {
    leaves_together(Place::postgres().await?, Park::Key, Some(1_234)).await
}

#[tokio::test]
async fn what_is_behind_poison_overtakes_it() -> Result<()> {
    leaves_together(Place::embedded().await?, Park::Message, Some(1_234)).await
}
