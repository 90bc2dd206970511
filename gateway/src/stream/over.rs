//! When a stream is over, whatever would still come: its client does not wait any longer, or the token that let it in has expired.

use auth::{Check, Refusal};
use chassis::status::Fault;
use tokio::time::{Instant, sleep_until};

use crate::request::deadline::deadline_exceeded;

/// The end of a stream that is known when it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Over {
    pub(crate) at: Instant,
    why: Why,
}

#[derive(Debug, Clone, Copy)]
enum Why {
    Deadline,
    Expiry,
}

impl Over {
    /// Whichever comes first: what its client has said, and the end of its token.
    pub(crate) fn first(deadline: Option<Instant>, expires: Option<Instant>) -> Option<Self> {
        let deadline = deadline.map(|at| Self { at, why: Why::Deadline });
        let expires = expires.map(|at| Self { at, why: Why::Expiry });
        [deadline, expires].into_iter().flatten().min_by_key(|over| over.at)
    }

    /// Why it is over.
    pub(super) fn fault(self) -> Fault {
        match self.why {
            Why::Deadline => deadline_exceeded(),
            Why::Expiry => expired(),
        }
    }

    /// Waits for it, or for ever, and says why it is over.
    pub(crate) async fn wait(over: Option<Self>) -> Fault {
        let Some(over) = over else { return std::future::pending().await };
        sleep_until(over.at).await;
        over.fault()
    }
}

/// The token that let it in has expired.
pub(crate) fn expired() -> Fault {
    Refusal::Token(Check::Expiry).into()
}
