//! Receiving from RabbitMQ.

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Consumer,
    options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};

use super::{cloudevents, connection::Link, dead_letter, names::short, refusal::refused_or_lost};
use crate::broker::{BrokerError, Delivery, Inflow};

pub(super) struct RabbitInflow {
    // Dropped before the link, which waits for the close.
    consumer: Consumer,
    channel: Channel,
    _link: Link,
    /// The stream yields its end once and never wakes anybody after that.
    ended: Option<Ended>,
    acked_through: u64,
    /// The end of the stream is what was wanted.
    cancelled: bool,
    /// What comes was given up by the broker.
    dead: bool,
}

#[derive(Debug, Clone, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Failed(lapin::Error),
    #[error("the broker cancelled the consumer: its queue was deleted, and what it held is lost")]
    Cancelled,
}

impl RabbitInflow {
    pub(super) async fn start(
        link: Link,
        channel: Channel,
        queue: &str,
        prefetch: u16,
    ) -> Result<Self, BrokerError> {
        // To the broker 0 means without bound.
        let prefetch = prefetch.max(1);
        channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(refused_or_lost)?;
        let consumer = channel.basic_consume(
            short(queue)?,
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let consumer = consumer.await.map_err(refused_or_lost)?;
        Ok(Self {
            consumer,
            channel,
            _link: link,
            ended: None,
            acked_through: 0,
            cancelled: false,
            dead: false,
        })
    }

    /// The same, of a dead-letter queue.
    pub(super) fn of_dead_letters(self) -> Self {
        Self { dead: true, ..self }
    }

    /// What the stream gave, unless it was its end.
    fn take(&mut self, item: Option<lapin::Result<lapin::message::Delivery>>) -> Option<Delivery> {
        match item {
            Some(Ok(delivery)) => Some(Delivery {
                tag: delivery.delivery_tag,
                redelivered: delivery.redelivered,
                dead: self.dead.then(|| dead_letter::story(&delivery.properties, None)),
                message: cloudevents::decode(delivery),
            }),
            Some(Err(error)) => {
                self.ended.get_or_insert(Ended::Failed(error));
                None
            }
            None => {
                self.ended.get_or_insert(Ended::Cancelled);
                None
            }
        }
    }
}

#[async_trait]
impl Inflow for RabbitInflow {
    async fn receive(&mut self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let mut batch = Vec::new();
        while self.ended.is_none() && batch.len() < max.max(1) {
            // Nothing is awaited once there is something: dropping the future cannot take a delivery with it.
            let item = if batch.is_empty() {
                self.consumer.next().await
            } else if let Some(item) = self.consumer.next().now_or_never() {
                item
            } else {
                break;
            };
            batch.extend(self.take(item));
        }
        match &self.ended {
            Some(Ended::Cancelled) if self.cancelled => Ok(batch),
            Some(ended) if batch.is_empty() => Err(BrokerError::Connection(Box::new(ended.clone()))),
            _ => Ok(batch),
        }
    }

    async fn cancel(&mut self) -> Result<(), BrokerError> {
        self.cancelled = true;
        let cancelled = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        cancelled.await.map_err(refused_or_lost)
    }

    async fn ack_through(&mut self, tag: u64) -> Result<(), BrokerError> {
        // Nothing new: the broker would take it for an error and close the channel.
        if tag <= self.acked_through {
            return Ok(());
        }
        let acked = self.channel.basic_ack(tag, BasicAckOptions { multiple: true });
        acked.await.map_err(refused_or_lost)?;
        self.acked_through = tag;
        Ok(())
    }

    async fn ack(&mut self, tags: &[u64]) -> Result<(), BrokerError> {
        for tag in tags {
            let acked = self.channel.basic_ack(*tag, BasicAckOptions::default());
            acked.await.map_err(refused_or_lost)?;
        }
        Ok(())
    }
}
