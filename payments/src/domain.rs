//! The nouns of the ledger, and the pure functions that decide. Nothing here waits or asks a clock.

pub mod account;
pub mod ledger;
pub mod payment;
pub mod deposit;
pub mod book;
