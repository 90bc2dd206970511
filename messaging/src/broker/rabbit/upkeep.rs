//! Keeping the topology in place on RabbitMQ: what is missing is declared again, and dead letters find their consumer.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use lapin::Channel;
use tokio::time::timeout;

use super::{
    connection::Link,
    declare,
    declaring::Declaring,
    letters::{Letters, Sorted},
    passive,
};
use crate::{
    broker::{BrokerError, Depth, Found, Upkeep},
    observe,
    topology::Topology,
};

/// How long a look may take: a queue without a leader answers nothing.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// Looks from one binding of everything to the next: who only unbinds, deletes nothing. As often what could not be done, or was denied, is
/// tried again.
const BOUND_AGAIN: u32 = 10;

pub(super) struct RabbitUpkeep {
    // Dropped before the link, which waits for the close.
    letters: Option<Letters>,
    on: Declaring,
    topology: Topology,
    looks: u32,
    /// What could not be declared the last time.
    refused: Option<String>,
    /// The queue of versions before is still there.
    former: bool,
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
        let mut on = Declaring::over(link).await?;
        let former = passive::queue(on.channel(), &topology.former_dead_letter_queue()).await?.is_some();
        if !former {
            // The broker closes a channel on which something was missing.
            on.reopen().await?;
        }
        Ok(Self { letters: None, on, topology, looks: 0, refused: None, former })
    }

    async fn look_once(&mut self) -> Result<Found, BrokerError> {
        let (mut found, mut refused) = (Found::default(), None);
        for declared in declared(&self.topology, self.former) {
            match declared.depth(self.on.channel()).await {
                Ok(Some(depth)) => {
                    match declared {
                        Declared::DeadLetters(queue) => {
                            found.dead_letters.insert(queue, depth.messages);
                        }
                        Declared::Queue(queue) => {
                            found.queues.insert(queue, depth);
                        }
                        Declared::Exchange(_) => {}
                    }
                    continue;
                }
                Ok(None) if declared.is(&self.topology.former_dead_letter_queue()) => self.former = false,
                Ok(None) => found.restored.push(declared.to_string()),
                Err(error @ BrokerError::Connection(_)) => return Err(error),
                // A stranger uses it in another way, which keeps nobody from the others.
                Err(error) => drop(refused.get_or_insert_with(|| observe::chain(&error))),
            }
            self.on.reopen().await?;
        }
        // Bindings cannot be looked at. To bind again changes nothing, but there may be hundreds.
        let again = self.looks.is_multiple_of(BOUND_AGAIN);
        if again {
            self.on.forget_denied();
        }
        if !found.restored.is_empty() || again {
            self.refused = declare_everything(&mut self.on, &self.topology, self.former).await?;
        }
        self.looks = self.looks.wrapping_add(1);
        found.unmoved = self.sort(&mut found, again).await?;
        found.refused = refused.or_else(|| self.refused.clone());
        Ok(found)
    }

    /// Moves what is in the shared dead-letter queue into the queues of the consumers that it was meant for; returns why not all of it.
    async fn sort(&mut self, found: &mut Found, again: bool) -> Result<Option<String>, BrokerError> {
        let mut letters = match self.letters.take() {
            Some(letters) => letters,
            None => {
                let former = self.former.then(|| self.topology.former_dead_letter_queue());
                let queues: Vec<String> =
                    [self.topology.dead_letter_queue()].into_iter().chain(former).collect();
                match Letters::receive(self.on.link(), &queues).await {
                    Ok(letters) => letters,
                    Err(error) => {
                        // Unless the connection is lost as well.
                        self.on.link().channel().await?;
                        return Ok(Some(format!(
                            "dead letters cannot be received: {}",
                            observe::chain(&error)
                        )));
                    }
                }
            }
        };
        let mut sorted = Sorted::default();
        let of_use = letters.sort(&mut self.on, &self.topology, again, &mut sorted).await?;
        for queue in sorted.arrived {
            // Its queue was counted before.
            *found.dead_letters.entry(queue).or_default() += 1;
        }
        for (queue, stuck) in letters.stuck() {
            *found.dead_letters.entry(queue.to_owned()).or_default() += stuck;
        }
        found.moved = sorted.moved;
        if of_use {
            self.letters = Some(letters);
        }
        Ok(sorted.refused)
    }
}

#[async_trait]
impl Upkeep for RabbitUpkeep {
    async fn look(&mut self) -> Result<Found, BrokerError> {
        let found = timeout(LOOK_TIMEOUT, self.look_once()).await;
        found.map_err(|elapsed| BrokerError::Connection(Box::new(elapsed)))?
    }
}

/// Declares everything. What a stranger has declared in another way keeps nobody from the others; returns the first refusal.
async fn declare_everything(
    on: &mut Declaring,
    topology: &Topology,
    former: bool,
) -> Result<Option<String>, BrokerError> {
    let mut refused = None;
    let declared = declare::exchange(on, topology).await;
    unless_refused(on, declared, &mut refused).await?;
    let declared = declare::dead_letters(on, topology).await;
    unless_refused(on, declared, &mut refused).await?;
    if former {
        let unbound = declare::without_former_dead_letters(on, topology).await;
        unless_refused(on, unbound, &mut refused).await?;
    }
    for subscription in &topology.consumers {
        let declared = declare::dead_letters_of(on, topology, &subscription.consumer).await;
        unless_refused(on, declared, &mut refused).await?;
        for at in 0..topology.partitions {
            let declared = declare::partition(on, topology, subscription, at).await;
            unless_refused(on, declared, &mut refused).await?;
        }
    }
    Ok(refused)
}

async fn unless_refused(
    on: &mut Declaring,
    declared: Result<(), BrokerError>,
    refused: &mut Option<String>,
) -> Result<(), BrokerError> {
    let Err(error) = declared else { return Ok(()) };
    if matches!(error, BrokerError::Connection(_)) {
        return Err(error);
    }
    refused.get_or_insert_with(|| observe::chain(&error));
    on.reopen().await
}

fn declared(topology: &Topology, former: bool) -> Vec<Declared> {
    let mut declared = vec![
        Declared::Exchange(topology.exchange.clone()),
        Declared::Exchange(topology.dead_letter_exchange()),
        Declared::Exchange(topology.dead_letter_sorting()),
        Declared::DeadLetters(topology.dead_letter_queue()),
    ];
    declared.extend(former.then(|| Declared::DeadLetters(topology.former_dead_letter_queue())));
    for subscription in &topology.consumers {
        declared.push(Declared::DeadLetters(topology.dead_letter_queue_of(&subscription.consumer)));
        let queues = (0..topology.partitions).map(|at| topology.queue(&subscription.consumer, at));
        declared.extend(queues.map(Declared::Queue));
    }
    declared
}

impl Declared {
    /// What is in it, nothing in an exchange; `None` when it is missing, and then the channel is closed.
    async fn depth(&self, channel: &Channel) -> Result<Option<Depth>, BrokerError> {
        match self {
            Self::Exchange(name) => Ok(passive::exchange(channel, name).await?.map(|()| Depth::default())),
            Self::Queue(name) | Self::DeadLetters(name) => passive::queue(channel, name).await,
        }
    }

    fn is(&self, queue: &str) -> bool {
        matches!(self, Self::Queue(name) | Self::DeadLetters(name) if name == queue)
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
