//! The tables of orders, and every query by its intention.

pub mod schema;
pub mod entity;
pub mod orders;
pub mod cancellations;
pub mod selection;
pub mod changes;
pub mod decisions;
pub mod differences;
pub mod neighbours;
