//! What a reason says beside its codes.

use std::time::Duration;

use super::Reason;

/// Whether a call that has failed may be repeated as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repetition {
    /// The same call fails in the same way.
    Never,
    /// Nothing was done, and it passes by itself: after this time, or a longer one that the answer names.
    Later(Duration),
    /// It may have taken effect: with the same idempotency key it is done once.
    WithKey,
}

impl Reason {
    /// Whether a call that has failed for it may be repeated.
    #[must_use]
    pub const fn repetition(self) -> Repetition {
        match (self, self.retry_after()) {
            (_, Some(after)) => Repetition::Later(after),
            (Self::OutcomeUnknown | Self::DeadlineExceeded, None) => Repetition::WithKey,
            (_, None) => Repetition::Never,
        }
    }

    /// The reason that ErrorInfo spells so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }

    /// When a client may try again by default: only for reasons that pass by themselves.
    pub(super) const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::ConcurrentUpdate => Some(Duration::from_millis(100)),
            Self::RateLimited
            | Self::StorageUnavailable
            | Self::UpstreamUnavailable
            | Self::IssuerUnavailable => Some(Duration::from_secs(1)),
            // Somebody has to make space first.
            Self::StorageFull => Some(Duration::from_secs(10)),
            _ => None,
        }
    }
}
