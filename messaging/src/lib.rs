//! The way of an event, one file per station, in the order in which an event meets them.
//!
//! A service writes [`envelope::Envelope`]s into its [`outbox::Outbox`], in the transaction that causes them. The
//! [`relay::Relay`] publishes them to a [`broker::Broker`] and removes what was confirmed. A [`consumer::Consumer`] of another
//! service takes them in batches, and its [`consumer::Handler`] applies them in one transaction with the row in the inbox that
//! remembers them. Delivery is at least once on every arrow; the effect happens once, because it commits together with its
//! memory.
//!
//! `examples/shop.rs` is a whole service of two tables. This is its heart:
//!
//! ```
//! # use messaging::{envelope::Envelope, outbox::Outbox};
//! # use storage::{Database, Failure};
//! async fn sell(database: &Database, outbox: &Outbox, message: Envelope) -> Result<(), Failure> {
//!     let inside = outbox.clone();
//!     let sold = database.transact(move |transaction| {
//!         let (outbox, message) = (inside.clone(), message.clone());
//!         Box::pin(async move {
//!             // The service's own rows go here: they and the message exist together, or neither does.
//!             outbox.write(transaction, &[message]).await
//!         })
//!     });
//!     sold.await?;
//!     // After the commit: it wakes the relay, which would find the message by itself within seconds.
//!     outbox.wake();
//!     Ok(())
//! }
//! ```
//!
//! Nothing here knows a service or its contract: any sea-orm service can take the migrations of [`schema`] into its own, from
//! [`schema::MESSAGING_TABLES`] to [`schema::COUNTED_REPEATS`].

pub mod envelope;
pub mod origin;
pub mod schema;
pub mod outbox;
pub mod relay;
pub mod topology;
pub mod broker;
pub mod consumer;
pub mod inbox;
pub mod parked;
pub mod pauses;
pub mod retention;
pub mod health;
pub mod processes;
pub mod whereabouts;

mod rate;
mod retry;
mod observe;
