//! What strangers publish is kept whatever is in it, holds up nobody, and is counted once it is kept.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result, bail, ensure};
use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use messaging::{
    broker::Outcome,
    envelope::Envelope,
    parked::{self, Action, Filter, Mode, Model, State, operate},
    topology::Topology,
    whereabouts::{self, About},
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use prost::Name as _;
use uuid::Uuid;
use world::{PATIENCE, eventually};

use crate::{
    fact::{Answer, Effects, Fact, fact},
    place::{Place, topology},
    running::Running,
};

/// From this number on a fact is refused until the handler is repaired.
const REFUSED: i64 = 100;

fn repairable() -> (Effects, Arc<AtomicBool>) {
    let repaired = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&repaired);
    let refused = move |number| number >= REFUSED && !seen.load(Ordering::Relaxed);
    (Effects::unless(move |number| if refused(number) { Answer::Refuse } else { Answer::Apply }), repaired)
}

/// One strange attribute in each.
fn strange() -> Vec<Envelope> {
    let long = "long ".repeat(20_000);
    vec![
        Envelope { key: "a\0key".into(), ..fact(REFUSED) },
        Envelope { key: long.clone(), ..fact(REFUSED + 1) },
        Envelope { source: "/a\0source".into(), ..fact(REFUSED + 2) },
        Envelope { source: long.clone(), ..fact(REFUSED + 3) },
        fact(REFUSED + 4).with_trace(Some("00-\0".into()), Some("vendor=one")),
        fact(REFUSED + 5).with_trace(Some(long), Some("vendor=one")),
    ]
}

/// The value of a counter of the reader.
fn counted(recorder: &PrometheusHandle, name: &str) -> Result<u64> {
    Ok(number(recorder, name)? as u64)
}

async fn publish(place: &Place, messages: &[Envelope]) -> Result<()> {
    let outcomes = place.broker.publisher().await?.publish(messages).await;
    ensure!(outcomes.iter().all(|outcome| *outcome == Outcome::Confirmed), "{outcomes:?}");
    Ok(())
}

async fn counts(recorder: &PrometheusHandle, expected: u64) -> Result<()> {
    eventually("as many counted as are parked", PATIENCE, async || {
        let counted = counted(recorder, "messaging_parked_total")?;
        ensure!(counted == expected, "{counted} are counted");
        Ok(())
    })
    .await
}

/// Of the years 1 and 9999, and of a writer whose clock is an hour ahead.
#[tokio::test]
async fn times_that_nobody_believes_spoil_no_histogram() -> Result<()> {
    let recorder = &PrometheusBuilder::new().install_recorder()?;
    let place = Place::embedded().await?;
    let running = Running::default().consumer(&place, Effects::always());
    let now = fact(0).create_time;
    let times = [-62_135_596_800_000_000, 253_370_764_800_000_000, now + 3_600_000_000, now];
    let messages = (0..).zip(times).map(|(number, create_time)| Envelope { create_time, ..fact(number) });
    publish(&place, &messages.collect::<Vec<_>>()).await?;
    place.has_effects(times.len()).await?;
    eventually("every message to be counted", PATIENCE, async || {
        let implausible = number(recorder, "messaging_implausible_times_total")?;
        let observed = number(recorder, "messaging_commit_to_effect_seconds_count")?;
        ensure!((implausible, observed) == (2.0, 2.0), "{implausible} and {observed}");
        Ok(())
    })
    .await?;
    let sum = number(recorder, "messaging_commit_to_effect_seconds_sum")?;
    ensure!((0.0..60.0).contains(&sum), "they took {sum} s");
    running.stop().await
}

/// The value of a metric of the reader.
fn number(recorder: &PrometheusHandle, name: &str) -> Result<f64> {
    let (text, start) = (recorder.render(), format!("{name}{{"));
    let line = text.lines().find(|line| line.starts_with(&start)).with_context(|| text.clone())?;
    Ok(line.rsplit(' ').next().context("a value")?.parse()?)
}

fn as_published(parked: &[Model], sent: &[Envelope]) -> Result<()> {
    let back: Option<Vec<Envelope>> = parked.iter().map(Model::envelope).collect();
    ensure!(back.as_deref() == Some(sent), "what comes back is not what was published: {parked:?}");
    Ok(())
}

async fn attributes_are_kept(place: &Place) -> Result<()> {
    let recorder = &PrometheusBuilder::new().install_recorder()?;
    let (effects, repaired) = repairable();
    let running = Running::default().relay(place).consumer(place, effects);
    place.write(0..1).await?;
    place.has_effects(1).await?;
    let sent = strange();
    publish(place, &sent).await?;
    place.write(1..10).await?;
    place.has_effects(10).await?;
    let parked = place.has_parked(6).await?;
    as_published(&parked, &sent)?;
    for row in &parked {
        let texts = [&row.partition_key, &row.source, row.traceparent.as_ref().unwrap_or(&row.source)];
        ensure!(texts.iter().all(|text| text.len() <= 1_024 && !text.contains('\0')), "{row:?}");
    }
    ensure!(parked[0].partition_key == "a\\u0000key", "{:?}", parked[0].partition_key);
    counts(recorder, 6).await?;

    repaired.store(true, Ordering::Relaxed);
    ensure!(
        operate(&place.database, Action::Redrive, &Filter::default(), "olga", Mode::Apply).await?.messages
            == 6
    );
    place.has_effects(16).await?;
    place.has_parked(0).await?;
    running.stop().await
}

#[tokio::test]
async fn attributes_are_kept_embedded() -> Result<()> {
    attributes_are_kept(&Place::embedded().await?).await
}

#[tokio::test]
async fn attributes_are_kept_on_servers() -> Result<()> {
    attributes_are_kept(&Place::real().await?).await
}

/// Publishes as somebody does who has no envelopes, with these headers.
async fn publish_raw(place: &Place, headers: &[(&str, &str)], payload: &[u8]) -> Result<()> {
    let url = place.rabbitmq.as_ref().context("a place with RabbitMQ")?.amqp_url();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    let Topology { exchange, .. } = topology();
    let published = channel.basic_publish(
        exchange.as_str().into(),
        topology().routing_key(&Fact::full_name(), "key-0").as_str().into(),
        BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() },
        payload,
        BasicProperties::default().with_content_type("application/protobuf".into()).with_headers(table),
    );
    ensure!(published.await?.await? == Confirmation::Ack(None));
    Ok(())
}

/// One has a kind and a key, and no version; the other one has nothing.
#[tokio::test]
async fn what_cannot_be_decoded_is_found_by_what_can_be_read() -> Result<()> {
    let (place, fact) = (Place::real().await?, Fact::full_name());
    let running = Running::all(&place);
    let headers = [
        ("cloudEvents:type", fact.as_str()),
        ("cloudEvents:partitionkey", "key-7"),
        ("cloudEvents:source", "/a/stranger"),
    ];
    publish_raw(&place, &headers, b"about order-7").await?;
    publish_raw(&place, &[], b"about order-8").await?;
    place.has_parked(2).await?;
    let list = async |filter: &Filter| parked::list(place.database.read(), filter, 0, 10).await;
    let [known] = &list(&Filter { kind: Some(fact.clone()), ..Filter::default() }).await?[..] else {
        bail!("it is not found by its kind")
    };
    ensure!(known.partition_key == "key-7" && known.source == "/a/stranger", "{known:?}");
    let placeholder = Some(parked::UNREADABLE.to_owned());
    let unreadable = Filter { kind: placeholder.clone(), key: placeholder, ..Filter::default() };
    let [unknown] = &list(&unreadable).await?[..] else { bail!("it is not found by the placeholder") };
    ensure!(unknown.payload == b"about order-8", "{unknown:?}");
    let groups = parked::groups(&place.database, &Filter::default(), 10).await?;
    let kinds: BTreeSet<&str> = groups.iter().map(|group| group.kind.as_str()).collect();
    ensure!(kinds == BTreeSet::from([fact.as_str(), parked::UNREADABLE]), "{groups:?}");
    // Whoever asks where the messages of a thing are has its key.
    let about = About { key: "key-1", text: "order-8" };
    let found = whereabouts::parked(place.database.read(), "reader", about).await?;
    ensure!(found.len() == 1, "{found:?}");

    ensure!(operate(&place.database, Action::Discard, &unreadable, "olga", Mode::Apply).await?.messages == 1);
    place.has_parked(1).await?;
    // As an older version has left it.
    place.database.execute_unflushed("UPDATE parked SET kind = '', partition_key = ''".into()).await?;
    ensure!(list(&unreadable).await?.len() == 1, "what an older version has parked is not found");
    running.stop().await
}

#[tokio::test]
async fn a_kind_that_is_no_name_is_parked_and_waits_for_no_version() -> Result<()> {
    let place = Place::real().await?;
    let running = Running::all(&place);
    let headers = [
        ("cloudEvents:specversion", "1.0"),
        ("cloudEvents:id", &Uuid::from_u128(7).to_string()),
        ("cloudEvents:source", "/a/stranger"),
        ("cloudEvents:type", "tests.v1\0Fact"),
        // Further away from now than 64 bits of microseconds reach.
        ("cloudEvents:time", "-290280-01-01T00:00:00Z"),
        ("cloudEvents:partitionkey", "key-0"),
    ];
    publish_raw(&place, &headers, b"a payload").await?;
    place.write(0..10).await?;
    place.has_effects(10).await?;
    let [parked] = place.has_parked(1).await?.try_into().ok().context("one is parked")?;
    ensure!(parked.state == State::Parked && parked.payload == b"a payload", "{parked:?}");
    ensure!(parked.kind == "tests.v1\\u0000Fact" && parked.error.contains("name"), "{parked:?}");
    ensure!(parked.envelope().is_some_and(|message| message.kind == "tests.v1\0Fact"), "{parked:?}");

    ensure!(
        operate(&place.database, Action::Redrive, &Filter::default(), "olga", Mode::Apply).await?.messages
            == 1
    );
    eventually("parked again", PATIENCE, async || {
        let [row] = <[Model; 1]>::try_from(place.parked().await?).ok().context("one is parked")?;
        ensure!(row.state == State::Parked && row.attempts == parked.attempts + 1, "{row:?}");
        ensure!(row.error.contains("does not know"), "{row:?}");
        Ok(())
    })
    .await?;
    running.stop().await
}

/// The database cannot store what the others can: the last form that is tried is ASCII.
#[tokio::test]
async fn a_database_in_another_encoding_parks_too() -> Result<()> {
    let recorder = &PrometheusBuilder::new().install_recorder()?;
    let place = Place::postgres_in_latin1().await?;
    let running = Running::default().relay(&place).consumer(&place, repairable().0);
    let sent = [Envelope { key: "Алиса".into(), ..fact(REFUSED) }];
    place.write(0..1).await?;
    place.has_effects(1).await?;
    publish(&place, &sent).await?;
    place.write(1..10).await?;
    place.has_effects(10).await?;
    let parked = place.has_parked(1).await?;
    as_published(&parked, &sent)?;
    ensure!(parked[0].partition_key.is_ascii(), "{parked:?}");
    counts(recorder, 1).await?;
    running.stop().await
}
