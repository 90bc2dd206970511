//! What the service is told, one reaction a file.

pub mod decide_payments;
