//! A bound on open streams, of all clients and of each: every one keeps a place on a connection to its service, and memory.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use chassis::status::{Fault, Reason};

use super::client::Client;
use crate::metrics::{limit, refused};

/// The streams that are open, on all threads of an edge.
#[derive(Debug)]
pub(crate) struct Streams {
    most: usize,
    most_of_client: usize,
    /// Locked for a moment, when a stream begins and when it ends.
    open: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    all: usize,
    /// Those that have any.
    clients: HashMap<IpAddr, usize>,
}

/// A stream that counts, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    streams: Arc<Streams>,
    network: IpAddr,
}

impl Streams {
    /// At most so many streams in all, and of one client.
    pub(crate) fn new(most: usize, most_of_client: usize) -> Arc<Self> {
        Arc::new(Self { most, most_of_client, open: Mutex::default() })
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    /// Counts a stream that is about to begin.
    ///
    /// # Errors
    /// RATE_LIMITED, with the limit, when there are as many as may be.
    pub(crate) fn open(self: &Arc<Self>, client: &Client) -> Result<Open, Fault> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.most {
            return Err(full("the edge", self.most, limit::STREAMS));
        }
        let streams = open.clients.entry(client.network).or_default();
        if *streams >= self.most_of_client {
            return Err(full("this address", self.most_of_client, limit::STREAMS_PER_CLIENT));
        }
        *streams += 1;
        open.all += 1;
        Ok(Open { streams: Arc::clone(self), network: client.network })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(streams) = open.clients.get_mut(&self.network) {
            *streams -= 1;
            if *streams == 0 {
                open.clients.remove(&self.network);
            }
        }
    }
}

fn full(whose: &str, most: usize, flag: &'static str) -> Fault {
    refused(flag);
    Fault::new(Reason::RateLimited, format!("{whose} has {most} open streams, as many as may be ({flag})"))
}
