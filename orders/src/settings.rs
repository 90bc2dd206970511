//! The settings of orders beside those of every service.

use std::{path::PathBuf, time::Duration};

use chassis::{
    settings::{Checked, ConfigErrors},
    tls::UpstreamTlsSettings,
};

use crate::{
    explain::payments::{Payments, Whom},
    reconciliation::settings::{ReconciliationSettings, Timing},
};

/// A shorter time would give up payments that are merely under way.
const SHORTEST_TTL: Duration = Duration::from_secs(1);

/// Flags, with an environment variable each.
#[derive(Debug, Clone, clap::Args)]
pub struct OrderSettings {
    /// When an undecided payment is given up after the order was placed, such as `90s` or `10m`
    #[arg(long, env = "ORDER_TTL", default_value = "10m")]
    pub order_ttl: Checked<humantime::Duration>,
    /// Reconciliation
    #[command(flatten)]
    pub reconciliation: ReconciliationSettings,
}

/// Those of a process that payments is no part of.
#[derive(Debug, Clone, clap::Args)]
pub struct ProcessSettings {
    /// Those of orders
    #[command(flatten)]
    pub orders: OrderSettings,
    /// Where payments is
    #[command(flatten)]
    pub payments: PaymentsSettings,
}

/// Where payments is.
#[derive(Debug, Clone, clap::Args)]
pub struct PaymentsSettings {
    /// Where the payments service serves gRPC, for ExplainOrder: it is asked there with the operator's own token; absent: what payments knows
    /// is left out of the answer
    #[arg(long, env = "PAYMENTS_URL", value_name = "URL")]
    pub payments_url: Option<String>,
    /// A file with the token by which payments is asked for its decisions in the background, for the scope admin:read; read again for each
    /// call. Where there is no issuer, the admin token of this process is used; with neither, orders and payments are not compared
    #[arg(long, env = "PAYMENTS_TOKEN_FILE", value_name = "FILE")]
    pub payments_token_file: Option<PathBuf>,
    /// TLS towards it
    #[command(flatten)]
    pub tls: UpstreamTlsSettings,
}

impl OrderSettings {
    /// When an undecided payment is given up, and when orders and payments are compared; or `None` after an error was noted.
    pub(crate) fn check(self, errors: &mut ConfigErrors) -> Option<(Duration, Option<Timing>)> {
        let timing = self.reconciliation.check(errors);
        let ttl: Duration = self.order_ttl.take("--order-ttl", errors)?.into();
        errors.require(ttl >= SHORTEST_TTL, "--order-ttl", "must be at least 1s");
        Some((ttl, timing?))
    }
}

impl PaymentsSettings {
    /// Where payments is, or `None` after errors were noted. Must be called inside of a tokio runtime.
    pub(crate) fn check(self, errors: &mut ConfigErrors) -> Option<Whom> {
        let location = self.payments_url.filter(|url| !url.is_empty()).map(Into::into);
        let token_file = self.payments_token_file.filter(|path| !path.as_os_str().is_empty());
        let whom = Whom { location, tls: self.tls.check(errors)?, token_file };
        if let Err(error) = Payments::of(&whom) {
            errors.note("--payments-url", error);
            return None;
        }
        Some(whom)
    }
}
