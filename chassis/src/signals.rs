//! The signals that ask a process to stop, caught from its first moment on.

use std::future::Future;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to catch them: the first thing that a binary does inside of its runtime. Without a handler a process with the id 1, as in
    /// a container, ignores them, and any other dies of them without a word.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn install() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM received"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT received"),
        }
    }

    /// Runs the start of a process (connections, migrations), unless it is asked to stop before: `None` then, and what was begun is
    /// dropped.
    ///
    /// # Errors
    /// Those of `start`.
    pub async fn unless_stopped<T>(
        &mut self,
        start: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<Option<T>> {
        tokio::select! {
            started = start => started.map(Some),
            () = self.next() => {
                tracing::info!("stopped before the start was complete");
                Ok(None)
            }
        }
    }
}
