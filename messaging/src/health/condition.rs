//! What a part can do at present, and what keeps it from the rest.

use storage::Failure;

/// What keeps a part from its work, for who decides by it; the reason beside it is for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nothing that is known: it has just begun.
    Starting,
    /// The broker cannot be used, or refuses.
    Broker,
    /// The database of the service cannot be used.
    Database,
    /// Messages that cannot be handled at present, parked or moved, such as those that need a row that somebody holds.
    Messages,
}

impl Cause {
    /// Of what cannot be done because of this failure.
    pub(crate) const fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Unavailable(_) | Failure::Full(_) | Failure::Unknown(_) => Self::Database,
            Failure::Contention(_) | Failure::Refused(_) | Failure::Panicked => Self::Messages,
        }
    }
}

/// What a part can do at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It does its work.
    Ok,
    /// It does not, or not all of it, and tries again by itself.
    Degraded {
        /// What keeps it from its work.
        cause: Cause,
        /// Why, with every cause.
        reason: String,
        /// When it began, in microseconds since the Unix epoch.
        since: i64,
    },
    /// It does not, and trying again cures nothing: somebody has to act. It tries again all the same, and goes on once it can.
    Failed {
        /// What keeps it from its work.
        cause: Cause,
        /// Why, in the broker's own words, and what to do.
        reason: String,
        /// When it began, in microseconds since the Unix epoch.
        since: i64,
    },
    /// An operator has paused it: it does nothing until it is resumed.
    Paused {
        /// By whom and why.
        reason: String,
        /// When the pause began, in microseconds since the Unix epoch.
        since: i64,
    },
}

impl Condition {
    /// Whether it does not do its work, and nobody wants that.
    pub(super) const fn is_failing(&self) -> bool {
        matches!(self, Self::Degraded { .. } | Self::Failed { .. })
    }

    /// The moment at which the same state began is that of the earlier report.
    pub(super) fn keep_beginning(&mut self, before: &Self) {
        if let (
            Self::Degraded { since, .. } | Self::Failed { since, .. },
            Self::Degraded { since: began, .. } | Self::Failed { since: began, .. },
        ) = (self, before)
        {
            *since = *began;
        }
    }
}
