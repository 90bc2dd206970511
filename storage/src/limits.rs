//! How much of a database a process may use, for how long, and what of a session it may rest on.

use std::{str::FromStr, time::Duration};

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
    /// Whether a session of PostgreSQL keeps anything from one transaction to the next.
    pub prepared_statements: PreparedStatements,
}

/// Whether sessions of PostgreSQL prepare each statement once, and keep their settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PreparedStatements {
    /// They do.
    #[default]
    On,
    /// Nothing rests on a session, as behind a pooler of transactions: each single statement is in a transaction of its own, each transaction
    /// begins with its settings, and nobody listens for wake-ups.
    Off,
}

impl FromStr for PreparedStatements {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err("expected `on` or `off`"),
        }
    }
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
            prepared_statements: PreparedStatements::On,
        }
    }
}

/// Long for any statement, and shorter than the patience of callers (30 s).
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// A shorter timeout would give up statements that merely wait for a disk.
pub const SHORTEST_STATEMENT_TIMEOUT: Duration = Duration::from_secs(1);
