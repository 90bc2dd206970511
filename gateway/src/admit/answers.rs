//! A bound on what answers take that their clients do not, of all clients and of each.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use chassis::status::{Fault, Reason};

use super::Client;
use crate::metrics::{limit, refused};

/// Shorter answers do not count: they are bounded by the requests of a connection.
const LARGE: usize = 16 << 10;

/// One client may have this part of what all may have.
const SHARE: usize = 4;

/// Large answers that are not written, on all threads of an edge.
#[derive(Debug)]
pub(crate) struct Answers {
    most: usize,
    /// Locked for a moment, when a large answer is there and when it is written.
    bytes: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    all: usize,
    /// Those that have any.
    clients: HashMap<IpAddr, usize>,
}

/// An answer that counts, until it is dropped.
#[derive(Debug)]
struct Held<T: AsRef<[u8]>> {
    data: T,
    length: usize,
    client: Option<IpAddr>,
    answers: Arc<Answers>,
}

impl Answers {
    /// At most so many bytes in all.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, bytes: Mutex::default() })
    }

    /// The bytes of an answer, which count until they are written; those of one that `must` be given count beyond the bound.
    ///
    /// # Errors
    /// RATE_LIMITED when the client, or all of them together, leave too much of what they asked for.
    pub(crate) fn hold<T: AsRef<[u8]> + Into<Bytes> + Send + 'static>(
        self: &Arc<Self>,
        data: T,
        client: Option<Client>,
        must: bool,
    ) -> Result<Bytes, Fault> {
        let length = data.as_ref().len();
        if length < LARGE {
            return Ok(data.into());
        }
        let client = client.map(Client::network);
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let own = client.and_then(|client| bytes.clients.get(&client)).copied().unwrap_or_default();
        // One is always let through, however large.
        let most_of_client = (self.most / SHARE).max(length);
        if !must && own + length > most_of_client {
            return Err(full("this address", self.most / SHARE));
        }
        if !must && bytes.all > 0 && bytes.all + length > self.most {
            return Err(full("the edge", self.most));
        }
        bytes.all += length;
        if let Some(client) = client {
            *bytes.clients.entry(client).or_default() += length;
        }
        drop(bytes);
        Ok(Bytes::from_owner(Held { data, length, client, answers: Arc::clone(self) }))
    }
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        self.data.as_ref()
    }
}

impl<T: AsRef<[u8]>> Drop for Held<T> {
    fn drop(&mut self) {
        let mut bytes = self.answers.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.all -= self.length;
        let Some(client) = self.client else { return };
        if let Some(own) = bytes.clients.get_mut(&client) {
            *own -= self.length;
            if *own == 0 {
                bytes.clients.remove(&client);
            }
        }
    }
}

fn full(whose: &str, most: usize) -> Fault {
    refused(limit::BUFFERED_BYTES);
    let message = format!(
        "{whose} has answers of {most} bytes that are not taken, as much as may be (--max-buffered-bytes)"
    );
    Fault::new(Reason::RateLimited, message)
}
