//! What messages do, one reaction a file.

pub mod decide_payments;
