//! How a binary begins and ends: its flags, and its errors on standard error in the form of its log.

use std::{env, ffi::OsString, future::Future, process::ExitCode};

use clap::{Command, Parser};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::{
    clock::{Clock as _, SystemClock, timestamp},
    redact::redacted,
    telemetry::Format,
};

/// The flags of the process; ends it when they cannot be read, or with the help that they ask for.
#[must_use]
pub fn parse<S: Parser>() -> S {
    let command = quiet(S::command());
    let read = command.clone().try_get_matches();
    let read = read.and_then(|mut found| {
        S::from_arg_matches_mut(&mut found).map_err(|error| error.format(&mut command.clone()))
    });
    read.unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        let text = without_passwords(error.to_string(), env::args_os());
        match wanted() {
            Format::Json => eprintln!("{}", line(&text)),
            Format::Human => eprint!("{text}"),
        }
        std::process::exit(error.exit_code());
    })
}

/// clap quotes what it does not understand, which may be a URL whose flag was forgotten.
fn without_passwords(error: String, arguments: impl Iterator<Item = OsString>) -> String {
    arguments.fold(error, |error, argument| {
        let argument = argument.to_string_lossy();
        let value = argument.split_once('=').map_or(&*argument, |(_, value)| value);
        error.replace(&*argument, &redacted(&argument)).replace(value, &redacted(value))
    })
}

/// Without the values of environment variables in its help: many hold secrets.
fn quiet(command: Command) -> Command {
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(quiet)
}

/// Runs a process to its end, which waits for nothing that still blocks a thread.
///
/// # Errors
/// Those of `process`.
pub fn block_on<T>(runtime: Runtime, process: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let outcome = runtime.block_on(process);
    // A look-up of a name that hangs would hold the end of the process for its own time.
    runtime.shutdown_background();
    outcome
}

/// The exit code of a process, after its error was written to standard error: with `--log-format json` as one line.
#[must_use]
pub fn exit(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    let Err(error) = outcome else { return outcome.unwrap_or(ExitCode::FAILURE) };
    match wanted() {
        Format::Json => eprintln!("{}", line(&format!("{error:#}"))),
        Format::Human => eprintln!("Error: {error:?}"),
    }
    ExitCode::FAILURE
}

/// As a line of the log, which is not there yet or no more.
fn line(error: &str) -> serde_json::Value {
    json!({
        "timestamp": timestamp(SystemClock.now()).to_string(),
        "level": "ERROR",
        "message": "the process ends with an error",
        "error": error.trim_end(),
        "target": module_path!(),
    })
}

/// The form of the log that is asked for, whether or not the other flags can be read.
fn wanted() -> Format {
    of(env::args_os(), env::var_os("LOG_FORMAT"))
}

fn of(arguments: impl Iterator<Item = OsString>, variable: Option<OsString>) -> Format {
    let mut format = variable;
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        if argument == "--log-format" {
            format = arguments.next();
        } else if let Some(given) = argument.to_str().and_then(|text| text.strip_prefix("--log-format=")) {
            format = Some(given.into());
        }
    }
    if format.is_some_and(|format| format == "json") { Format::Json } else { Format::Human }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_found_among_flags_that_cannot_be_read() {
        let form = |line: &str, variable: Option<&str>| {
            of(line.split_whitespace().map(OsString::from), variable.map(OsString::from))
        };
        assert_eq!(form("orders --unknown --log-format json", None), Format::Json);
        assert_eq!(form("orders --log-format=json up", Some("human")), Format::Json);
        assert_eq!(form("orders", Some("json")), Format::Json);
        assert_eq!(form("orders --log-format human", Some("json")), Format::Human);
        assert_eq!(form("orders", None), Format::Human);
    }
}
