//! Declares what a mesh needs on the broker, so that the first process to come finds or makes it.
//!
//! Declaring again is free; declaring differently is refused (`PRECONDITION_FAILED`): the arguments here are for ever.
//! RabbitMQ, 3.10 and 4.0 alike, writes a new quorum queue's name to disk half a second late and forgets the queue with all
//! it confirmed if it is killed in that time (`findings/rabbitmq-forgets-a-fresh-quorum-queue.sh`). It can happen once in a
//! queue's life, and nothing that a client does prevents it.

use lapin::{
    ExchangeKind,
    types::{AMQPValue, FieldTable},
};

use super::{
    connection::Link,
    declaring::{Declaring, Thing},
    names::short,
    passive,
    refusal::refused_or_lost,
};
use crate::{
    broker::{BrokerError, Depth},
    topology::{Subscription, Topology},
};

/// Deliveries of one message without an acknowledgement, after which it is a dead letter. Far above what a consumer that
/// counts its failures needs: it ends a message that kills its consumer before anything can be counted.
const DELIVERY_LIMIT: i32 = 20;

/// Returns of one message without an acknowledgement where it must never be given up, whatever the broker's own limit is (20 from RabbitMQ
/// 4 on): more than there ever are. Versions before 4 know no other word for it.
const NO_DELIVERY_LIMIT: i32 = i32::MAX;
/// So many queues in a row may have been deleted before it is not looked whether there are others beyond.
const GAP: u16 = 2;

/// All that a message needs on its way to those who must have it.
pub(super) async fn everything(on: &mut Declaring, topology: &Topology) -> Result<(), BrokerError> {
    exchange(on, topology).await?;
    dead_letters(on, topology).await?;
    for subscription in &topology.consumers {
        consumer(on, topology, subscription).await?;
    }
    Ok(())
}

/// All queues of a consumer.
pub(super) async fn consumer(
    on: &mut Declaring,
    topology: &Topology,
    subscription: &Subscription,
) -> Result<(), BrokerError> {
    dead_letters_of(on, topology, &subscription.consumer).await?;
    for at in 0..topology.partitions {
        partition(on, topology, subscription, at).await?;
    }
    Ok(())
}

/// Refuses to work with fewer partitions than before while messages wait in the queues beyond: nobody would consume them, and later
/// messages of their keys would overtake them in other queues. A queue with a consumer may hold what that has not acknowledged.
pub(super) async fn refuse_fewer_partitions(
    link: &Link,
    topology: &Topology,
    consumer: &str,
) -> Result<(), BrokerError> {
    let mut channel = link.channel().await?;
    let mut missing = 0;
    for at in topology.partitions..u16::MAX {
        let queue = topology.queue(consumer, at);
        match passive::queue(&channel, &queue).await? {
            None if missing == GAP => break,
            None => {
                missing += 1;
                // That one is closed.
                channel = link.channel().await?;
            }
            Some(Depth { messages: 0, consumers: 0 }) => missing = 0,
            Some(Depth { messages, consumers }) => {
                let least = at + 1;
                let fewer = FewerPartitions { queue, messages, consumers, least };
                return Err(BrokerError::Refused(Box::new(fewer)));
            }
        }
    }
    Ok(())
}

/// There were more partitions, and their queues are not empty.
#[derive(Debug, thiserror::Error)]
#[error(
    "{messages} messages wait in the queue {queue}, which has {consumers} consumers and belongs to a partition that is no more: \
     start all processes with at least {least} partitions again until it is empty, and then stop them before one starts with fewer"
)]
struct FewerPartitions {
    queue: String,
    messages: u64,
    consumers: u32,
    least: u16,
}

/// The exchange that all messages are published to.
pub(super) async fn exchange(on: &mut Declaring, topology: &Topology) -> Result<(), BrokerError> {
    durable_exchange(on, &topology.exchange, ExchangeKind::Topic).await
}

/// Where undeliverable messages go, and the queue in which they wait to be sorted.
pub(super) async fn dead_letters(on: &mut Declaring, topology: &Topology) -> Result<(), BrokerError> {
    let (exchange, queue) = (topology.dead_letter_exchange(), topology.dead_letter_queue());
    let mut arguments = quorum();
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(NO_DELIVERY_LIMIT));
    durable_exchange(on, &exchange, ExchangeKind::Fanout).await?;
    durable_queue(on, &queue, arguments).await?;
    on.bind(&queue, &exchange, "").await
}

/// Lets nothing more come into the queue of versions before, whose argument for the delivery limit nobody can add.
pub(super) async fn without_former_dead_letters(
    on: &Declaring,
    topology: &Topology,
) -> Result<(), BrokerError> {
    let (exchange, queue) = (topology.dead_letter_exchange(), topology.former_dead_letter_queue());
    let unbound =
        on.channel().queue_unbind(short(&queue)?, short(&exchange)?, "".into(), FieldTable::default());
    unbound.await.map_err(refused_or_lost)
}

/// The queue in which the dead letters of a consumer wait to be parked. A policy with `message-ttl` removes them from there too: they
/// are sorted again.
pub(super) async fn dead_letters_of(
    on: &mut Declaring,
    topology: &Topology,
    consumer: &str,
) -> Result<(), BrokerError> {
    let mut arguments = kept_when_dead(topology);
    // A limit would send them in a circle.
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(NO_DELIVERY_LIMIT));
    let (exchange, queue) = (topology.dead_letter_sorting(), topology.dead_letter_queue_of(consumer));
    durable_exchange(on, &exchange, ExchangeKind::Direct).await?;
    durable_queue(on, &queue, arguments).await?;
    on.bind(&queue, &exchange, &queue).await
}

/// The queue of one partition of a consumer, with its bindings.
pub(super) async fn partition(
    on: &mut Declaring,
    topology: &Topology,
    subscription: &Subscription,
    partition: u16,
) -> Result<(), BrokerError> {
    let mut arguments = kept_when_dead(topology);
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
    let queue = topology.queue(&subscription.consumer, partition);
    durable_queue(on, &queue, arguments).await?;
    for routing_key in topology.bindings(subscription, partition) {
        on.bind(&queue, &topology.exchange, &routing_key).await?;
    }
    Ok(())
}

async fn durable_exchange(on: &mut Declaring, name: &str, kind: ExchangeKind) -> Result<(), BrokerError> {
    on.declare(name, &Thing::Exchange(kind)).await
}

async fn durable_queue(on: &mut Declaring, name: &str, arguments: FieldTable) -> Result<(), BrokerError> {
    on.declare(name, &Thing::Queue(arguments)).await
}

/// A quorum queue whose messages become dead letters instead of being lost.
fn kept_when_dead(topology: &Topology) -> FieldTable {
    let mut arguments = quorum();
    arguments.insert("x-dead-letter-exchange".into(), text(&topology.dead_letter_exchange()));
    // By default a dead letter is forgotten once sent. This keeps it until the dead-letter queue has confirmed it, and is
    // only to be had together with reject-publish (https://www.rabbitmq.com/docs/quorum-queues#dead-lettering).
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
