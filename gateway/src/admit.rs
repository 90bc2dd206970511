//! What is let in: connections, callers and their requests, streams, and the bytes of bodies and of answers.

pub(crate) mod activity;
mod admission;
mod budget;
mod client;
pub(crate) mod cors;
pub(crate) mod host;
mod open_files;
mod shares;
mod connections;
mod proxies;
pub(crate) mod rate;
mod slots;
mod streams;
mod unread;

pub(crate) use self::{
    admission::{Admission, Admitted},
    budget::{Account, Permit},
    client::Client,
    connections::Connected,
    rate::Standing,
    slots::Slot,
    streams::Open,
    unread::Unread,
};
