//! The way of an event, one file per station, in the order in which an event meets them.
//!
//! A service writes [`envelope::Envelope`]s into its [`outbox::Outbox`], in the transaction that causes them. The
//! [`relay::Relay`] publishes them to a [`broker::Broker`] and removes what was confirmed. A [`consumer::Consumer`] of another
//! service takes them in batches, and its [`consumer::Handler`] applies them in one transaction with the row in the inbox that
//! remembers them. Delivery is at least once on every arrow; the effect happens once, because it commits together with its
//! memory.
//!
//! Nothing here knows a service or its contract: any sea-orm service can take [`schema::MessagingTables`] into its migrations.

pub mod envelope;
pub mod schema;
pub mod outbox;
pub mod relay;
pub mod topology;
pub mod broker;
pub mod consumer;
pub mod inbox;
pub mod parked;

mod retry;
mod observe;
