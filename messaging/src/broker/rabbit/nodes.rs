//! The nodes of a broker: connections go to one after the other, and past those that cannot be reached.

use std::{
    fmt, io,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use lapin::uri::AMQPUri;
use tokio::time::timeout;

use super::connection::{self, Link, Tls};
use crate::broker::BrokerError;

/// How long a node may take to open a connection where there are others: one whose machine is gone says nothing.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Where each node is.
pub(super) struct Nodes {
    uris: Vec<AMQPUri>,
    /// How many connections were begun. Each begins with the next node: a queue stays with its consumers wherever they are connected, and
    /// nobody comes back at once to a node that has failed.
    begun: AtomicUsize,
}

impl Nodes {
    /// Those at these URLs.
    pub(super) fn at(urls: &[&str]) -> Result<Self, String> {
        if urls.is_empty() {
            return Err("there is none".to_owned());
        }
        let uris = urls.iter().map(|url| connection::parse(url)).collect::<Result<_, _>>()?;
        Ok(Self { uris, begun: AtomicUsize::new(0) })
    }

    /// Connects to one of them, as [`Link::open`].
    pub(super) async fn connect(&self, tls: Option<&Tls>, name: &str) -> Result<Link, BrokerError> {
        if let [only] = &self.uris[..] {
            return Link::open(only, tls, name).await;
        }
        let first = self.begun.fetch_add(1, Relaxed) % self.uris.len();
        let (before, from) = self.uris.split_at(first);
        let mut failed = BrokerError::Connection(Box::new(io::Error::from(io::ErrorKind::NotConnected)));
        for uri in from.iter().chain(before) {
            let opened = timeout(OPEN_TIMEOUT, Link::open(uri, tls, name)).await;
            match opened.unwrap_or_else(|elapsed| Err(BrokerError::Connection(Box::new(elapsed)))) {
                Ok(link) => return Ok(link),
                // What one of them refuses for good says more than that another one is away.
                Err(_) if matches!(failed, BrokerError::Refused(_)) => {}
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the whole URIs: they hold the password.
        let shown = |uri: &AMQPUri| format!("{}:{}/{}", uri.authority.host, uri.authority.port, uri.vhost);
        f.debug_list().entries(self.uris.iter().map(shown)).finish()
    }
}
