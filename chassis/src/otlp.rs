//! Spans for a collector of OpenTelemetry, over OTLP: gathered in the background, sent in batches by a thread of their own, dropped when
//! nobody takes them. No request waits for it. The SDK's own variables, such as `OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES` and
//! `OTEL_BSP_SCHEDULE_DELAY`, are read as well.

use std::time::Duration;

use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tokio::runtime::{Builder, Runtime};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use crate::{
    tls::{ClientTls, dial},
    trace,
};

/// How long the last spans may take to be sent: nobody waits for a collector, and the stop of a process has an end.
const LAST: Duration = Duration::from_secs(1);
/// How long a connection over TLS may take, and a batch over it: as the exporter has it without TLS.
const CONNECT: Duration = Duration::from_secs(10);
const EXPORT: Duration = Duration::from_secs(10);

/// Sends the spans of this process; the last ones when it is dropped.
#[derive(Debug)]
pub(crate) struct Exporter {
    provider: SdkTracerProvider,
    /// The way to the collector. Whoever drops the exporter may be the only thread of the process's runtime, and waits for it. `None` only
    /// in that drop.
    runtime: Option<Runtime>,
}

impl Exporter {
    /// Begins to send to the collector at `url`, under the name `process`. Nothing is connected yet.
    pub(crate) fn start(url: &str, tls: &ClientTls, process: &str) -> anyhow::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("spans").enable_all().build()?;
        let exporter = {
            let _entered = runtime.enter();
            let exporter = SpanExporter::builder().with_tonic();
            if url.starts_with("https://") {
                let (endpoint, dial) = dial(url, tls)?;
                let endpoint = endpoint.connect_timeout(CONNECT).timeout(EXPORT);
                exporter.with_channel(endpoint.connect_with_connector_lazy(dial)).build()?
            } else {
                exporter.with_endpoint(url).build()?
            }
        };
        let resource = Resource::builder().with_service_name(process.to_owned()).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource);
        global::set_text_map_propagator(TraceContextPropagator::new());
        trace::export();
        Ok(Self { provider: provider.build(), runtime: Some(runtime) })
    }

    /// Makes spans of those of tracing.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
    {
        let tracer = self.provider.tracer("ordermesh");
        tracing_opentelemetry::layer().with_tracer(tracer).with_filter(filter_fn(is_exported))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST) {
            tracing::warn!(%error, "the last spans were not sent");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Requests, calls and what is logged about them; and each message, which is too much for a log.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    let message = metadata.is_span() && metadata.target().starts_with("messaging");
    message || *metadata.level() <= Level::INFO
}
