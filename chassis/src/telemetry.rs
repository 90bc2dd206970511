//! What a process reports of itself as it goes: logs for people or for machines, and spans for who collects them.

mod json;
mod sink;

use std::{
    io::{IsTerminal as _, Stderr, stderr},
    path::PathBuf,
    str::FromStr,
};

use anyhow::Context as _;
use clap::builder::{OsStringValueParser, TypedValueParser};
use http::Uri;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    filter::Targets,
    fmt,
    layer::{Filter, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use self::sink::{Flusher, Sink};

use crate::{
    metrics,
    otlp::Exporter,
    settings::{Checked, ConfigErrors},
    tls::{ClientTls, client_tls},
};

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
    /// Where spans are sent to, a collector of OpenTelemetry (OTLP over gRPC) such as `http://127.0.0.1:4317`, or `https`; absent: nowhere
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", global = true)]
    pub otlp_endpoint: Option<Checked<Collector>>,
    /// The same for spans alone, instead of that one
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value_name = "URL", global = true)]
    pub otlp_traces_endpoint: Option<Checked<Collector>>,
    /// The certificates (PEM) of the authorities that an `https` URL of a collector trusts, instead of those that browsers trust
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", value_name = "FILE", global = true, value_parser = or_empty())]
    pub otlp_ca: Option<PathBuf>,
    /// The certificate (PEM) that the collector is shown
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", value_name = "FILE", global = true, value_parser = or_empty())]
    pub otlp_cert: Option<PathBuf>,
    /// The key of --otlp-cert (PEM)
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CLIENT_KEY", value_name = "FILE", global = true, value_parser = or_empty())]
    pub otlp_key: Option<PathBuf>,
    /// What the process is called in spans, instead of the name of its binary
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME", global = true)]
    pub otel_service_name: Option<String>,
    /// `true`: no spans are sent, wherever to; trace contexts are handed on all the same
    #[arg(long, env = "OTEL_SDK_DISABLED", value_name = "BOOL", global = true)]
    pub otel_sdk_disabled: Option<String>,
}

/// A path that may be empty, which is as one that is not given: compose files pass on variables that are not set.
fn or_empty() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

impl LogSettings {
    /// Where spans go, with the flag that says so. A variable that is empty is as one that is not set (OpenTelemetry, environment variables).
    fn collector(&mut self) -> Option<(&'static str, Checked<Collector>)> {
        let own = self.otlp_traces_endpoint.take().map(|url| ("--otlp-traces-endpoint", url));
        let url = own.or_else(|| self.otlp_endpoint.take().map(|url| ("--otlp-endpoint", url)));
        // Only this word means so, whatever its case.
        let is_disabled =
            self.otel_sdk_disabled.as_deref().is_some_and(|word| word.eq_ignore_ascii_case("true"));
        url.filter(|_| !is_disabled)
    }

    /// TLS towards the collector.
    fn collector_tls(&mut self, errors: &mut ConfigErrors) -> Option<ClientTls> {
        let given = |file: &mut Option<PathBuf>| file.take().filter(|file| !file.as_os_str().is_empty());
        let identity =
            [("--otlp-cert", given(&mut self.otlp_cert)), ("--otlp-key", given(&mut self.otlp_key))];
        client_tls("otlp", ("--otlp-ca", given(&mut self.otlp_ca)), identity, errors)
    }
}

/// The URL of a collector.
#[derive(Debug, Clone)]
pub struct Collector(String);

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        // They would be sent nowhere, and shown wherever the URL is.
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("credentials are not taken".to_owned());
        }
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err("expected `http://HOST:PORT` or `https://HOST:PORT`".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

/// What a process has to keep until its end: then the last spans are sent, and the last lines written.
#[derive(Debug)]
#[must_use = "it sends the last spans and writes the last lines when it is dropped"]
pub struct Telemetry {
    /// It may have a line to write when it ends.
    _exporter: Option<Exporter>,
    _flusher: Flusher<Stderr>,
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

impl EnvFilterText {
    fn filter(&self) -> Box<dyn Filter<Registry> + Send + Sync> {
        // Only directives about spans need a filter that looks at each span's beginning, steps and end, under a lock.
        match self.0.parse::<Targets>() {
            Ok(targets) => Box::new(targets),
            Err(_) => Box::new(EnvFilter::new(&self.0)),
        }
    }
}

/// Starts logging to standard error, the recording of metrics, and the export of spans, if there is a collector, under the
/// name `process`. Standard output stays free for what the process prints for its user. To be called inside of the runtime, before
/// the first task: what is counted without a recorder is lost.
///
/// # Errors
/// Every error in the settings, that something else in the process records its metrics, or that there is no thread.
pub fn init(mut settings: LogSettings, process: &'static str) -> anyhow::Result<Telemetry> {
    metrics::recorder()?;
    let mut errors = ConfigErrors::default();
    let collector = settings.collector();
    let tls = collector.is_some().then(|| settings.collector_tls(&mut errors)).flatten();
    let format = settings.log_format.take("--log-format", &mut errors);
    let filter = settings.log_filter.take("--log-filter", &mut errors);
    let name = settings.otel_service_name.take().filter(|name| !name.is_empty());
    let name = name.as_deref().unwrap_or(process);
    metrics::name(name);
    let exporter = collector.and_then(|(flag, url)| {
        let Collector(url) = url.take(flag, &mut errors)?;
        Exporter::start(&url, tls.as_ref()?, name).map_err(|error| errors.note(flag, error)).ok()
    });
    let (format, filter) = errors.or(format.zip(filter))?;
    let (sink, flusher) = Sink::start(stderr()).context("cannot log")?;
    let lines = fmt::layer().with_writer(sink);
    let lines = match format {
        Format::Human => lines.with_ansi(stderr().is_terminal()).with_filter(filter.filter()).boxed(),
        Format::Json => {
            lines.fmt_fields(json::Members).event_format(json::Line).with_filter(filter.filter()).boxed()
        }
    };
    let spans = exporter.as_ref().map(Exporter::layer);
    // A second start in the same process (tests) keeps the first subscriber.
    let _already_set = tracing_subscriber::registry().with(lines).with(spans).try_init();
    Ok(Telemetry { _exporter: exporter, _flusher: flusher })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_task_counts_first_is_not_lost() {
        let settings = LogSettings {
            log_format: "human".parse().expect("it is judged later"),
            log_filter: "info".parse().expect("it is judged later"),
            otlp_endpoint: None,
            otlp_traces_endpoint: None,
            otlp_ca: None,
            otlp_cert: None,
            otlp_key: None,
            otel_service_name: None,
            otel_sdk_disabled: None,
        };
        let _telemetry = init(settings, "test").expect("no errors");
        ::metrics::counter!("first_total").increment(1);
        let shown = metrics::recorder().expect("the same one").render();
        assert!(shown.contains("first_total 1"), "{shown}");
    }

    #[test]
    fn a_collector_is_named_by_a_plain_url() {
        for right in ["http://127.0.0.1:4317", "https://collector.example:4317"] {
            assert!(right.parse::<Collector>().is_ok(), "{right}");
        }
        // What would be sent nowhere, or not as its reader expects, is an error in the settings.
        for wrong in
            ["", "localhost:4317", "grpc://collector:4317", "/v1/traces", "http://", "https://u:p@h:1"]
        {
            assert!(wrong.parse::<Collector>().is_err(), "{wrong}");
        }
    }
}
