//! Messages that cannot be handled: each stands alone in the end, and nobody else notices.

use anyhow::{Context as _, Result, ensure};
use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use messaging::{parked, topology::Topology};
use prost::Name as _;

use crate::{
    fact::{Answer, Effects, Fact},
    place::{Place, topology},
    running::Running,
};

const POISON: i64 = 617;

/// Runs a thousand facts of which one is handled badly, and returns what was parked.
async fn a_thousand_with_one(place: &Place, answer: Answer) -> Result<parked::Model> {
    let effects = Effects::unless(move |number| if number == POISON { answer } else { Answer::Apply });
    // Written before anyone consumes, so that the poison meets a full batch.
    place.write(0..1_000).await?;
    let running = Running::default().consumer(place, effects).relay(place);
    place.has_effects(999).await?;
    let mut parked = place.has_parked(1).await?;
    place.is_drained().await?;
    place.each_once((0..1_000).filter(|number| *number != POISON)).await?;
    place.in_order().await?;
    running.stop().await?;
    parked.pop().context("one is parked")
}

fn whole_story(parked: &parked::Model, error: &str) {
    assert!(parked.error.contains(error), "{}", parked.error);
    assert_eq!((parked.consumer.as_str(), parked.kind.as_str()), ("reader", "tests.v1.Fact"));
    assert_eq!(parked.partition_key, "key-7");
    assert!(
        parked.message_id.is_some() && parked.create_time.is_some() && parked.attempts >= 1,
        "{parked:?}"
    );
}

#[tokio::test]
async fn a_failing_message_among_a_thousand_is_parked_alone() -> Result<()> {
    let parked = a_thousand_with_one(&Place::embedded().await?, Answer::Fail).await?;
    whole_story(&parked, "fact 617 fails");
    assert!(parked.attempts > 1, "its batch was split until it stood alone: {}", parked.attempts);
    Ok(())
}

#[tokio::test]
async fn a_failing_message_among_a_thousand_is_parked_alone_on_servers() -> Result<()> {
    let parked = a_thousand_with_one(&Place::real().await?, Answer::Fail).await?;
    whole_story(&parked, "fact 617 fails");
    Ok(())
}

#[tokio::test]
async fn a_panic_parks_only_its_message() -> Result<()> {
    let parked = a_thousand_with_one(&Place::embedded().await?, Answer::Panic).await?;
    whole_story(&parked, "panicked");
    Ok(())
}

#[tokio::test]
async fn a_refused_message_is_parked_without_a_second_attempt() -> Result<()> {
    let parked = a_thousand_with_one(&Place::embedded().await?, Answer::Refuse).await?;
    whole_story(&parked, "fact 617 is refused");
    assert_eq!(parked.attempts, 1);
    Ok(())
}

#[tokio::test]
async fn what_is_no_message_is_parked_as_it_came() -> Result<()> {
    let place = Place::real().await?;
    let running = Running::all(&place);
    place.write(0..10).await?;
    place.has_effects(10).await?;

    let url = place.rabbitmq.as_ref().context("a place with RabbitMQ")?.amqp_url();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let Topology { exchange, .. } = topology();
    let published = channel.basic_publish(
        exchange.as_str().into(),
        topology().routing_key(&Fact::full_name(), "key-0").as_str().into(),
        BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() },
        b"\0 is no fact",
        BasicProperties::default().with_app_id("a\0stranger".into()),
    );
    ensure!(published.await?.await? == Confirmation::Ack(None));
    place.write(10..20).await?;
    place.has_effects(20).await?;
    let [parked] = place.has_parked(1).await?.try_into().ok().context("one is parked")?;
    assert_eq!(parked.payload, b"\0 is no fact");
    assert!(parked.error.contains("content type") && parked.message_id.is_none(), "{parked:?}");
    assert!(
        parked.headers.is_some_and(|headers| headers.contains("stranger")),
        "its headers say who sent it"
    );
    running.stop().await
}
