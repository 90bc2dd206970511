//! The rows.

pub mod order;
