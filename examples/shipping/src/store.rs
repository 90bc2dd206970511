//! The table of shipments, and every query by its intention.

pub mod schema;
pub mod shipments;
