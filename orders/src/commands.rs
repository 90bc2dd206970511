//! What requests do, one command a file.

pub mod create_order;
pub mod cancel_order;
