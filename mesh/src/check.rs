//! `ordermesh check`: reads everything through the services' own calls and verifies what must hold at rest.

mod books;
mod reconcile;
mod invariants;
mod report;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use chassis::clock::{Clock as _, SystemClock};

use self::books::Books;
use crate::{out, services::ServicesSettings};

/// How long a service may take to answer a call: more than a handler has.
const PATIENCE: Duration = Duration::from_secs(40);

/// Flags of `check`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    services: ServicesSettings,
    /// Prints one line of JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Only compares every decided order of orders with the decisions of payments, also while the mesh works: exit status 1 when any differ
    #[arg(long)]
    reconcile: bool,
    /// With --reconcile, how long something may be on its way before it differs
    #[arg(long, default_value = "5s", requires = "reconcile")]
    settle: humantime::Duration,
}

/// Checks a mesh that is at rest; exit status 1 when an invariant is broken.
///
/// # Errors
/// When the services cannot be asked.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let services = arguments.services.check(PATIENCE)?;
    if arguments.reconcile {
        return reconcile::run(&services, arguments.settle.into(), arguments.json).await;
    }
    let books = async { Books::read(services.orders().await?, services.payments().await?).await };
    let books = books.await;
    let books = books.context("cannot read the books")?;
    let findings = invariants::findings(&books, SystemClock.now());
    let written =
        if arguments.json { report::json(&findings, &books) } else { report::table(&findings, &books) };
    out::whether_read(written)?;
    let broken = findings.iter().any(|finding| !finding.offenders.is_empty());
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
