//! `ordermesh check`: reads everything through the services' own calls and verifies what must hold at rest.

mod books;
mod invariants;
mod report;

use std::process::ExitCode;

use anyhow::Context as _;
use chassis::clock::{Clock as _, SystemClock};

use self::books::Books;

/// Flags of `check`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Where the orders service serves gRPC
    #[arg(long, env = "ORDERS_URL", default_value = "http://127.0.0.1:5001")]
    orders_url: String,
    /// Where the payments service serves gRPC
    #[arg(long, env = "PAYMENTS_URL", default_value = "http://127.0.0.1:5002")]
    payments_url: String,
    /// The bearer token of both services' admin services
    #[arg(long, env = "ADMIN_TOKEN", hide_env_values = true)]
    admin_token: String,
    /// Prints one line of JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Checks a mesh that is at rest; exit status 1 when an invariant is broken.
///
/// # Errors
/// When the services cannot be asked.
#[tokio::main]
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let books = Books::read(&arguments.orders_url, &arguments.payments_url, &arguments.admin_token).await;
    let books = books.context("cannot read the books")?;
    let findings = invariants::findings(&books, SystemClock.now());
    if arguments.json { report::json(&findings, &books) } else { report::table(&findings, &books) }
        .context("cannot write to standard output")?;
    let broken = findings.iter().any(|finding| !finding.offenders.is_empty());
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
