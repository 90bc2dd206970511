//! What happens when a message comes.

pub mod ship_orders;
