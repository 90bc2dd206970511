//! Permits on connections for calls whose answers go at the pace of their clients. A further connection is opened when one is full.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use chassis::status::{Fault, Reason};
use tonic::Status;

use super::{
    dial::{Tls, Windows},
    line::Line,
};
use crate::metrics::refused_stream;

/// Connections of this kind to one endpoint at most, each for as many calls as the service takes (often 100, at ours 1,024).
const MOST_CONNECTIONS: usize = 128;

/// Calls on one connection at most, where the service takes any number: they share its fate, and the time of its one task.
const MOST_CALLS: usize = 1_024;

#[derive(Debug)]
pub(super) struct Permits {
    address: SocketAddr,
    tls: Option<Tls>,
    /// Locked for a moment, when such a call begins and when it ends.
    lines: Mutex<Vec<Used>>,
}

/// A connection, and how many calls are on it.
#[derive(Debug)]
struct Used {
    line: Arc<Line>,
    calls: usize,
}

/// A permit, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    permits: Arc<Permits>,
    pub(super) line: Arc<Line>,
}

impl Permits {
    pub(super) fn new(address: SocketAddr, tls: Option<Tls>) -> Arc<Self> {
        Arc::new(Self { address, tls, lines: Mutex::default() })
    }

    /// A permit on a connection to the endpoint.
    ///
    /// # Errors
    /// RATE_LIMITED when all are taken.
    pub(super) fn take(self: &Arc<Self>) -> Result<Permit, Status> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let free = |used: &&mut Used| used.calls < used.line.most().min(MOST_CALLS);
        let line = if let Some(used) = lines.iter_mut().find(free) {
            used.calls += 1;
            Arc::clone(&used.line)
        } else if lines.len() < MOST_CONNECTIONS {
            let line = Arc::new(Line::new(self.address, self.tls.clone(), Windows::STREAMS));
            lines.push(Used { line: Arc::clone(&line), calls: 1 });
            line
        } else {
            return Err(full().into());
        };
        drop(lines);
        Ok(Permit { permits: Arc::clone(self), line })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut lines = self.permits.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = lines.iter().position(|used| Arc::ptr_eq(&used.line, &self.line)) else { return };
        lines[at].calls -= 1;
        // One is kept for the next call.
        if lines[at].calls == 0 && lines.len() > 1 {
            lines.swap_remove(at);
        }
    }
}

fn full() -> Fault {
    refused_stream();
    let message = format!("the service takes no more streams: {MOST_CONNECTIONS} connections to it are full");
    Fault::new(Reason::RateLimited, message)
}
