//! Where a consumer receives from: the queue of each partition, and the one with what the broker has given up.

use std::fmt;

#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    Partition(u16),
    DeadLetters,
}

impl Source {
    /// The part that a metric names.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Partition(_) => "consumer",
            Self::DeadLetters => "dead-letters",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(partition) => write!(f, "{}.{partition}", self.kind()),
            Self::DeadLetters => f.write_str(self.kind()),
        }
    }
}
