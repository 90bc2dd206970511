//! Keeping the topology in place on RabbitMQ: what is missing is declared again, and dead letters find their consumer.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::{
    Channel, Confirmation, Consumer, ErrorKind, ExchangeKind,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ExchangeDeclareOptions,
        QueueDeclareOptions,
    },
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::FieldTable,
};
use tokio::time::timeout;

use super::{
    connection::Link,
    dead_letter::{self, Death},
    declare::{self, short},
    refusal::refused_or_lost,
};
use crate::{
    broker::{BrokerError, DeadLetter, Found, Upkeep},
    observe,
    topology::Topology,
};

/// How long a look may take: a queue without a leader answers nothing.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// Dead letters that one look moves at most: the next one comes soon.
const MOVED: u16 = 500;

/// Looks from one binding of everything to the next: who only unbinds, deletes nothing.
const BOUND_AGAIN: u32 = 10;

pub(super) struct RabbitUpkeep {
    // Dropped before the link, which waits for the close.
    channel: Channel,
    /// The shared dead-letter queue. What was delivered out of it no policy removes any more.
    letters: Option<Consumer>,
    link: Link,
    topology: Topology,
    looks: u32,
    /// What could not be declared the last time.
    refused: Option<String>,
}

/// What has to be on the broker.
enum Declared {
    Exchange(String),
    Queue(String),
    /// Where dead letters wait.
    DeadLetters(String),
}

impl RabbitUpkeep {
    pub(super) async fn open(link: Link, topology: Topology) -> Result<Self, BrokerError> {
        let channel = link.confirming_channel().await?;
        Ok(Self { channel, letters: None, link, topology, looks: 0, refused: None })
    }

    async fn look_once(&mut self) -> Result<Found, BrokerError> {
        let mut found = Found::default();
        for declared in declared(&self.topology) {
            match declared.messages(&self.channel).await? {
                Some(messages) => {
                    if let Declared::DeadLetters(queue) = declared {
                        found.dead_letters.insert(queue, messages);
                    }
                }
                None => {
                    found.restored.push(declared.to_string());
                    // The broker closes a channel on which something was missing.
                    self.channel = self.link.confirming_channel().await?;
                    self.letters = None;
                }
            }
        }
        // Bindings cannot be looked at. To bind again changes nothing, but there may be hundreds.
        if !found.restored.is_empty() || self.looks.is_multiple_of(BOUND_AGAIN) {
            self.declare().await?;
        }
        self.looks = self.looks.wrapping_add(1);
        self.sort(&mut found).await?;
        found.refused.clone_from(&self.refused);
        Ok(found)
    }

    /// Declares everything. A queue that a stranger has declared keeps nobody from the others.
    async fn declare(&mut self) -> Result<(), BrokerError> {
        declare::exchange(&self.channel, &self.topology).await?;
        declare::dead_letters(&self.channel, &self.topology).await?;
        self.refused = None;
        for subscription in &self.topology.consumers {
            let declared = declare::consumer(&self.channel, &self.topology, subscription).await;
            let Err(error) = declared else { continue };
            if matches!(error, BrokerError::Connection(_)) {
                return Err(error);
            }
            self.refused.get_or_insert(observe::chain(&error));
            self.channel = self.link.confirming_channel().await?;
            self.letters = None;
        }
        Ok(())
    }

    /// Moves what is in the shared dead-letter queue into the queues of the consumers that it was meant for. A crash between the two
    /// leaves it in both: it is parked once.
    async fn sort(&mut self, found: &mut Found) -> Result<(), BrokerError> {
        let mut letters = match self.letters.take() {
            Some(letters) => letters,
            None => self.receive().await?,
        };
        for _ in 0..MOVED {
            match letters.next().now_or_never() {
                Some(Some(letter)) => self.move_on(letter.map_err(refused_or_lost)?, found).await?,
                // The queue was deleted: the next look finds that.
                Some(None) => return Ok(()),
                None => break,
            }
        }
        self.letters = Some(letters);
        Ok(())
    }

    async fn receive(&self) -> Result<Consumer, BrokerError> {
        let queue = short(&self.topology.dead_letter_queue())?;
        self.channel.basic_qos(MOVED, BasicQosOptions::default()).await.map_err(refused_or_lost)?;
        let options = BasicConsumeOptions::default();
        let letters = self.channel.basic_consume(queue, "".into(), options, FieldTable::default());
        letters.await.map_err(refused_or_lost)
    }

    async fn move_on(&self, letter: Delivery, found: &mut Found) -> Result<(), BrokerError> {
        // One that nobody can be given stays delivered, and returns to the queue with the end of the connection.
        if let Some(moved) = self.forward(&letter).await? {
            letter.acker.ack(BasicAckOptions::default()).await.map_err(refused_or_lost)?;
            // Its queue was counted before.
            *found.dead_letters.entry(self.topology.dead_letter_queue_of(&moved.consumer)).or_default() += 1;
            if dead_letter::told(&letter.properties).is_none() {
                found.moved.push(moved);
            }
        }
        Ok(())
    }

    async fn forward(&self, letter: &Delivery) -> Result<Option<DeadLetter>, BrokerError> {
        let death = Death::of(&letter.properties);
        let meant_for = death.as_ref().and_then(|death| self.topology.consumer_of(&death.queue));
        // What a stranger has put there goes to the first: somebody has to show it.
        let any = || self.topology.consumers.first().map(|any| any.consumer.as_str());
        let Some(consumer) = meant_for.or_else(any) else { return Ok(None) };
        if !self.topology.consumers.iter().any(|known| known.consumer == consumer) {
            declare::dead_letters_of(&self.channel, &self.topology, consumer).await?;
        }
        let story = dead_letter::story(&letter.properties, death.as_ref());
        let queue = self.topology.dead_letter_queue_of(consumer);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = dead_letter::with_story(&letter.properties, &story);
        let exchange = short(&self.topology.dead_letter_sorting())?;
        let sent = self.channel.basic_publish(exchange, short(&queue)?, options, &letter.data, properties);
        match sent.await.map_err(refused_or_lost)?.await.map_err(refused_or_lost)? {
            Confirmation::Ack(None) => {
                let policy = death.as_ref().and_then(Death::policy);
                Ok(Some(DeadLetter { consumer: consumer.to_owned(), story, policy }))
            }
            other => {
                Err(BrokerError::Connection(format!("{queue} did not take a dead letter: {other:?}").into()))
            }
        }
    }
}

#[async_trait]
impl Upkeep for RabbitUpkeep {
    async fn look(&mut self) -> Result<Found, BrokerError> {
        let found = timeout(LOOK_TIMEOUT, self.look_once()).await;
        found.map_err(|elapsed| BrokerError::Connection(Box::new(elapsed)))?
    }
}

fn declared(topology: &Topology) -> Vec<Declared> {
    let mut declared = vec![
        Declared::Exchange(topology.exchange.clone()),
        Declared::Exchange(topology.dead_letter_exchange()),
        Declared::Exchange(topology.dead_letter_sorting()),
        Declared::DeadLetters(topology.dead_letter_queue()),
    ];
    for subscription in &topology.consumers {
        declared.push(Declared::DeadLetters(topology.dead_letter_queue_of(&subscription.consumer)));
        let queues = (0..topology.partitions).map(|at| topology.queue(&subscription.consumer, at));
        declared.extend(queues.map(Declared::Queue));
    }
    declared
}

impl Declared {
    /// How many messages are in it, 0 for an exchange; `None` when it is missing, and then the channel is closed.
    async fn messages(&self, channel: &Channel) -> Result<Option<u64>, BrokerError> {
        match self {
            Self::Exchange(name) => {
                let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
                // The kind is not looked at.
                let kind = ExchangeKind::Topic;
                let there =
                    channel.exchange_declare(short(name)?, kind, options, FieldTable::default()).await;
                unless_missing(there).map(|there| there.map(|()| 0))
            }
            Self::Queue(name) | Self::DeadLetters(name) => messages(channel, name).await,
        }
    }
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(name) => write!(f, "exchange {name}"),
            Self::Queue(name) | Self::DeadLetters(name) => write!(f, "queue {name}"),
        }
    }
}

/// How many messages wait in a queue; `None` when there is no such queue, and then the channel is closed.
pub(super) async fn messages(channel: &Channel, queue: &str) -> Result<Option<u64>, BrokerError> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let there = channel.queue_declare(short(queue)?, options, FieldTable::default()).await;
    unless_missing(there).map(|there| there.map(|queue| u64::from(queue.message_count())))
}

fn unless_missing<T>(answer: lapin::Result<T>) -> Result<Option<T>, BrokerError> {
    match answer {
        Ok(there) => Ok(Some(there)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(refused_or_lost(error)),
    }
}

fn is_missing(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(protocol)
        if matches!(protocol.kind(), AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)))
}
