//! The tables of orders, and every query by its intention.

pub mod schema;
pub mod orders;
pub mod cancellations;
pub mod selection;
pub mod changes;
