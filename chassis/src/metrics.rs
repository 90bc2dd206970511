//! The recorder of the process's metrics, in the text format of Prometheus.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// From the fastest commit to the longest outage that is worth telling apart, in seconds.
const SECONDS: [f64; 17] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0,
];
/// Sizes of batches, in messages.
const MESSAGES: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// How often histograms are folded: what is recorded between takes memory for each value.
pub(crate) const UPKEEP: Duration = Duration::from_secs(5);

/// A process has one recorder, however often it is asked for.
static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

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
        .set_buckets_for_metric(Matcher::Suffix("_messages".to_owned()), &MESSAGES)?;
    let installed = builder.install_recorder().context("the process has another recorder of metrics")?;
    Ok(recorder.insert(installed).clone())
}
