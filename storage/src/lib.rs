//! What every database is: connections to SQLite or PostgreSQL, transactions that nobody cancels, group commit, rows in
//! statements of bounded size, rehearsals, leases, and wake-ups between processes. It knows no table of any service.

pub mod failpoint;
pub mod url;
mod session;
pub mod opened;
mod observe;
mod connection;
pub mod connections;
mod noting;
pub mod transaction;
pub mod executor;
pub mod database;
pub mod limits;
mod probe;
mod health;
pub mod failure;
pub mod outage;
pub mod transact;
pub mod rehearsal;
pub mod group;
pub mod rows;
pub mod schema;
pub mod lease;
pub mod notify;

pub use connections::{Connections, Usage};
pub use database::Database;
pub use executor::{Executor, Reading};
pub use failure::Failure;
pub use limits::Limits;
pub use opened::CannotOpen;
pub use outage::Outage;
pub use schema::CannotMigrate;
pub use transaction::Transaction;
pub use url::DatabaseUrl;
