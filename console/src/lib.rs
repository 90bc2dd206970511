//! The pages for people: a shop at the edge and an operations room at the admin listener. Files that `scripts/pages` has built and the binary
//! holds; they are clients of the public API and of the operator's API, and nothing here knows either.

mod files;
mod serve;
mod start;

pub use self::{
    serve::{operations, shop},
    start::start,
};
