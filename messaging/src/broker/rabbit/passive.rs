//! Passive declarations: what is on the broker, without making it.

use lapin::{
    Channel, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::FieldTable,
};

use super::{names::short, refusal::refused_or_lost};
use crate::broker::{BrokerError, Depth};

/// Its depth; `None` when there is no such queue, and then the channel is closed.
pub(super) async fn queue(channel: &Channel, queue: &str) -> Result<Option<Depth>, BrokerError> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(short(queue)?, options, FieldTable::default()).await;
    let depth = |queue: lapin::Queue| Depth {
        messages: u64::from(queue.message_count()),
        consumers: queue.consumer_count(),
    };
    Ok(unless_missing(declared)?.map(depth))
}

/// Whether there is an exchange of this name; `None` when not, and then the channel is closed.
pub(super) async fn exchange(channel: &Channel, name: &str) -> Result<Option<()>, BrokerError> {
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    // The kind is not looked at.
    let kind = ExchangeKind::Topic;
    unless_missing(channel.exchange_declare(short(name)?, kind, options, FieldTable::default()).await)
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
