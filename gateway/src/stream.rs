//! Streams over HTTP: server-sent events, newline-delimited JSON or a WebSocket, with errors that cannot be overlooked.

mod framing;
mod over;
mod feeding;
mod feed;
mod raw;
mod frames;
mod lines;
pub(crate) mod socket;
pub(crate) mod talk;

pub(crate) use self::{feed::Feed, feeding::Feeding, frames::response, framing::Framing, over::Over};
