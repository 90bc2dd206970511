//! What messages do, one reaction a file.

pub mod settle_orders;
