//! A request that repeats a parked one has no row of its own, and is counted on that of the other: none is lost from sight.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use messaging::{
    broker::{Outcome, memory::MemoryBroker},
    envelope::Envelope,
    parked::{self, Action, Affected, Filter, Mode, Model, State, operate},
    topology::{Subscription, Topology},
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use uuid::Uuid;
use world::{PATIENCE, eventually};

use crate::{
    fact::{Answer, Effects, fact, reader},
    place::{Place, topology},
    running::Running,
};

/// As many as one transaction takes, so that some come together, and as many later.
const TOGETHER: u128 = 40;

/// A request about `number`, as it is sent for the time `id`.
fn request(number: i64, id: u128) -> Envelope {
    Envelope { id: Uuid::from_u128(id), ..fact(number) }
}

/// Waits until one message is parked and so many others are counted on it.
async fn counts(place: &Place, repeats: i64) -> Result<Model> {
    eventually(&format!("{repeats} repeats"), PATIENCE, async || {
        let parked = place.parked().await?;
        ensure!(parked.len() == 1 && parked[0].repeats == repeats, "{parked:?}");
        Ok(parked[0].clone())
    })
    .await
}

/// The counter of the reader.
fn counted(recorder: &PrometheusHandle) -> Result<i64> {
    let text = recorder.render();
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with("messaging_parked_repeats_total{"));
    Ok(line.and_then(|line| line.rsplit(' ').next()).context("a counter")?.parse::<f64>()? as i64)
}

/// What the last operator did to which messages.
async fn noted(place: &Place) -> Result<(String, i64)> {
    let note = parked::actions(place.database.read(), 1).await?.pop().context("a note")?;
    Ok((note.filter, note.affected))
}

async fn every_repeat_is_counted(place: Place) -> Result<()> {
    let recorder = PrometheusBuilder::new().install_recorder()?;
    let repaired = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&repaired);
    let refused = move |number| number < 3 && !seen.load(Ordering::Relaxed);
    let effects = Effects::unless(move |number| if refused(number) { Answer::Refuse } else { Answer::Apply });
    let running = Running::default().requests(reader(), &place, effects).relay(&place);

    place.write_messages((1..=TOGETHER).map(|id| request(1, id)).collect()).await?;
    let repeats = i64::try_from(TOGETHER)?;
    let row = counts(&place, repeats - 1).await?;
    place.write_messages((1..=TOGETHER).map(|id| request(1, 100 + id)).collect()).await?;
    let row = Model { repeats: 2 * repeats - 1, ..row };
    let later = counts(&place, row.repeats).await?;
    ensure!(later.message_id == row.message_id && later.park_time == row.park_time, "{later:?}");
    ensure!(later.last_repeat_time.is_some_and(|last| last >= later.park_time), "{later:?}");
    // What the broker delivers again was counted.
    let again = [request(1, 100 + TOGETHER), fact(5)];
    let outcomes = place.broker.publisher().await?.publish(&again).await;
    ensure!(outcomes.iter().all(|outcome| *outcome == Outcome::Confirmed), "{outcomes:?}");
    place.has_effects(1).await?;
    ensure!(place.parked().await? == [later], "it was counted twice");
    ensure!(counted(&recorder)? == row.repeats);
    let groups = parked::groups(&place.database, &Filter::default(), 10).await?;
    ensure!(groups.len() == 1 && (groups[0].messages, groups[0].repeats) == (1, row.repeats), "{groups:?}");

    let all = Affected { messages: 1, repeats: row.repeats.unsigned_abs() };
    let any = Filter::default();
    ensure!(operate(&place.database, Action::Discard, &any, "olga", Mode::DryRun).await? == all);
    repaired.store(true, Ordering::Relaxed);
    ensure!(operate(&place.database, Action::Redrive, &any, "olga", Mode::Apply).await? == all);
    ensure!(noted(&place).await? == (format!("every message; with {} repeats", row.repeats), 1));
    place.has_effects(2).await?;
    place.has_parked(0).await?;
    place.each_once([1, 5].into_iter()).await?;

    repaired.store(false, Ordering::Relaxed);
    place.write_messages((1..4).map(|id| request(2, 1_000 + id)).collect()).await?;
    counts(&place, 2).await?;
    let both = Affected { messages: 1, repeats: 2 };
    ensure!(operate(&place.database, Action::Discard, &any, "olga", Mode::Apply).await? == both);
    ensure!(noted(&place).await? == ("every message; with 2 repeats".to_owned(), 1));
    ensure!(place.parked().await?.is_empty());
    running.stop().await
}

#[tokio::test]
async fn every_repeat_is_counted_embedded() -> Result<()> {
    every_repeat_is_counted(Place::embedded().await?).await
}

#[tokio::test]
async fn every_repeat_is_counted_on_postgres() -> Result<()> {
    every_repeat_is_counted(Place::postgres().await?).await
}

/// Nobody has remembered what is held: the broker may deliver it, and what repeats it, once more.
#[tokio::test]
async fn repeats_of_what_is_held_are_counted_once() -> Result<()> {
    let mut place = Place::embedded().await?;
    let newer =
        Subscription { kinds: [reader().kinds, vec!["tests.v2.Fact".to_owned()]].concat(), ..reader() };
    place.broker = Arc::new(MemoryBroker::new(Topology { consumers: vec![newer.clone()], ..topology() }));
    let old = Running::default().requests(reader(), &place, Effects::always());
    let held = |id| Envelope { kind: "tests.v2.Fact".to_owned(), ..request(1, id) };
    let mut publisher = place.broker.publisher().await?;
    for (number, batch) in (5..).zip([[held(1), held(2)], [held(2), held(1)], [held(1), held(2)]]) {
        let outcomes = publisher.publish(&batch).await;
        ensure!(outcomes.iter().all(|outcome| *outcome == Outcome::Confirmed), "{outcomes:?}");
        publisher.publish(&[fact(number)]).await;
        place.has_effects(usize::try_from(number - 4)?).await?;
    }
    let row = counts(&place, 1).await?;
    ensure!(row.state == State::Held && row.message_id == Some(Uuid::from_u128(1)), "{row:?}");
    old.stop().await?;

    let upgraded = Running::default().requests(newer, &place, Effects::always());
    place.has_parked(0).await?;
    place.each_once([1, 5, 6, 7].into_iter()).await?;
    upgraded.stop().await
}
