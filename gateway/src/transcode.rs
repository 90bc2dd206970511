//! The translator between HTTP/JSON and gRPC: driven by descriptors, it knows no service.

pub mod template;
pub mod route;
pub mod table;
pub mod codec;
mod plan;
mod direct;
mod read;
mod put;
mod closed;
mod render;
mod raw;
mod print;
mod civil;
mod wire;
pub mod bind;
mod query;
mod mask;
pub(crate) mod payload;
mod message;
mod json;
mod scalar;
mod percent;
mod report;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fuzz_tests;

pub use self::percent::PercentError;
pub(crate) use self::scalar::{is_textual, is_well_known};
