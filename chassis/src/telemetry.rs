//! Logs for people or for machines, and the W3C trace context that a request carries.

use std::{io::IsTerminal as _, str::FromStr};

use tonic::metadata::MetadataMap;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::settings::{Checked, Mistakes};

/// How the process logs.
#[derive(Debug, Clone, clap::Args)]
pub struct LogSettings {
    /// How log lines look: `human` or `json`
    #[arg(long, env = "LOG_FORMAT", default_value = "human", global = true)]
    pub log_format: Checked<Format>,
    /// What is logged: `info`, or directives such as `info,messaging=debug`
    #[arg(
        long,
        env = "LOG_FILTER",
        default_value = "info,sqlx=warn,sea_orm_migration=warn,lapin=off",
        global = true
    )]
    pub log_filter: Checked<EnvFilterText>,
}

/// The look of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One readable line.
    Human,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err("expected `human` or `json`".to_owned()),
        }
    }
}

/// Filter directives that are known to be readable.
#[derive(Debug, Clone)]
pub struct EnvFilterText(String);

impl FromStr for EnvFilterText {
    type Err = tracing_subscriber::filter::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        EnvFilter::try_new(text).map(|_| Self(text.to_owned()))
    }
}

/// Starts logging to standard error. Standard output stays free for what the process tells its user.
///
/// # Errors
/// Every mistake in the settings.
pub fn init(settings: LogSettings) -> Result<(), Mistakes> {
    let mut mistakes = Mistakes::default();
    let format = settings.log_format.take("--log-format", &mut mistakes);
    let filter = settings.log_filter.take("--log-filter", &mut mistakes);
    let (format, filter) = mistakes.or(format.zip(filter))?;
    let registry = tracing_subscriber::registry().with(EnvFilter::new(filter.0));
    let lines = fmt::layer().with_writer(std::io::stderr);
    // A second start in the same process (tests) keeps the first subscriber.
    let _already_set = match format {
        Format::Human => registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    Ok(())
}

/// The request's `traceparent`, when it has a well-formed one (W3C Trace Context, section 3.2).
#[must_use]
pub fn traceparent(metadata: &MetadataMap) -> Option<String> {
    let text = metadata.get("traceparent")?.to_str().ok()?;
    is_traceparent(text).then(|| text.to_owned())
}

fn is_traceparent(text: &str) -> bool {
    let lengths = [2, 32, 16, 2];
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| part.len() == length && hex(part))
        && parts[0] != "ff"
        && parts[1].bytes().any(|byte| byte != b'0')
        && parts[2].bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_trace_contexts_pass() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
