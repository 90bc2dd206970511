//! What an operator has sent back and cannot be handled either: it ends no process for ever, can be discarded, and is parked once.

use std::{env, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use messaging::{
    broker::memory::MemoryBroker,
    consumer::{self, Consumer, Deduplication, Handler, Verdict},
    envelope::Envelope,
    parked::{Action, Filter, Mode, State, operate},
    topology::Topology,
};
use sea_orm::DbErr;
use storage::Reading;
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use world::{PATIENCE, Program, eventually};

use crate::{
    fact::{Answer, Effects, fact, key, reader},
    place::{Place, topology},
    running::Running,
};

const POISON: i64 = 7;
/// Set in the processes that die: the URL of their database.
const PLACE: &str = "ORDERMESH_TEST_REDRIVER";
/// Attempts that do not come back.
const DEATHS: usize = 3;

/// A process whose handler ends it. Without its variable it is a test of nothing.
#[tokio::test]
async fn worker() -> Result<()> {
    let Ok(database) = env::var(PLACE) else { return Ok(()) };
    let broker = Arc::new(MemoryBroker::new(Topology { consumers: vec![reader()], ..topology() }));
    let place = Place::join(&database.parse()?, broker).await?;
    let _running = Running::default().consumer(&place, Deadly);
    std::future::pending().await
}

/// Ends its process at the poison, and takes so long for everything else that it is still at that when both are handled at once.
struct Deadly;

/// Well above what the poison needs to be reached.
const SLOW: Duration = Duration::from_millis(500);

#[async_trait]
impl Handler for Deadly {
    async fn handle(
        &self,
        reading: Reading<'_>,
        messages: &[&Envelope],
        left: &mut consumer::Effects,
    ) -> Result<Vec<Verdict>, DbErr> {
        if messages.iter().any(|message| message.key == key(POISON)) {
            std::process::abort();
        }
        sleep(SLOW).await;
        Effects::always().handle(reading, messages, left).await
    }
}

/// Parks the poison and the facts before it.
async fn park(place: &Place) -> Result<()> {
    let refusing = Effects::unless(|_| Answer::Refuse);
    let running = Running::default().consumer(place, refusing).relay(place);
    place.write(POISON - 2..POISON + 1).await?;
    place.has_parked(3).await?;
    running.stop().await
}

async fn ends_no_process_for_ever(place: Place) -> Result<()> {
    park(&place).await?;
    operate(&place.database, Action::Redrive, &Filter::default(), "olga", Mode::Apply).await?;
    let program = Program::at(&env::current_exe()?)
        .args(["redrives::worker", "--exact", "--nocapture"])
        .env(PLACE, place.connection_url());
    for death in 0..DEATHS {
        let mut process = program.start()?;
        let ended = process.wait(PATIENCE).await.with_context(|| format!("death {death}"))?;
        ensure!(!ended.success(), "{}", process.output());
    }
    let mut process = program.start()?;
    let parked = eventually("the message to wait for an operator", PATIENCE, async || {
        let parked = place.parked().await?;
        ensure!(parked.len() == 1 && parked[0].state == State::Parked, "{parked:?}");
        Ok(parked)
    })
    .await?;
    ensure!(parked[0].error.contains("the process ended in each of 3 attempts"), "{}", parked[0].error);
    ensure!(parked[0].error.contains("fact 7 is refused"), "{}", parked[0].error);
    place.each_once(POISON - 2..POISON).await?;
    // Another time, with a version that knows better.
    process.kill9().await?;
    operate(&place.database, Action::Redrive, &Filter::default(), "olga", Mode::Apply).await?;
    let better = Running::default().consumer(&place, Effects::always());
    place.has_effects(3).await?;
    place.has_parked(0).await?;
    better.stop().await
}

#[tokio::test]
async fn one_that_ends_its_process_waits_for_an_operator_again_on_postgres() -> Result<()> {
    ends_no_process_for_ever(Place::postgres().await?).await
}

#[tokio::test]
async fn one_that_ends_its_process_waits_for_an_operator_again_embedded() -> Result<()> {
    ends_no_process_for_ever(Place::embedded().await?).await
}

#[tokio::test]
async fn one_that_was_sent_back_can_be_discarded() -> Result<()> {
    let place = Place::embedded().await?;
    park(&place).await?;
    operate(&place.database, Action::Redrive, &Filter::default(), "olga", Mode::Apply).await?;
    let discarded =
        operate(&place.database, Action::Discard, &Filter::default(), "olga", Mode::Apply).await?;
    ensure!(discarded.messages == 3 && place.parked().await?.is_empty(), "{discarded:?}");
    Ok(())
}

/// A sender that gets no answer asks again, with another id each time.
#[tokio::test]
async fn a_request_that_is_repeated_is_parked_once() -> Result<()> {
    let place = Place::embedded().await?;
    let again = |number, id| Envelope { id: Uuid::from_u128(id), ..fact(number) };
    let consumer = Consumer::new(
        place.database.clone(),
        Arc::clone(&place.broker),
        1,
        reader(),
        Deduplication::Requests,
        Effects::unless(|number| if number < 3 { Answer::Refuse } else { Answer::Apply }),
    );
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(consumer.run(stop.clone()));
    let relay = Running::default().relay(&place);
    for id in 1..4 {
        place.write_messages(vec![again(1, id), again(2, 10 + id), fact(5)]).await?;
        place.has_effects(usize::try_from(id)?).await?;
    }
    let parked = place.has_parked(2).await?;
    let ids: Vec<Option<Uuid>> = parked.iter().map(|row| row.message_id).collect();
    ensure!(ids == [1, 11].map(|id| Some(Uuid::from_u128(id))), "{ids:?}");
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    relay.stop().await
}
