//! The settings of reconciliation.

use std::time::Duration;

use chassis::{
    clock::Micros,
    settings::{Checked, ConfigErrors},
};

/// More often would be asking all the time.
const SHORTEST: Duration = Duration::from_millis(100);

/// Flags, with an environment variable each.
#[derive(Debug, Clone, clap::Args)]
pub struct ReconciliationSettings {
    /// How often the newest orders are compared with the decisions of payments, such as `5s`; `0s` for never
    #[arg(long, env = "RECONCILE_EVERY", default_value = "5s")]
    pub reconcile_every: Checked<humantime::Duration>,
    /// How long an order may be on its way before it is compared, and a difference before it is one
    #[arg(long, env = "RECONCILE_SETTLE", default_value = "5s")]
    pub reconcile_settle: Checked<humantime::Duration>,
}

/// How often, and when something is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two rounds.
    pub every: Duration,
    /// So long something may be on its way.
    pub settle: Duration,
}

impl ReconciliationSettings {
    /// The timing, or `None` after errors were noted; within, `None` for never.
    pub(crate) fn check(self, errors: &mut ConfigErrors) -> Option<Option<Timing>> {
        let every = self.reconcile_every.take("--reconcile-every", errors).map(Duration::from);
        let settle = self.reconcile_settle.take("--reconcile-settle", errors).map(Duration::from);
        let (every, settle) = (every?, settle?);
        if every.is_zero() {
            return Some(None);
        }
        errors.require(every >= SHORTEST, "--reconcile-every", "must be at least 100ms, or 0s");
        errors.require(settle >= SHORTEST, "--reconcile-settle", "must be at least 100ms");
        Some(Some(Timing { every, settle }))
    }
}

impl Timing {
    /// How long something may be on its way, in microseconds.
    #[must_use]
    pub fn settle_micros(&self) -> Micros {
        Micros::try_from(self.settle.as_micros()).unwrap_or(Micros::MAX)
    }
}
