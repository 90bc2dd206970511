//! The settings of orders beside those of every service.

use std::time::Duration;

use chassis::settings::{Checked, ConfigErrors};

/// A shorter time would give up payments that are merely under way.
const SHORTEST_TTL: Duration = Duration::from_secs(1);

/// Flags, with an environment variable each.
#[derive(Debug, Clone, clap::Args)]
pub struct OrderSettings {
    /// When an undecided payment is given up after the order was placed, such as `90s` or `10m`
    #[arg(long, env = "ORDER_TTL", default_value = "10m")]
    pub order_ttl: Checked<humantime::Duration>,
}

impl OrderSettings {
    /// When an undecided payment is given up, or `None` after an error was noted.
    pub(crate) fn check(self, errors: &mut ConfigErrors) -> Option<Duration> {
        let ttl: Duration = self.order_ttl.take("--order-ttl", errors)?.into();
        errors.require(ttl >= SHORTEST_TTL, "--order-ttl", "must be at least 1s");
        Some(ttl)
    }
}
