//! What a process has just written leaves without a look at the outbox, and never before what it has to wait for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use messaging::{
    broker::{Broker, BrokerError, Inflow, Outcome, Publisher},
    envelope::Envelope,
    topology::Subscription,
};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use uuid::Uuid;
use world::{PATIENCE, eventually};

use crate::{
    fact::{Effects, KEYS, fact},
    place::Place,
    running::Running,
};

impl Place {
    /// Writes a fact as a single statement, and returns what that has read.
    async fn write_alone(&self, message: &Envelope) -> Result<Option<String>> {
        let backend = self.database.backend();
        let writes = self.outbox.writes(backend, std::slice::from_ref(message))?;
        Ok(self.database.write_all(writes, self.outbox.waiting(backend)).await?)
    }

    /// The same, handed over to the relay.
    async fn write_and_hand_over(&self, number: i64) -> Result<()> {
        let message = fact(number);
        let read = self.write_alone(&message).await?;
        self.outbox.written(vec![message], read.as_deref());
        Ok(())
    }

    /// Writes a fact as a process that dies before it says so.
    async fn write_unsaid(&self, number: i64) -> Result<()> {
        self.write_alone(&fact(number)).await.map(drop)
    }

    /// Waits for all effects, and checks that those of each key came to be in their order.
    pub(crate) async fn has_in_order(&self, count: i64) -> Result<()> {
        self.has_effects(usize::try_from(count)?).await?;
        let mut last = HashMap::new();
        for number in self.effects().await? {
            let before = last.insert(number % KEYS, number);
            ensure!(before.is_none_or(|before| before < number), "{number} behind {before:?}");
        }
        Ok(())
    }
}

/// A broker that notes what is published, and refuses messages of a key so often.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    inner: Arc<dyn Broker>,
    times: Arc<Mutex<HashMap<Uuid, usize>>>,
    refusals: usize,
}

impl Noted {
    pub(crate) fn new(place: &Place, refusals: usize) -> Self {
        Self { inner: Arc::clone(&place.broker), times: Arc::default(), refusals }
    }

    fn times(&self) -> HashMap<Uuid, usize> {
        self.times.lock().expect("no test panics while it holds this").clone()
    }
}

struct NotedPublisher(Box<dyn Publisher>, Noted);

#[async_trait]
impl Broker for Noted {
    async fn publisher(&self) -> Result<Box<dyn Publisher>, BrokerError> {
        Ok(Box::new(NotedPublisher(self.inner.publisher().await?, self.clone())))
    }

    async fn subscribe(
        &self,
        to: &Subscription,
        partition: u16,
        prefetch: u16,
    ) -> Result<Box<dyn Inflow>, BrokerError> {
        self.inner.subscribe(to, partition, prefetch).await
    }
}

#[async_trait]
impl Publisher for NotedPublisher {
    async fn publish(&mut self, window: &[Envelope]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for message in window {
            let times = {
                let mut times = self.1.times.lock().expect("no test panics while it holds this");
                let times = times.entry(message.id).or_default();
                *times += 1;
                *times
            };
            outcomes.push(if times <= self.1.refusals && message.key == "key-3" {
                Outcome::Refused("not yet".to_owned())
            } else {
                let mut outcomes = self.0.publish(std::slice::from_ref(message)).await;
                outcomes.pop().unwrap_or(Outcome::Unroutable)
            });
        }
        outcomes
    }
}

#[tokio::test]
async fn it_leaves_while_nobody_can_look_at_the_table() -> Result<()> {
    let place = Place::postgres().await?;
    let running = Running::all(&place);
    place.write(0..1).await?;
    place.has_effects(1).await?;
    place.is_drained().await?;
    eventually("a relay that takes what is handed over", PATIENCE, async || {
        ensure!(place.outbox.waiting(place.database.backend()).is_some(), "its looks take long");
        Ok(())
    })
    .await?;
    let message = fact(1);
    let read = place.write_alone(&message).await?;
    ensure!(read.as_deref() == Some(""), "{read:?}");
    let server = sea_orm::Database::connect(place.connection_url()).await?;
    let locked = server.begin().await?;
    locked.execute_unprepared("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE").await?;
    place.outbox.written(vec![message], read.as_deref());
    place.has_effects(2).await?;
    locked.rollback().await?;
    place.is_drained().await?;
    running.stop().await
}

#[tokio::test]
async fn it_waits_for_what_nobody_has_handed_over() -> Result<()> {
    let place = Place::postgres().await?;
    let running = Running::all(&place);
    place.write(0..1).await?;
    place.has_effects(1).await?;
    for number in 1..200 {
        if number % (3 * KEYS) < KEYS {
            place.write_unsaid(number).await?;
        } else {
            place.write_and_hand_over(number).await?;
        }
    }
    place.has_in_order(200).await?;
    running.stop().await
}

/// Each message is written by another process than the one before it.
#[tokio::test]
async fn the_order_of_a_key_is_kept_between_processes() -> Result<()> {
    let place = Place::postgres().await?;
    let neighbour = place.neighbour().await?;
    let running = [Running::all(&place), Running::default().relay(&neighbour)];
    let numbers = || (0..200).map(|number| number * KEYS);
    for number in numbers() {
        let writer = if number / KEYS % 2 == 0 { &place } else { &neighbour };
        writer.write_and_hand_over(number).await?;
    }
    place.has_in_order(200).await?;
    place.each_once(numbers()).await?;
    for running in running {
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn it_waits_for_what_the_broker_has_refused() -> Result<()> {
    let place = Place::postgres().await?;
    let noted = Noted::new(&place, 2);
    let running = Running::default().relay_to(&place, Arc::new(noted)).consumer(&place, Effects::always());
    for number in 0..60 {
        place.write_and_hand_over(number).await?;
    }
    place.has_in_order(60).await?;
    place.is_drained().await?;
    running.stop().await
}

/// The relay has found it by itself before it is handed over, and the broker does not take it.
#[tokio::test]
async fn it_is_not_tried_again_before_its_time() -> Result<()> {
    let place = Place::postgres().await?;
    let noted = Noted::new(&place, 2);
    let running =
        Running::default().relay_to(&place, Arc::new(noted.clone())).consumer(&place, Effects::always());
    place.write(0..1).await?;
    place.has_effects(1).await?;
    let (late, next) = (fact(3), fact(3 + KEYS));
    let read = place.write_alone(&late).await?;
    place.outbox.wake();
    eventually("a refusal", PATIENCE, async || {
        ensure!(noted.times().contains_key(&late.id), "not yet");
        Ok(())
    })
    .await?;
    let read_next = place.write_alone(&next).await?;
    place.outbox.written(vec![late], read.as_deref());
    place.outbox.written(vec![next], read_next.as_deref());
    place.has_in_order(3).await?;
    running.stop().await
}

/// However the looks and what is handed over meet.
#[tokio::test]
async fn nothing_is_published_twice_without_a_fault() -> Result<()> {
    let place = Place::postgres().await?;
    let noted = Noted::new(&place, 0);
    let running =
        Running::default().relay_to(&place, Arc::new(noted.clone())).consumer(&place, Effects::always());
    for number in 0..300 {
        match number % 7 {
            0 => place.write(number..number + 1).await?,
            1 => place.has_effects(usize::try_from(number)?).await?,
            _ => {}
        }
        if number % 7 != 0 {
            place.write_and_hand_over(number).await?;
        }
    }
    place.has_in_order(300).await?;
    place.is_drained().await?;
    let often: Vec<_> = noted.times().into_iter().filter(|(_, times)| *times > 1).collect();
    ensure!(often.is_empty() && noted.times().len() == 300, "{often:?}");
    running.stop().await
}
