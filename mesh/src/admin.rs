//! `ordermesh admin`: what an operator asks and does, over the admin services of orders and payments.

mod service;
mod answers;
mod explain;
mod jobs;
mod kinds;
mod live;
mod look;
mod parked;
mod passed;
mod pauses;
mod processes;
mod reports;
mod reconciliation;
mod show;
mod status;
mod which;

use std::{
    io::{IsTerminal as _, stdout},
    process::ExitCode,
    time::Duration,
};

use crate::services::{Services, ServicesSettings};

/// The exit status of an answer that somebody has to look at: an order that is stuck, something parked, sums that differ.
const ATTENTION: u8 = 3;

/// How long a service may take to answer a call.
const PATIENCE: Duration = Duration::from_secs(10);

/// Flags of `admin`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    services: ServicesSettings,
    /// Prints JSON instead of a table: what each service answers over its admin API, below its name
    #[arg(long, global = true)]
    json: bool,
    /// What to ask or to do
    #[command(subcommand)]
    command: Command,
}

/// Flags of `ordermesh status`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    services: ServicesSettings,
    /// Prints JSON once: what each service answers over its admin API, below its name
    #[arg(long)]
    json: bool,
    /// Shows it once, on a terminal too
    #[arg(long)]
    once: bool,
}

/// What is asked or done.
#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// The whole way of one order, and what it waits for: exit status 3 when it is stuck
    Explain {
        /// The order
        order_id: String,
    },
    /// What waits at each service: exit status 3 when somebody has to look
    Status {
        /// Shows it anew every second until the end of the command, as `ordermesh status` does on a terminal
        #[arg(long)]
        watch: bool,
    },
    /// Messages that could not be handled
    #[command(subcommand)]
    Parked(parked::Parked),
    /// Redrives of parked messages, which go on in the background
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// What is paused
    #[command(subcommand)]
    Pauses(pauses::Pauses),
    /// Who did it: movements of money, and what operators did; the newest first
    Audit(reports::Audit),
    /// Every account
    Accounts(reports::Accounts),
    /// The sums of accounts and ledger, and the orders that orders and payments have stored otherwise: exit status 3 when anything differs
    Reconciliation(reconciliation::Reconciliation),
}

/// Asks or does it; the exit status is 0, 3 when somebody has to look, or 1 when a service cannot be reached or refuses.
///
/// # Errors
/// Those of the flags.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { services, json, command } = arguments;
    let services = services.check(PATIENCE)?;
    Ok(ended(answer(&services, command, json).await, json))
}

async fn answer(services: &Services, command: Command, json: bool) -> anyhow::Result<bool> {
    match command {
        Command::Explain { order_id } => explain::run(services, order_id, json).await,
        Command::Status { watch: true } => live::watch(services, json).await,
        Command::Status { watch: false } => status::status(services, json).await,
        Command::Parked(parked) => parked::run(services, parked, json).await,
        Command::Jobs(jobs) => jobs::run(services, jobs, json).await,
        Command::Pauses(pauses) => pauses::run(services, pauses, json).await,
        Command::Audit(audit) => reports::audit(services, audit, json).await,
        Command::Accounts(accounts) => reports::accounts(services, accounts, json).await,
        Command::Reconciliation(flags) => reconciliation::run(services, flags, json).await,
    }
}

/// Shows what waits at each service, on a terminal as long as somebody looks.
///
/// # Errors
/// Those of the flags.
pub(crate) async fn status(arguments: StatusArguments) -> anyhow::Result<ExitCode> {
    let StatusArguments { services, json, once } = arguments;
    let services = services.check(PATIENCE)?;
    let is_live = !json && !once && stdout().is_terminal();
    let looking =
        if is_live { live::watch(&services, json).await } else { status::status(&services, json).await };
    Ok(ended(looking, json))
}

/// The exit status of a command, whose error goes to standard error: in words, and with `--json` as an object too.
fn ended(fine: anyhow::Result<bool>, as_json: bool) -> ExitCode {
    match fine {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(ATTENTION),
        Err(error) => {
            if as_json {
                eprintln!("{}", show::error_json(&error));
            } else {
                eprintln!("Error: {}", show::short(&show::error(&error), usize::MAX));
            }
            ExitCode::FAILURE
        }
    }
}
