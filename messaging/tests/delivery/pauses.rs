//! What an operator has paused stands still in every process, over restarts, and loses nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use messaging::{
    broker::memory::MemoryBroker,
    envelope::Envelope,
    health::{Condition, Health},
    outbox,
    parked::{self, Action, Filter, Mode, Operator, Park, State},
    pauses::{self, Begun, Key, Model, Part, Pause},
    topology::{Subscription, Topology},
};
use world::{PATIENCE, eventually};

use crate::{
    fact::{Answer, Effects, KEYS, fact, key, reader},
    place::{Place, topology},
    running::Running,
};

/// How late a process that runs obeys a pause, or the end of one.
pub(crate) const SEEN: Duration = Duration::from_secs(2);
const OTHER: &str = "tests.v2.Fact";

pub(crate) fn consumer() -> Pause {
    let reason = "the disk is full".to_owned();
    Pause { part: Part::Consumer, consumer: None, kind: None, partition: None, reason }
}

pub(crate) async fn begin(place: &Place, pause: Pause) -> Result<i64> {
    match pauses::pause(&place.database, pause, Operator::from("olga"), None).await? {
        Begun::Now(begun) => Ok(begun.seq),
        other => anyhow::bail!("{other:?}"),
    }
}

pub(crate) async fn end(place: &Place, pause: i64) -> Result<()> {
    let ended = pauses::resume(&place.database, pause, Operator::from("oleg")).await?;
    ended.map(drop).context("the pause was there")
}

/// The state of a part, once `wanted` is so.
pub(crate) async fn becomes(health: &Health, part: &str, wanted: impl Fn(&Condition) -> bool) -> Result<()> {
    let mut shown = health.parts();
    eventually(&format!("the state of {part}"), SEEN, async || {
        shown = health.parts();
        let state = shown.iter().find(|(name, _)| name == part);
        ensure!(state.is_some_and(|(_, state)| wanted(state)), "{shown:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

pub(crate) fn is_paused(state: &Condition) -> bool {
    matches!(state, Condition::Paused { reason, since } if *since > 0
        && reason.contains("paused by olga: the disk is full"))
}

/// Sooner than this whatever is not paused gets on.
const QUIET: Duration = Duration::from_millis(1_000);

fn process(place: &Place) -> Running {
    process_with(place, Effects::always())
}

fn process_with(place: &Place, effects: Effects) -> Running {
    Running::default().with_pauses(place).relay(place).consumer(place, effects)
}

/// A second process, where the database is not one process's own.
fn second(place: &Place, neighbour: &Place, effects: Effects) -> Option<Running> {
    place.postgres.is_some().then(|| process_with(neighbour, effects))
}

async fn a_paused_consumer(place: Place) -> Result<()> {
    let neighbour = place.neighbour().await?;
    let refusing = Effects::unless(|number| if number == 7 { Answer::Refuse } else { Answer::Apply });
    let other = second(&place, &neighbour, refusing.clone());
    let one = process_with(&place, refusing);
    place.write(0..100).await?;
    place.has_effects(99).await?;
    let pause = begin(&place, consumer()).await?;
    for running in [Some(&one), other.as_ref()].into_iter().flatten() {
        becomes(&running.health, "consumer.0", is_paused).await?;
        becomes(&running.health, "relay", |state| *state == Condition::Ok).await?;
    }
    parked::operate(&place.database, Action::Redrive, &Filter::default(), "olga", Mode::Apply).await?;
    place.write(100..700).await?;
    one.stop().await?;
    if let Some(other) = other {
        other.stop().await?;
    }

    let restarted = process(&neighbour);
    becomes(&restarted.health, "consumer.0", is_paused).await?;
    tokio::time::sleep(QUIET).await;
    ensure!(place.effects().await?.len() == 99, "a paused consumer has taken something");
    ensure!(place.parked().await?[0].state == State::Redriven, "a redrive obeys the pause");
    end(&place, pause).await?;
    becomes(&restarted.health, "consumer.0", |state| *state == Condition::Ok).await?;
    place.has_effects(700).await?;
    place.is_drained().await?;
    place.each_once(0..700).await?;
    let actions = parked::actions(place.database.read(), 10).await?;
    let actions: Vec<&str> = actions.iter().map(|note| note.action.as_str()).collect();
    ensure!(actions == ["Resume", "Redrive", "Pause"], "{actions:?}");
    restarted.stop().await
}

#[tokio::test]
async fn a_paused_consumer_takes_nothing_embedded() -> Result<()> {
    a_paused_consumer(Place::embedded().await?).await
}

#[tokio::test]
async fn a_paused_consumer_takes_nothing_on_real_servers() -> Result<()> {
    a_paused_consumer(Place::real().await?).await
}

async fn a_paused_relay(place: Place) -> Result<()> {
    let neighbour = place.neighbour().await?;
    let (one, other) = (process(&place), second(&place, &neighbour, Effects::always()));
    place.write(0..100).await?;
    place.has_effects(100).await?;
    let pause = begin(&place, Pause { part: Part::Relay, ..consumer() }).await?;
    for running in [Some(&one), other.as_ref()].into_iter().flatten() {
        becomes(&running.health, "relay", is_paused).await?;
        ensure!(running.health.paused_relay().is_some());
        becomes(&running.health, "consumer.0", |state| *state == Condition::Ok).await?;
    }
    place.write(100..700).await?;
    neighbour.write(700..800).await?;
    tokio::time::sleep(QUIET).await;
    ensure!(outbox::backlog(place.database.read()).await?.pending == 700, "a paused relay has published");
    one.stop().await?;
    if let Some(other) = other {
        other.stop().await?;
    }
    let restarted = process(&neighbour);
    becomes(&restarted.health, "relay", is_paused).await?;
    end(&place, pause).await?;
    place.has_effects(800).await?;
    place.is_drained().await?;
    place.each_once(0..800).await?;
    place.in_order().await?;
    restarted.stop().await
}

#[tokio::test]
async fn a_paused_relay_publishes_nothing_embedded() -> Result<()> {
    a_paused_relay(Place::embedded().await?).await
}

#[tokio::test]
async fn a_paused_relay_publishes_nothing_on_real_servers() -> Result<()> {
    a_paused_relay(Place::real().await?).await
}

/// Of two kinds with the same keys: odd facts are of the one, even ones of the other.
async fn a_paused_kind(place: Place, park: Park) -> Result<()> {
    let both = Subscription { kinds: vec![reader().kinds[0].clone(), OTHER.to_owned()], ..reader() };
    let of = |number: i64| {
        let kind = if number % 2 == 0 { OTHER } else { &both.kinds[0] };
        Envelope { kind: kind.to_owned(), key: format!("key-{}", number / 2 % 10), ..fact(number) }
    };
    let running = Running::default().with_pauses(&place);
    let running = running.consumer_as(both.clone(), &place, Effects::always(), park, 1).relay(&place);
    // Its queue is bound for both kinds.
    becomes(&running.health, "consumer.0", |state| *state == Condition::Ok).await?;
    place.write_messages((0..40).map(of).collect()).await?;
    place.has_effects(40).await?;
    let pause = begin(&place, Pause { kind: Some(OTHER.to_owned()), ..consumer() }).await?;
    becomes(&running.health, &format!("kind.{OTHER}"), is_paused).await?;
    becomes(&running.health, "consumer.0", |state| *state == Condition::Ok).await?;
    place.write_messages((40..80).map(of).collect()).await?;
    place.is_drained().await?;
    // The odd ones of a key come behind an even one.
    let waiting = match park {
        Park::Message => 20,
        Park::Key => 40,
    };
    let parked = place.has_parked(waiting).await?;
    ensure!(parked.iter().all(|row| row.state == State::Waiting), "{parked:?}");
    ensure!(parked[0].error.contains("paused by olga"), "{}", parked[0].error);
    end(&place, pause).await?;
    // What comes while they leave does not pass them by.
    place.write_messages((80..200).map(of).collect()).await?;
    place.has_effects(200).await?;
    place.has_parked(0).await?;
    place.each_once(0..200).await?;
    for (kind, key) in (0..2).flat_map(|kind| (0..10).map(move |key| (kind, key))) {
        let effects = place.effects().await?;
        let of_key = effects.iter().filter(|number| *number / 2 % 10 == key);
        let in_line: Vec<&i64> = of_key.filter(|number| park == Park::Key || *number % 2 == kind).collect();
        ensure!(in_line.is_sorted(), "key {key}: {in_line:?}");
    }
    let names = running.health.parts().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    ensure!(!names.iter().any(|name| name.starts_with("kind.")), "{names:?}");
    running.stop().await
}

#[tokio::test]
async fn messages_of_a_paused_kind_wait_and_leave_in_order_embedded() -> Result<()> {
    a_paused_kind(Place::embedded().await?, Park::Message).await
}

#[tokio::test]
async fn messages_of_a_paused_kind_wait_and_leave_in_order_on_real_servers() -> Result<()> {
    a_paused_kind(Place::real().await?, Park::Key).await
}

/// More messages of the paused partition than fit into a window: they keep nobody from the other one.
#[tokio::test]
async fn a_paused_partition_holds_up_no_other_in_process() -> Result<()> {
    let topology = Topology { consumers: vec![reader()], partitions: 2, ..topology() };
    let of_held = |number: &i64| topology.partition(&key(*number)) == 0;
    let held: Vec<i64> = (0..2_500).filter(of_held).collect();
    let broker = Arc::new(MemoryBroker::new(topology.clone()));
    let first = Place::embedded().await?;
    let place = Place::join(&first.url, broker).await?;
    let first_held = *held.first().context("a fact of the partition")?;
    let cured = Arc::new(AtomicBool::new(false));
    let is_cured = Arc::clone(&cured);
    let refusing = Effects::unless(move |number| {
        let refuses = number == first_held && !is_cured.load(Ordering::Relaxed);
        if refuses { Answer::Refuse } else { Answer::Apply }
    });
    let running = Running::default().with_pauses(&place);
    let running = running.consumer_as(reader(), &place, refusing, Park::Message, 2).relay(&place);
    place.write_messages(vec![fact(first_held)]).await?;
    place.has_parked(1).await?;
    let pause = begin(&place, Pause { partition: Some(0), ..consumer() }).await?;
    becomes(&running.health, "consumer.0", is_paused).await?;
    ensure!(held.len() > 600, "more than a window of the broker");
    cured.store(true, Ordering::Relaxed);
    parked::operate(&place.database, Action::Redrive, &Filter::default(), "olga", Mode::Apply).await?;
    place.write_messages(held[1..].iter().map(|number| fact(*number)).collect()).await?;
    let others: Vec<i64> = (20_000..20_200).filter(|number| !of_held(number)).collect();
    ensure!(!others.is_empty());
    place.write_messages(others.iter().map(|number| fact(*number)).collect()).await?;
    place.has_effects(others.len()).await?;
    place.each_once(others.iter().copied()).await?;
    becomes(&running.health, "consumer.1", |state| *state == Condition::Ok).await?;
    // Longer than a consumer needs to come to it.
    tokio::time::sleep(Duration::from_secs(6)).await;
    ensure!(
        place.has_parked(1).await?[0].state == State::Redriven,
        "a redrive obeys the pause of its partition"
    );
    becomes(&running.health, "relay", |state| *state == Condition::Ok).await?;
    ensure!(place.one::<i64>("SELECT COUNT(*) FROM outbox WHERE attempts > 0").await? == 0);
    end(&place, pause).await?;
    place.has_effects(held.len() + others.len()).await?;
    place.is_drained().await?;
    place.has_parked(0).await?;
    let written: Vec<i64> =
        place.effects().await?.into_iter().filter(|number| *number != first_held).collect();
    ensure!(of_each_key(&written), "out of order");
    running.stop().await
}

/// What the in-process broker gives back is left alone until the pause is over, and leaves at once then.
#[tokio::test]
async fn what_waits_for_a_paused_consumer_is_not_tried_in_process() -> Result<()> {
    let place = Place::embedded().await?;
    let running = process(&place);
    // To a new publisher a pause may have ended before it was there. The relay has seen to that once it has removed something.
    place.write(0..1).await?;
    place.is_drained().await?;
    becomes(&running.health, "relay", |state| *state == Condition::Ok).await?;
    let pause = begin(&place, consumer()).await?;
    becomes(&running.health, "consumer.0", is_paused).await?;
    place.write(1..11).await?;
    let due = async || place.one::<i64>("SELECT MIN(next_attempt_time) FROM outbox").await;
    let first = eventually("the messages to be given back", PATIENCE, async || {
        let due = due().await?;
        ensure!(due > 0, "not all are");
        anyhow::Ok(due)
    })
    .await?;
    // More than two looks at what waits.
    tokio::time::sleep(Duration::from_secs(6)).await;
    ensure!(due().await? == first, "they were tried again");
    end(&place, pause).await?;
    let ended = Instant::now();
    place.has_effects(11).await?;
    ensure!(ended.elapsed() < 2 * SEEN, "they left after {:?}", ended.elapsed());
    place.is_drained().await?;
    place.each_once(0..11).await?;
    running.stop().await
}

/// Whether the facts of each key are in their order.
fn of_each_key(numbers: &[i64]) -> bool {
    (0..KEYS).all(|of| numbers.iter().filter(|number| *number % KEYS == of).is_sorted())
}

/// The pauses that were read last stay while the database is away.
#[tokio::test]
async fn a_pause_outlives_an_outage_of_the_database() -> Result<()> {
    let mut place = Place::real().await?;
    let running = process(&place);
    begin(&place, consumer()).await?;
    becomes(&running.health, "consumer.0", is_paused).await?;
    place.write(0..10).await?;
    place.is_drained().await?;
    place.postgres_server()?.stop().await?;
    tokio::time::sleep(QUIET).await;
    becomes(&running.health, "consumer.0", is_paused).await?;
    place.postgres_server()?.start_again().await?;
    eventually("the database", PATIENCE, async || {
        ensure!(place.effects().await?.is_empty(), "a paused consumer has taken something");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    becomes(&running.health, "consumer.0", is_paused).await?;
    running.stop().await
}

/// A request that comes again begins nothing, whatever has become of its pause; and there are not more than can be read once a second.
async fn begins_once(place: Place) -> Result<()> {
    let key = |id: &str, of: u8| Some(Key { id: id.to_owned(), fingerprint: vec![of; 32] });
    let ask = |key| pauses::pause(&place.database, consumer(), Operator::from("olga"), key);
    let Begun::Now(first) = ask(key("monday", 1)).await? else { anyhow::bail!("it is the first") };
    ensure!(ask(key("monday", 1)).await? == Begun::Before(first.clone()));
    ensure!(ask(key("monday", 2)).await? == Begun::KeyReused);
    end(&place, first.seq).await?;
    ensure!(ask(key("monday", 1)).await? == Begun::Before(first));
    ensure!(pauses::list(place.database.read()).await?.is_empty(), "a repetition has paused");
    let many = "INSERT INTO pauses (part, reason, operator, pause_time) SELECT 1, 'many', 'olga', 0 FROM
        (WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 999) SELECT n FROM numbers) AS numbers";
    place.database.execute_unflushed(many.to_owned()).await?;
    let Begun::Now(last) = ask(None).await? else { anyhow::bail!("one more may be") };
    ensure!(ask(None).await? == Begun::TooMany && ask(key("tuesday", 1)).await? == Begun::TooMany);
    end(&place, last.seq).await?;
    let Begun::Now(tuesday) = ask(key("tuesday", 1)).await? else { anyhow::bail!("a refusal is remembered") };
    // Of what is long ago only the keys of pauses that are not over are kept.
    let age = "UPDATE pause_requests SET pause_time = 1".to_owned();
    place.database.execute_unflushed(age).await?;
    ensure!(ask(key("tuesday", 1)).await? == Begun::Before(Model { pause_time: 1, ..tuesday }));
    ensure!(place.one::<i64>("SELECT COUNT(*) FROM pause_requests").await? == 1, "old keys are kept");
    Ok(())
}

#[tokio::test]
async fn a_pause_begins_once_embedded() -> Result<()> {
    begins_once(Place::embedded().await?).await
}

#[tokio::test]
async fn a_pause_begins_once_on_postgres() -> Result<()> {
    begins_once(Place::postgres().await?).await
}
