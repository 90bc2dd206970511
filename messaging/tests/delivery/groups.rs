//! Parked messages by their causes: counted for many, found by them, edited and discarded with a reason.

use std::sync::Arc;

use anyhow::{Result, ensure};
use messaging::{
    consumer::{Consumer, Deduplication},
    envelope::Envelope,
    parked::{self, Action, Edited, Filter, Group, Mode, Operator, State, operate},
};
use prost::Message as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    fact::{Answer, Effects, Fact, fact, reader},
    place::{Place, topology},
    running::Running,
};

/// So many as an older version has parked, without causes.
const MANY: i64 = 20_000;

/// Three causes of one consumer and kind, the first of another consumer, too; each error names another number.
fn parked_by_an_older_version(embedded: bool) -> String {
    let numbers = if embedded {
        format!(
            "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) SELECT i FROM n)"
        )
    } else {
        format!("(SELECT generate_series(1, {MANY}) AS i)")
    };
    format!(
        "INSERT INTO parked (consumer, state, kind, source, partition_key, payload, error, attempts, park_time)
         SELECT CASE WHEN i % 10 = 9 THEN 'writer' ELSE 'reader' END, CASE WHEN i % 1000 = 0 THEN 1 ELSE 0 END,
             'tests.v1.Fact', '/tests', 'key-' || (i % 7), {}, CASE i % 10
                 WHEN 0 THEN 'fact ' || i || ' is refused: \"' || i || '\"'
                 WHEN 1 THEN 'fact ' || i || ' fails'
                 WHEN 9 THEN 'fact ' || i || ' fails'
                 ELSE 'no order o-' || i || ' of user u' || i END, 1, i
         FROM {numbers} AS numbers",
        if embedded { "X'00'" } else { "'\\x00'::bytea" },
    )
}

async fn are_counted_and_found(place: Place) -> Result<()> {
    let database = &place.database;
    let sql = parked_by_an_older_version(database.is_embedded());
    ensure!(database.execute_unflushed(sql).await? == MANY as u64);
    let groups = parked::groups(database, &Filter::default(), 10).await?;
    let seen: Vec<(&str, String, i64)> = groups
        .iter()
        .map(|group| (group.consumer.as_str(), parked::common(&group.error), group.messages))
        .collect();
    let expected = [
        ("reader", "no order # of user #".to_owned(), 7 * MANY / 10),
        ("reader", "fact # fails".to_owned(), MANY / 10),
        ("writer", "fact # fails".to_owned(), MANY / 10),
        ("reader", "fact # is refused: \"\"".to_owned(), MANY / 10 - MANY / 1_000),
    ];
    ensure!(seen == expected, "{seen:?}");
    let Group { first_time, last_time, cause, kind, .. } = &groups[1];
    ensure!((*first_time, *last_time) == (1, MANY - 9) && kind == "tests.v1.Fact", "{groups:?}");
    ensure!(parked::groups(database, &Filter::default(), 2).await? == groups[..2]);
    let held = Filter { state: Some(State::Held), ..Filter::default() };
    ensure!(parked::groups(database, &held, 10).await?[0].messages == MANY / 1_000);

    // The same cause, and conditions of every other sort beside it.
    let of_cause = Filter { cause: Some(cause.clone()), ..Filter::default() };
    for (filter, count) in [
        (of_cause.clone(), MANY / 10),
        (Filter { first: Some(3), ..of_cause.clone() }, 3),
        (Filter { parked_from: Some(11), parked_before: Some(41), ..of_cause.clone() }, 3),
        (Filter { key: Some("key-1".to_owned()), parked_before: Some(141), ..of_cause.clone() }, 2),
        (Filter { consumer: Some("writer".to_owned()), ..of_cause.clone() }, 0),
        (Filter { state: Some(State::Held), ..of_cause.clone() }, 0),
    ] {
        let meant = operate(database, Action::Discard, &filter, "olga", Mode::DryRun).await?;
        ensure!(meant.messages == count as u64, "{filter:?} means {meant:?}");
    }
    let listed = parked::list(database.read(), &of_cause, 0, 2).await?;
    ensure!(listed.iter().map(|row| row.park_time).collect::<Vec<_>>() == [1, 11], "{listed:?}");
    let because = Operator { reason: Some("of a test".to_owned()), ..Operator::from("olga") };
    let gone = operate(database, Action::Discard, &of_cause, because, Mode::Apply).await?;
    ensure!(
        gone.messages == MANY as u64 / 10
            && parked::groups(database, &Filter::default(), 10).await?.len() == 3
    );
    let note = parked::actions(database.read(), 1).await?.remove(0);
    ensure!((note.action.as_str(), note.reason.as_deref()) == ("Discard", Some("of a test")), "{note:?}");
    Ok(())
}

#[tokio::test]
async fn are_counted_and_found_embedded() -> Result<()> {
    are_counted_and_found(Place::embedded().await?).await
}

#[tokio::test]
async fn are_counted_and_found_on_postgres() -> Result<()> {
    are_counted_and_found(Place::postgres().await?).await
}

/// An edit of a message: 1 becomes 101.
fn corrected(row: &parked::Model) -> Result<Vec<u8>, String> {
    let fact = Fact::decode(row.payload.as_slice()).map_err(|error| error.to_string())?;
    Ok(Fact { number: fact.number + 100, ..fact }.encode_to_vec())
}

async fn edit(place: &Place, seq: i64, mode: Mode) -> Result<Edited<String>> {
    Ok(parked::edit(&place.database, seq, corrected, "number".to_owned(), "olga".into(), mode).await?)
}

async fn is_edited_and_what_repeats_it_is_not_parked(place: Place) -> Result<()> {
    let again = |id| Envelope { id: Uuid::from_u128(id), ..fact(1) };
    let consumer = Consumer::new(
        place.database.clone(),
        Arc::clone(&place.broker),
        topology().partitions,
        reader(),
        Deduplication::Requests,
        Effects::unless(|number| if number == 1 { Answer::Refuse } else { Answer::Apply }),
    );
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(consumer.run(stop.clone()));
    let relay = Running::default().relay(&place);
    place.write_messages(vec![again(1)]).await?;
    let parked = place.has_parked(1).await?.remove(0);
    ensure!(parked.cause.is_some(), "{parked:?}");

    let Edited::Changed(dry) = edit(&place, parked.seq, Mode::DryRun).await? else {
        anyhow::bail!("refused")
    };
    ensure!(place.parked().await? == [parked.clone()], "a dry run changes nothing");
    let Edited::Changed(row) = edit(&place, parked.seq, Mode::Apply).await? else { anyhow::bail!("refused") };
    ensure!(row == dry && row.original_payload.as_deref() == Some(parked.payload.as_slice()), "{row:?}");
    // Edited once more, the original is that of the beginning.
    ensure!(matches!(edit(&place, parked.seq, Mode::Apply).await?, Edited::Changed(_)));
    let row = place.parked().await?.remove(0);
    ensure!(row.original_payload.as_deref() == Some(parked.payload.as_slice()), "{row:?}");
    ensure!(edit(&place, parked.seq + 1, Mode::Apply).await? == Edited::Missing);

    // Its sender repeats what it has sent.
    place.write_messages(vec![again(2), fact(5)]).await?;
    place.has_effects(1).await?;
    place.has_parked(1).await?;

    operate(&place.database, Action::Redrive, &Filter::default(), "olga", Mode::Apply).await?;
    place.has_effects(2).await?;
    place.has_parked(0).await?;
    place.each_once([5, 201].into_iter()).await?;
    let actions: Vec<String> =
        parked::actions(place.database.read(), 10).await?.into_iter().map(|note| note.action).collect();
    ensure!(actions == ["Redrive", "Edit", "Edit"], "{actions:?}");
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    relay.stop().await
}

#[tokio::test]
async fn is_edited_and_what_repeats_it_is_not_parked_embedded() -> Result<()> {
    is_edited_and_what_repeats_it_is_not_parked(Place::embedded().await?).await
}

#[tokio::test]
async fn is_edited_and_what_repeats_it_is_not_parked_on_postgres() -> Result<()> {
    is_edited_and_what_repeats_it_is_not_parked(Place::postgres().await?).await
}

/// What was sent back is its consumer's: it is not edited.
#[tokio::test]
async fn what_was_sent_back_is_not_edited() -> Result<()> {
    let place = Place::embedded().await?;
    let sql = parked_by_an_older_version(true).replace(&format!("i < {MANY}"), "i < 1");
    place.database.execute_unflushed(sql).await?;
    place.database.execute_unflushed("UPDATE parked SET state = 2".to_owned()).await?;
    let seq = place.parked().await?[0].seq;
    ensure!(edit(&place, seq, Mode::Apply).await? == Edited::NotParked(State::Redriven));
    Ok(())
}
