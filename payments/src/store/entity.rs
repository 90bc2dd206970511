//! The rows.

pub mod account;
pub mod ledger;
pub mod payment;
