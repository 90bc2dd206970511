//! Copies of what is published, as another consumer takes them.

use anyhow::Result;
use lapin::{
    Channel, Connection, ConnectionProperties, Consumer, ExchangeKind,
    options::{
        BasicConsumeOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};

use crate::{PATIENCE, RabbitMq, eventually};

/// A copy of each message that an exchange gets for some keys, acknowledged by nobody.
#[derive(Debug)]
pub struct Copies {
    /// Its end is that of the queue.
    pub connection: Connection,
    /// With confirms.
    pub channel: Channel,
    /// The copies.
    pub consumer: Consumer,
}

impl RabbitMq {
    /// Waits until this exchange has been declared: a service is ready before, because it does without its broker.
    ///
    /// # Errors
    /// When nobody declares it.
    pub async fn has_exchange(&self, exchange: &str) -> Result<()> {
        let connection = Connection::connect(&self.amqp_url(), ConnectionProperties::default()).await?;
        eventually(exchange, PATIENCE, async || {
            // A channel ends with what is refused on it.
            let channel = connection.create_channel().await?;
            let (kind, passive) =
                (ExchangeKind::Topic, ExchangeDeclareOptions { passive: true, ..Default::default() });
            channel.exchange_declare(exchange.into(), kind, passive, FieldTable::default()).await
        })
        .await?;
        // With the channels that were refused, which a close would wait for in vain.
        drop(connection);
        Ok(())
    }

    /// Copies of what this exchange gets for these keys, from now on and once it has been declared.
    ///
    /// # Errors
    /// When nobody declares it, or the broker refuses.
    pub async fn copies(&self, exchange: &str, keys: &str) -> Result<Copies> {
        self.has_exchange(exchange).await?;
        let connection = Connection::connect(&self.amqp_url(), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let own = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare("copies".into(), own, FieldTable::default()).await?;
        let options = QueueBindOptions::default();
        channel
            .queue_bind("copies".into(), exchange.into(), keys.into(), options, FieldTable::default())
            .await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer =
            channel.basic_consume("copies".into(), "".into(), options, FieldTable::default()).await?;
        Ok(Copies { connection, channel, consumer })
    }
}
