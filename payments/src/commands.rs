//! What requests do, one command a file.

pub mod create_account;
pub mod top_up_account;
