//! The pure functions that decide, and what they decide about. Nothing here waits or asks a clock.

pub mod ledger;
pub mod deposit;
pub mod book;
