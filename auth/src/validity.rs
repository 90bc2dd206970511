//! How long a caller is let in who has a stream: what was right when it began need not stay so.

use std::{fmt, sync::Arc, time::Duration};

use chassis::clock::{Clock, Micros};
use tokio::time::sleep;

use crate::{
    jwks::Jwks,
    keys::Key,
    refusal::{Check, Refusal},
};

/// The longest that is waited at once: clocks may be set, and no timer is that of a moment in some million years.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Until when a token lets its caller in: until it expires, or the key that has signed it is in force no longer. Cloning it is cheap.
#[derive(Clone)]
pub struct Validity(Arc<Term>);

struct Term {
    expires: Micros,
    key: Arc<Key>,
    jwks: Arc<Jwks>,
    clock: Arc<dyn Clock>,
}

impl Validity {
    pub(crate) fn new(expires: Micros, key: Arc<Key>, jwks: Arc<Jwks>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Term { expires, key, jwks, clock }))
    }

    /// Waits until the token lets nobody in any longer, and says why.
    pub async fn ended(&self) -> Refusal {
        let Term { expires, key, jwks, clock } = &*self.0;
        // Before the first look at the keys: what changes after it is noticed.
        let mut changes = jwks.changes();
        loop {
            // As a call that begins now is answered: the key comes before the claims.
            let good = match jwks.rest(key) {
                Ok(good) => good,
                Err(refusal) => return refusal,
            };
            let left = u64::try_from(expires.saturating_sub(clock.now())).unwrap_or_default();
            if left == 0 {
                return Check::Expiry.into();
            }
            let rest = sleep(Duration::from_micros(left).min(good).min(LONGEST));
            tokio::select! {
                () = rest => {}
                // The task that looks lives as long as its keys.
                Ok(()) = changes.changed() => {}
            }
        }
    }
}

impl fmt::Debug for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validity").field("expires", &self.0.expires).finish_non_exhaustive()
    }
}
