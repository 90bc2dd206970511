//! The last check of a writer.

use tokio::{sync::watch, time::Instant};

use crate::failure::Failure;

/// A check of the writer.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) at: Instant,
    /// `None` while it is under way.
    pub(crate) outcome: watch::Receiver<Option<Result<(), Failure>>>,
}
