//! `ordermesh token`: a token for development, signed by the key that `ordermesh up --auth dev` believes.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use auth::DevelopmentKey;
use chassis::{
    clock::{Clock as _, SystemClock},
    settings::{Checked, ConfigErrors},
};

use crate::lasts;

/// Flags of `token`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Who calls: the id of a user
    #[arg(long, value_name = "USER")]
    user: String,
    /// What for: scopes with spaces between them
    #[arg(
        long,
        value_name = "SCOPES",
        default_value = "orders:read orders:write payments:read payments:write"
    )]
    scope: String,
    /// How long it is valid, such as `90s` or `8h`, between 1s and 36500d
    #[arg(long = "for", value_name = "TIME", default_value = "1h")]
    lasts: Checked<humantime::Duration>,
    /// Where the key is: the data directory of `up`. It is made when it is missing
    #[arg(long, env = "DATA_DIR", default_value = "./data")]
    data_dir: PathBuf,
}

/// Prints a token.
///
/// # Errors
/// Every error in the flags, or that there can be no key.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut errors = ConfigErrors::default();
    let lasts = lasts::take(arguments.lasts, &mut errors);
    if let Err(problem) = ordermesh::rules::user_id(&arguments.user) {
        errors.note("--user", problem);
    }
    let lasts = errors.or(lasts)?;
    let key = DevelopmentKey::in_folder(&arguments.data_dir)?;
    let token = key.token(&arguments.user, &arguments.scope, SystemClock.now(), lasts)?;
    writeln!(std::io::stdout(), "{token}").context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}
