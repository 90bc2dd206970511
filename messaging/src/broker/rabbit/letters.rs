//! The shared dead-letter queue: each letter is moved into the queue of the consumer that it was meant for, where that parks it.

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::{
    Channel, Confirmation, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions},
    types::FieldTable,
};

use super::{
    connection::Link,
    dead_letter::{self, Death},
    declare,
    declaring::Declaring,
    names::short,
    refusal::refused_or_lost,
};
use crate::{
    broker::{BrokerError, DeadLetter},
    observe,
    topology::Topology,
};

/// Letters of a queue that are received and not moved at most; so many, or fewer, are moved in one look, and the next one comes soon.
const RECEIVED: u16 = 500;
/// Letters of one look that may fail before it leaves the others to the next one: each costs a channel.
const FAILURES: usize = 20;

/// Letters that were received. What cannot be moved stays received for as long as the connection lasts: nobody else gets it, no policy
/// removes it, and the broker, which gives up what comes back too often, does not count it as come back.
pub(super) struct Letters {
    /// Nothing else is done on it that the broker could close it for.
    channel: Channel,
    queues: Vec<(String, Consumer)>,
    /// Those that could not be moved, by the number of their queue.
    stuck: Vec<(usize, Delivery)>,
}

/// What a look has come to.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) moved: Vec<DeadLetter>,
    /// Why one of those that are stuck cannot be moved.
    pub(super) refused: Option<String>,
    /// The letters that were moved into each queue.
    pub(super) arrived: Vec<String>,
}

impl Letters {
    /// Begins to receive from these queues, as far as they are there.
    pub(super) async fn receive(link: &Link, queues: &[String]) -> Result<Self, BrokerError> {
        let channel = link.channel().await?;
        channel.basic_qos(RECEIVED, BasicQosOptions::default()).await.map_err(refused_or_lost)?;
        let mut received = Self { channel, queues: Vec::new(), stuck: Vec::new() };
        for queue in queues {
            let options = BasicConsumeOptions::default();
            let letters =
                received.channel.basic_consume(short(queue)?, "".into(), options, FieldTable::default());
            received.queues.push((queue.clone(), letters.await.map_err(refused_or_lost)?));
        }
        Ok(received)
    }

    /// How many of each queue are received and cannot be moved.
    pub(super) fn stuck(&self) -> impl Iterator<Item = (&str, u64)> {
        let count = |at| self.stuck.iter().filter(|(queue, _)| *queue == at).count() as u64;
        self.queues.iter().enumerate().map(move |(at, (queue, _))| (queue.as_str(), count(at)))
    }

    /// What has come, and with `again` what was stuck before. `None` once a queue is gone, or the channel.
    fn take(&mut self, again: bool) -> Option<Vec<(usize, Delivery)>> {
        let mut taken = if again { std::mem::take(&mut self.stuck) } else { Vec::new() };
        for (at, (_, letters)) in self.queues.iter_mut().enumerate() {
            while let Some(letter) = letters.next().now_or_never() {
                taken.push((at, letter?.ok()?));
            }
        }
        Some(taken)
    }

    /// Moves what has come, publishing on the channel that `on` has. A letter that cannot be moved keeps none of the others. `false` when it is
    /// of no further use.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(super) async fn sort(
        &mut self,
        on: &mut Declaring,
        topology: &Topology,
        again: bool,
        sorted: &mut Sorted,
    ) -> Result<bool, BrokerError> {
        let Some(taken) = self.take(again) else { return Ok(false) };
        let (mut failures, mut taken) = (0, taken.into_iter());
        while failures < FAILURES
            && let Some((queue, letter)) = taken.next()
        {
            match forward(on, topology, &letter).await {
                Ok(Some(moved)) => {
                    // A crash before leaves it in both queues: it is parked once.
                    if letter.acker.ack(BasicAckOptions::default()).await.is_err() {
                        return Ok(false);
                    }
                    sorted.arrived.push(topology.dead_letter_queue_of(&moved.consumer));
                    if dead_letter::recorded_story(&letter.properties).is_none() {
                        sorted.moved.push(moved);
                    }
                }
                Ok(None) => self.stuck.push((queue, letter)),
                Err(error) => {
                    failures += 1;
                    sorted.refused.get_or_insert_with(|| {
                        format!("a dead letter cannot be moved to its consumer: {}", observe::chain(&error))
                    });
                    self.stuck.push((queue, letter));
                    on.reopen().await?;
                }
            }
        }
        // They come before those that have failed.
        self.stuck.splice(..0, taken);
        Ok(self.channel.status().connected())
    }
}

async fn forward(
    on: &mut Declaring,
    topology: &Topology,
    letter: &Delivery,
) -> Result<Option<DeadLetter>, BrokerError> {
    let death = Death::of(&letter.properties);
    let meant_for = death.as_ref().and_then(|death| topology.consumer_of(&death.queue));
    // What a stranger has put there goes to the first: somebody has to show it.
    let any = || topology.consumers.first().map(|any| any.consumer.as_str());
    let Some(consumer) = meant_for.or_else(any) else { return Ok(None) };
    if !topology.consumers.iter().any(|known| known.consumer == consumer) {
        declare::dead_letters_of(on, topology, consumer).await?;
    }
    let story = dead_letter::story(&letter.properties, death.as_ref());
    let queue = topology.dead_letter_queue_of(consumer);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = dead_letter::with_story(&letter.properties, &story);
    let exchange = short(&topology.dead_letter_sorting())?;
    let sent = on.channel().basic_publish(exchange, short(&queue)?, options, &letter.data, properties);
    match sent.await.map_err(refused_or_lost)?.await.map_err(refused_or_lost)? {
        Confirmation::Ack(None) => {
            let policy = death.as_ref().and_then(Death::policy);
            Ok(Some(DeadLetter { consumer: consumer.to_owned(), story, policy }))
        }
        other => Err(BrokerError::Connection(format!("{queue} did not take it: {other:?}").into())),
    }
}
