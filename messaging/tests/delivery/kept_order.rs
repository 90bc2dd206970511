//! With `park = key` the order of a key is kept past what is parked: what comes later waits behind it, and leaves once that was handled.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use messaging::{
    envelope::Envelope,
    parked::{self, Action, Filter, Mode, Model, Park, State},
};
use world::{PATIENCE, eventually};

use crate::{
    fact::{Answer, Effects, fact, reader},
    place::Place,
    running::Running,
};

const KEYS: i64 = 1_000;
/// Facts of each key.
const ROUNDS: i64 = 4;
/// Keys with a fact that cannot be handled, which is the second one.
const POISONED: i64 = 10;

fn of_many_keys(number: i64) -> Envelope {
    Envelope { key: format!("key-{}", number % KEYS), ..fact(number) }
}

fn is_poison(number: i64) -> bool {
    number / KEYS == 1 && number % KEYS % 100 == 7
}

fn poisoned() -> Effects {
    Effects::unless(|number| match is_poison(number) {
        true if number % KEYS < 300 => Answer::Fail,
        true if number % KEYS < 600 => Answer::Panic,
        true => Answer::Refuse,
        false => Answer::Apply,
    })
}

fn process(place: &Place, effects: Effects) -> Running {
    Running::default().consumer_as(reader(), place, effects, Park::Key, 1).relay(place)
}

async fn are_parked(place: &Place, parked: usize, waiting: usize) -> Result<Vec<Model>> {
    eventually(&format!("{parked} parked and {waiting} that wait"), 2 * PATIENCE, async || {
        let rows = place.parked().await?;
        let count = |state| rows.iter().filter(|row| row.state == state).count();
        let (are, wait) = (count(State::Parked), count(State::Waiting));
        ensure!((are, wait, rows.len()) == (parked, waiting, parked + waiting), "{are} and {wait}");
        Ok(rows)
    })
    .await
}

async fn redrive(place: &Place, seqs: Vec<i64>) -> Result<u64> {
    let filter = Filter { seqs, ..Filter::default() };
    Ok(parked::operate(&place.database, Action::Redrive, &filter, "olga", Mode::Apply).await?.messages)
}

async fn in_order(place: &Place) -> Result<()> {
    let mut by_key: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for number in place.effects().await? {
        by_key.entry(number % KEYS).or_default().push(number);
    }
    for (key, numbers) in by_key {
        ensure!(numbers.is_sorted(), "key {key}: {numbers:?}");
    }
    Ok(())
}

async fn a_thousand_keys(place: Place) -> Result<()> {
    let (poisoned_keys, behind) = (usize::try_from(POISONED)?, usize::try_from(POISONED * (ROUNDS - 2))?);
    let running = process(&place, poisoned());
    for round in 0..ROUNDS {
        place.write_messages((round * KEYS..(round + 1) * KEYS).map(of_many_keys).collect()).await?;
    }
    place.is_drained().await?;
    are_parked(&place, poisoned_keys, behind).await?;
    in_order(&place).await?;
    // Before it is put right nothing behind it gets on.
    redrive(&place, Vec::new()).await?;
    are_parked(&place, poisoned_keys, behind).await?;
    running.stop().await?;

    // Another process, of a version that knows better, and messages that come while they leave.
    let parked = place.parked().await?;
    let first = parked.iter().find(|row| row.state == State::Parked).map_or(0, |row| row.seq);
    let discard = Filter { seqs: vec![first], ..Filter::default() };
    ensure!(
        parked::operate(&place.database, Action::Discard, &discard, "olga", Mode::Apply).await?.messages == 1
    );
    redrive(&place, Vec::new()).await?;
    let better = process(&place, Effects::always());
    place.write_messages((ROUNDS * KEYS..(ROUNDS + 1) * KEYS).map(of_many_keys).collect()).await?;
    are_parked(&place, 0, 0).await?;
    let all = usize::try_from((ROUNDS + 1) * KEYS)?;
    place.has_effects(all - 1).await?;
    are_parked(&place, 0, 0).await?;
    ensure!(place.effects().await?.len() == all - 1, "all but the one that was discarded");
    in_order(&place).await?;
    better.stop().await
}

#[tokio::test]
async fn a_thousand_keys_keep_their_order_embedded() -> Result<()> {
    a_thousand_keys(Place::embedded().await?).await
}

#[tokio::test]
async fn a_thousand_keys_keep_their_order_on_real_servers() -> Result<()> {
    a_thousand_keys(Place::real().await?).await
}

/// What is refused and what comes behind it of its key, all of it received at once.
#[tokio::test]
async fn what_comes_in_one_batch_waits_too() -> Result<()> {
    let place = Place::embedded().await?;
    place.write(0..100).await?;
    let refusing = Effects::unless(|number| if number == 5 { Answer::Refuse } else { Answer::Apply });
    let running = process(&place, refusing);
    place.is_drained().await?;
    are_parked(&place, 1, 9).await?;
    ensure!(place.effects().await?.len() == 90, "something has passed by");
    running.stop().await
}

/// One that stood by while another one parked the first of a key knows of it when it takes over.
async fn who_takes_over_knows(place: Place) -> Result<()> {
    let neighbour = place.neighbour().await?;
    let active = Running::default().consumer_as(reader(), &place, poisoned(), Park::Key, 1).relay(&place);
    place.write_messages((0..10).map(of_many_keys).collect()).await?;
    place.has_effects(10).await?;
    let stands_by = Running::default().consumer_as(reader(), &neighbour, Effects::always(), Park::Key, 1);
    // It has looked once, and found nothing.
    eventually("a consumer that stands by", PATIENCE, async || {
        let parts = stands_by.health.parts();
        let is_ok = parts
            .iter()
            .any(|(name, state)| name == "consumer.0" && *state == messaging::health::Condition::Ok);
        ensure!(is_ok, "{parts:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let poison = KEYS + 7;
    place.write_messages(vec![of_many_keys(poison)]).await?;
    are_parked(&place, 1, 0).await?;
    active.stop().await?;
    let relay = Running::default().relay(&place);
    place.write_messages(vec![of_many_keys(2 * KEYS + 7), of_many_keys(2 * KEYS + 8)]).await?;
    place.has_effects(11).await?;
    let parked = are_parked(&place, 1, 1).await?;
    redrive(&place, vec![parked[0].seq]).await?;
    are_parked(&place, 0, 0).await?;
    ensure!(place.effects().await?[11..] == [poison, 2 * KEYS + 7], "{:?}", place.effects().await?);
    relay.stop().await?;
    stands_by.stop().await
}

#[tokio::test]
async fn who_takes_over_knows_what_was_parked_embedded() -> Result<()> {
    who_takes_over_knows(Place::embedded().await?).await
}

#[tokio::test]
async fn who_takes_over_knows_what_was_parked_on_real_servers() -> Result<()> {
    who_takes_over_knows(Place::real().await?).await
}
