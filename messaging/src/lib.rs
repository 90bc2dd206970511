//! The way of an event, one file per station: a row in the outbox, the relay, the broker, the consumer, a row in the inbox.

pub mod envelope;
pub mod topology;
pub mod broker;
