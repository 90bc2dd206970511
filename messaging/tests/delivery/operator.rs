//! What was parked is sent back by an operator; what was held leaves by itself once its kind is known.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Result, ensure};
use messaging::{
    broker::memory::MemoryBroker,
    envelope::Envelope,
    parked::{self, Action, Filter, Mode, State, operate},
    topology::{Subscription, Topology},
};
use world::{PATIENCE, eventually};

use crate::{
    fact::{Answer, Effects, fact, reader},
    place::{Place, topology},
    running::Running,
};

const POISON: i64 = 617;

/// A handler that fails at one fact until it is repaired.
fn repairable() -> (Effects, Arc<AtomicBool>) {
    let repaired = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&repaired);
    let poisoned = move |number| number == POISON && !seen.load(Ordering::Relaxed);
    (Effects::unless(move |number| if poisoned(number) { Answer::Fail } else { Answer::Apply }), repaired)
}

async fn a_redriven_message_has_its_effect(place: Place) -> Result<()> {
    let (effects, repaired) = repairable();
    let running = Running::default().consumer(&place, effects).relay(&place);
    place.write(0..1_000).await?;
    place.has_effects(999).await?;
    let parked = place.has_parked(1).await?;

    let database = &place.database;
    let ours = Filter {
        consumer: Some("reader".to_owned()),
        error: Some("617 fails".to_owned()),
        ..Filter::default()
    };
    let others = Filter { consumer: Some("writer".to_owned()), ..ours.clone() };
    let louder = Filter { error: Some("617 FAILS".to_owned()), ..ours.clone() };
    for nothing in [others, louder] {
        ensure!(
            operate(database, Action::Redrive, &nothing, "olga", Mode::DryRun).await?.messages == 0,
            "{nothing:?}"
        );
    }
    ensure!(operate(database, Action::Redrive, &ours, "olga", Mode::DryRun).await?.messages == 1);
    ensure!(parked::actions(database.read(), 10).await?.is_empty(), "a dry run does nothing");
    ensure!(place.parked().await? == parked, "a dry run changes nothing");

    // Too early: it fails again, and is parked with one more attempt.
    ensure!(operate(database, Action::Redrive, &ours, "olga", Mode::Apply).await?.messages == 1);
    eventually("another failure", PATIENCE, async || {
        let now = place.parked().await?;
        ensure!(now[0].attempts == parked[0].attempts + 1 && now[0].state == State::Parked, "{now:?}");
        Ok(())
    })
    .await?;
    repaired.store(true, Ordering::Relaxed);
    ensure!(operate(database, Action::Redrive, &Filter::default(), "olga", Mode::Apply).await?.messages == 1);
    place.has_effects(1_000).await?;
    place.has_parked(0).await?;
    place.each_once(0..1_000).await?;
    let actions = parked::actions(database.read(), 10).await?;
    ensure!(actions.len() == 2 && actions[1].filter.contains("617 fails"), "{actions:?}");
    ensure!(actions.iter().all(|action| action.operator == "olga" && action.affected == 1), "{actions:?}");
    running.stop().await
}

#[tokio::test]
async fn a_redriven_message_has_its_effect_embedded() -> Result<()> {
    a_redriven_message_has_its_effect(Place::embedded().await?).await
}

#[tokio::test]
async fn a_redriven_message_has_its_effect_on_postgres() -> Result<()> {
    a_redriven_message_has_its_effect(Place::postgres().await?).await
}

#[tokio::test]
async fn a_discarded_message_is_gone_and_noted() -> Result<()> {
    let place = Place::embedded().await?;
    let refusing = Effects::unless(|number| if number < 3 { Answer::Refuse } else { Answer::Apply });
    let running = Running::default().consumer(&place, refusing).relay(&place);
    place.write(0..10).await?;
    let parked = place.has_parked(3).await?;
    let one = Filter { seqs: vec![parked[1].seq], ..Filter::default() };
    ensure!(parked::list(place.database.read(), &one, 0, 10).await? == parked[1..2]);
    ensure!(operate(&place.database, Action::Discard, &one, "olga", Mode::Apply).await?.messages == 1);
    ensure!(place.parked().await? == [parked[0].clone(), parked[2].clone()]);
    ensure!(parked::count(place.database.read(), State::Parked).await? == 2);
    running.stop().await
}

/// The version after this one, which knows one kind more.
fn upgraded() -> Subscription {
    let mut subscription = reader();
    subscription.kinds.push("tests.v2.Fact".to_owned());
    subscription
}

#[tokio::test]
async fn an_unknown_kind_is_held_until_an_upgrade() -> Result<()> {
    let mut place = Place::embedded().await?;
    // The upgraded version has been here, bound its queue to the new kind, and was rolled back.
    place.broker = Arc::new(MemoryBroker::new(Topology { consumers: vec![upgraded()], ..topology() }));
    let old = Running::all(&place);
    let new_kind = |number| Envelope { kind: "tests.v2.Fact".to_owned(), ..fact(number) };
    let held = new_kind(11);
    place.write(0..10).await?;
    place.write_messages(vec![new_kind(10), held.clone()]).await?;
    place.write(12..20).await?;
    place.has_effects(18).await?;
    place.is_drained().await?;
    let waiting = place.has_parked(2).await?;
    ensure!(waiting.iter().all(|row| row.state == State::Held && row.kind == "tests.v2.Fact"), "{waiting:?}");
    ensure!(
        operate(&place.database, Action::Redrive, &Filter::default(), "olga", Mode::DryRun).await?.messages
            == 0
    );
    old.stop().await?;

    let new = Running::default().consumer_of(upgraded(), &place, Effects::always()).relay(&place);
    place.has_effects(20).await?;
    place.has_parked(0).await?;
    place.each_once(0..20).await?;
    new.stop().await
}

async fn an_error_is_found_literally(place: Place) -> Result<()> {
    let refusing = Effects::unless(|number| if number < 2 { Answer::Refuse } else { Answer::Apply });
    let running = Running::default().consumer(&place, refusing).relay(&place);
    place.write(0..3).await?;
    place.has_parked(2).await?;
    let texts = ["100 % of a_b!", "100 C of aXb!"];
    for (number, text) in texts.iter().enumerate() {
        let sql = format!("UPDATE parked SET error = '{text}' WHERE error LIKE 'fact {number} %'");
        place.database.execute_unflushed(sql).await?;
    }
    for (text, found) in
        [("0 % o", 1), ("a_b", 1), ("aXb!", 1), ("b!", 2), ("%", 1), ("_", 1), ("\\", 0), ("!", 2), ("of", 2)]
    {
        let filter = Filter { error: Some(text.to_owned()), ..Filter::default() };
        let acted = operate(&place.database, Action::Redrive, &filter, "olga", Mode::DryRun).await?;
        let listed = parked::list(place.database.read(), &filter, 0, 10).await?;
        ensure!(
            acted.messages == found && listed.len() as u64 == found,
            "{text:?} is found {acted:?} times: {listed:?}"
        );
    }
    running.stop().await
}

#[tokio::test]
async fn an_error_is_found_literally_embedded() -> Result<()> {
    an_error_is_found_literally(Place::embedded().await?).await
}

#[tokio::test]
async fn an_error_is_found_literally_on_postgres() -> Result<()> {
    an_error_is_found_literally(Place::postgres().await?).await
}
