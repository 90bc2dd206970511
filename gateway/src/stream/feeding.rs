//! What a client still sends while it is answered.

use std::{fmt, future};

use futures_util::{FutureExt as _, future::BoxFuture};

use crate::answer::problem::Problem;

/// What the client still sends while it is answered, if it sends anything.
#[derive(Default)]
pub(crate) struct Feeding(Option<BoxFuture<'static, Result<(), Problem>>>);

impl fmt::Debug for Feeding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Feeding").field(&self.0.is_some()).finish()
    }
}

impl Feeding {
    /// So long as this goes on.
    pub(super) fn of(sending: impl Future<Output = Result<(), Problem>> + Send + 'static) -> Self {
        Self(Some(sending.boxed()))
    }

    /// Whether the client still sends.
    pub(super) const fn goes_on(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until the client has sent everything, and then for ever.
    ///
    /// # Errors
    /// What ends that early.
    pub(super) async fn end(&mut self) -> Result<(), Problem> {
        let Some(sending) = &mut self.0 else { return future::pending().await };
        let outcome = sending.await;
        self.0 = None;
        outcome
    }
}
