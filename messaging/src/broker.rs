//! The broker: what the relay and the consumer need of one, and the two that there are.
//!
//! Both implementations pass the same contract suite (`tests/broker_contract.rs`).

pub mod memory;
pub mod rabbit;

use std::{collections::BTreeMap, fmt, future::pending};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{envelope::Envelope, topology::Subscription};

/// Where messages go to be delivered.
#[async_trait]
pub trait Broker: fmt::Debug + Send + Sync + 'static {
    /// A new publisher on a connection of its own.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    async fn publisher(&self) -> Result<Box<dyn Publisher>, BrokerError>;

    /// Declares the queue of one partition of a consumer with its bindings, and starts to receive from it, at most
    /// `prefetch` messages unanswered at a time. Of several subscribers of one queue, a single one is active.
    ///
    /// # Errors
    /// When the broker cannot be reached, or refuses the declaration.
    async fn subscribe(
        &self,
        subscription: &Subscription,
        partition: u16,
        prefetch: u16,
    ) -> Result<Box<dyn Inflow>, BrokerError>;

    /// The consumer of a queue takes nothing from it until what is returned is dropped. A broker that keeps messages by itself need not
    /// know: by default nothing happens. One that leaves them to their publisher has to give them back ([`Outcome::Postponed`]), so
    /// that others can pass them by.
    fn hold(&self, subscription: &Subscription, partition: u16) -> Held {
        let _keeps_them = (subscription, partition);
        Held::default()
    }

    /// Starts to receive what the broker has given up of a consumer's messages, each with its story; `None` from a broker that never gives
    /// up, the default.
    ///
    /// # Errors
    /// As [`Broker::subscribe`].
    async fn dead_letters(&self, consumer: &str) -> Result<Option<Box<dyn Inflow>>, BrokerError> {
        let _gives_nothing_up = consumer;
        Ok(None)
    }

    /// Who keeps the topology in place, on a connection of its own; `None` where nobody can delete it, the default.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    async fn upkeep(&self) -> Result<Option<Box<dyn Upkeep>>, BrokerError> {
        Ok(None)
    }
}

/// As long as it is there, a queue gives back what comes to it.
#[derive(Default)]
pub struct Held(pub(crate) Option<Box<dyn Send + Sync>>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.0.is_some()).finish()
    }
}

/// Keeps in place what messages need: what was deleted is declared again, and what the broker gave up is taken to its consumer.
#[async_trait]
pub trait Upkeep: Send {
    /// Looks once, within a bounded time.
    ///
    /// # Errors
    /// When the broker cannot be reached, or refuses a declaration. It is of no further use then.
    async fn look(&mut self) -> Result<Found, BrokerError>;
}

/// What a look at the topology has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// What was missing and is declared again, such as `queue mesh.payments.0`.
    pub restored: Vec<String>,
    /// What the broker gave up since the last look.
    pub moved: Vec<DeadLetter>,
    /// What the broker refuses to declare, in its own words, as long as it does.
    pub refused: Option<String>,
    /// Why not everything that the broker gave up could be moved to its consumer, as long as that is so.
    pub unmoved: Option<String>,
    /// How many messages each dead-letter queue holds.
    pub dead_letters: BTreeMap<String, u64>,
    /// What is in each queue of a partition.
    pub queues: BTreeMap<String, Depth>,
}

/// What the broker says of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Those that are ready: not what a consumer has and has not acknowledged.
    pub messages: u64,
    /// Who has subscribed to it, active or standing by.
    pub consumers: u32,
}

/// A message that the broker has given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Who should have had it.
    pub consumer: String,
    /// Why it was given up.
    pub story: String,
    /// The policy of the broker's operator that removed it, when one did.
    pub policy: Option<&'static str>,
}

/// Publishes. After an [`Outcome::Unknown`] it is of no further use: make another.
#[async_trait]
pub trait Publisher: Send {
    /// Publishes a window of messages in their order and awaits what became of each; one outcome per message, in the order
    /// of the window. It does not fail as a whole, and it ends within a bounded time.
    async fn publish(&mut self, window: &[Envelope]) -> Vec<Outcome>;

    /// Waits until a consumer takes something again that took nothing, or may have begun to before this publisher was there: what was
    /// [`Outcome::Postponed`] can be published now. For ever where nothing is, the default. Dropping the future loses nothing.
    async fn resumed(&mut self) {
        pending::<()>().await;
    }
}

/// What became of a published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The broker has taken it over for good.
    Confirmed,
    /// No queue is bound for it: the broker gave it back.
    Unroutable,
    /// The broker refused it, with its reason.
    Refused(String),
    /// Its consumer takes nothing at present: it is to be published later.
    Postponed,
    /// No answer came: it may or may not have arrived, and has to be published again.
    Unknown(String),
}

/// The messages of one queue.
#[async_trait]
pub trait Inflow: Send {
    /// Waits for at least one message, then takes what is there, at most `max`; none when nothing comes after [`Inflow::cancel`]. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the connection is lost: whatever was received and not acknowledged is delivered again.
    async fn receive(&mut self, max: usize) -> Result<Vec<Delivery>, BrokerError>;

    /// Lets the broker deliver nothing more. What it has delivered before is received as ever, and then [`Inflow::receive`] returns
    /// nothing.
    ///
    /// # Errors
    /// When the connection is lost.
    async fn cancel(&mut self) -> Result<(), BrokerError>;

    /// Acknowledges every message received up to `tag`, including it.
    ///
    /// # Errors
    /// When the connection is lost.
    async fn ack_through(&mut self, tag: u64) -> Result<(), BrokerError>;

    /// Acknowledges these messages and no others, each of them once. None of them may be the last one of [`Inflow::ack_through`].
    ///
    /// # Errors
    /// When the connection is lost.
    async fn ack(&mut self, tags: &[u64]) -> Result<(), BrokerError>;
}

/// A message received.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The broker's number for it, rising within one inflow.
    pub tag: u64,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// Why the broker gave it up, when it did: the consumer parks it for that.
    pub dead: Option<String>,
    /// The message, or what came instead.
    pub message: Result<Envelope, Box<Undecodable>>,
}

impl Delivery {
    /// The bytes of its payload.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.message {
            Ok(message) => message.payload.len(),
            Err(undecodable) => undecodable.payload.len(),
        }
    }
}

/// Something in the queue that is no message of ours. It is kept for the operator, never dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// What is wrong with it.
    pub reason: String,
    /// Its body.
    pub payload: Bytes,
    /// Its properties and headers, as text.
    pub headers: String,
    /// See [`Envelope::kind`], where that could be read.
    pub kind: Option<String>,
    /// See [`Envelope::key`], where that could be read.
    pub key: Option<String>,
    /// See [`Envelope::source`], where that could be read.
    pub source: Option<String>,
}

/// The broker cannot be used at present.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// It cannot be reached, or the connection was lost.
    #[error("the broker is not connected")]
    Connection(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It refused the request, and refuses it again until somebody acts: the source has its own words, and what to do.
    #[error("the broker refused")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}
