//! `ordermesh check`: reads everything through the services' own calls and verifies what must hold at rest.

mod channel;
mod books;
mod invariants;
mod report;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use chassis::{
    clock::{Clock as _, SystemClock},
    secret::{self, ExposeSecret as _, SecretString},
    settings::ConfigErrors,
    tls::UpstreamTlsSettings,
};

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
    /// The bearer token of both services' admin services; where there is an issuer, a token for the scope admin:read
    #[arg(long, env = "ADMIN_TOKEN", value_name = "TOKEN")]
    admin_token: Option<SecretString>,
    /// A file with the bearer token of both services' admin services, instead of --admin-token
    #[arg(long, env = "ADMIN_TOKEN_FILE", value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// TLS towards the services
    #[command(flatten)]
    tls: UpstreamTlsSettings,
    /// Prints one line of JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Checks a mesh that is at rest; exit status 1 when an invariant is broken.
///
/// # Errors
/// When the services cannot be asked.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut errors = ConfigErrors::default();
    let token = secret::admin_token(arguments.admin_token, arguments.admin_token_file, &mut errors);
    errors.require(token.is_some() || errors.count() > 0, "--admin-token", "is missing");
    let tls = arguments.tls.check(&mut errors);
    let (token, tls) = errors.or(token.zip(tls))?;
    let (orders, payments) = (arguments.orders_url, arguments.payments_url);
    let books = async {
        let (orders, payments) = (channel::open(&orders, &tls).await?, channel::open(&payments, &tls).await?);
        Books::read(orders, payments, token.expose_secret()).await
    };
    let books = books.await;
    let books = books.context("cannot read the books")?;
    let findings = invariants::findings(&books, SystemClock.now());
    if arguments.json { report::json(&findings, &books) } else { report::table(&findings, &books) }
        .context("cannot write to standard output")?;
    let broken = findings.iter().any(|finding| !finding.offenders.is_empty());
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
