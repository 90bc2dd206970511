//! The noun of this service, and what a decision about its payment does to it.

pub mod order;
pub mod settle;
