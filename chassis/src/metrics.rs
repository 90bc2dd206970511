//! The recorder of the process's metrics, in the text format of Prometheus. Names follow the semantic conventions of OpenTelemetry where they
//! have one (<https://opentelemetry.io/docs/specs/semconv/>).

#[cfg(target_os = "linux")]
mod process;
mod rpc;
mod scrape;

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;

use crate::version;

pub use self::{
    rpc::{Call, Calls, Method},
    scrape::at_scrape,
};

/// From the fastest commit to the longest outage that is worth telling apart, in seconds.
const SECONDS: [f64; 17] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0,
];
/// For requests and calls, as the semantic conventions advise, and half a millisecond and one before.
const DURATIONS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0];
/// Sizes of batches, in messages.
const MESSAGES: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// How often histograms are folded: what is recorded between takes memory for each value.
pub(crate) const UPKEEP: Duration = Duration::from_secs(5);

/// A gauge that nobody has set for so long is not shown any more: what it stood for cannot be found out. Whoever sets one does so every five
/// seconds at least, not only when it changes.
const STALE: Duration = Duration::from_secs(10);

/// A process has one recorder, however often it is asked for.
static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// What the process is called.
static NAME: OnceLock<String> = OnceLock::new();

/// Names the process, for [`text`]; the first name stays.
pub(crate) fn name(process: &str) {
    NAME.get_or_init(|| process.to_owned());
}

/// The recorder of this process, installed by the first call.
///
/// # Errors
/// When somebody else has installed another one.
pub(crate) fn recorder() -> anyhow::Result<PrometheusHandle> {
    let mut recorder = RECORDER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(installed) = recorder.as_ref() {
        return Ok(installed.clone());
    }
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".to_owned()), &DURATIONS)?
        .set_buckets_for_metric(Matcher::Suffix("_messages".to_owned()), &MESSAGES)?
        .idle_timeout(MetricKindMask::GAUGE, Some(STALE));
    let installed = builder.install_recorder().context("the process has another recorder of metrics")?;
    #[cfg(target_os = "linux")]
    process::begin();
    Ok(recorder.insert(installed).clone())
}

/// What `/metrics` shows now.
pub(crate) fn text(recorder: &PrometheusHandle) -> String {
    let process = NAME.get().map_or("", String::as_str);
    metrics::describe_gauge!("build_info", "always 1; the labels say what runs");
    metrics::gauge!(
        "build_info",
        "service_name" => process.to_owned(),
        "service_version" => version::VERSION,
        "service_build" => version::BUILD,
    )
    .set(1.0);
    scrape::refresh();
    recorder.render()
}
