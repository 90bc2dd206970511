//! How much of a database a process may use, and for how long.

use std::time::Duration;

/// How much of the server a process may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections that read. PostgreSQL: as many for transactions, and a few for single statements and groups. SQLite: a single one writes.
    pub connections: u32,
    /// Writes or messages that are taken together, at most: below the bound that each part has of its own. At least 1.
    pub max_batch: usize,
    /// How long migrations wait for locks that others hold.
    pub migration_wait: Duration,
    /// For an attempt at a statement or a transaction: past it, its connection is closed.
    pub statement_timeout: Duration,
}

impl Limits {
    /// With fewer, background reads (readiness, backlog, expiry) would hold up those of callers.
    pub const FEWEST_CONNECTIONS: u32 = 4;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8,
            max_batch: usize::MAX,
            migration_wait: Duration::from_secs(60),
            statement_timeout: STATEMENT_TIMEOUT,
        }
    }
}

/// Long for any statement, and shorter than the patience of callers (30 s).
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// A shorter timeout would give up statements that merely wait for a disk.
pub const SHORTEST_STATEMENT_TIMEOUT: Duration = Duration::from_secs(1);
