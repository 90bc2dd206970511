//! What a reason says beside its codes.

use std::time::Duration;

use super::Reason;

impl Reason {
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
