//! The tables of payments, and every query by its intention.

pub mod schema;
pub mod entity;
pub mod accounts;
pub mod ledger;
pub mod payments;
pub mod decisions;
pub mod reconciliation;
