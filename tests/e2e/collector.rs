//! A collector of OpenTelemetry: it takes spans over OTLP, and keeps them for a test.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value},
    trace::v1::{Span, status::StatusCode},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};
use world::{PATIENCE, eventually};

/// What was recorded of one span.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) service: String,
    pub(crate) name: String,
    /// In hexadecimal digits, as the next two.
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty when there is none.
    pub(crate) parent: String,
    pub(crate) attributes: Attributes,
    /// What tracing systems have added to the trace context.
    pub(crate) state: String,
    /// Whether its status is ERROR.
    pub(crate) is_error: bool,
    /// What its process has sent as `authorization`; empty when it has not.
    pub(crate) authorization: String,
}

/// Attributes that are texts; one that is absent is empty.
#[derive(Debug, Clone)]
pub(crate) struct Attributes(BTreeMap<String, String>);

impl Attributes {
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<Recorded>>>);

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Collector {
    address: SocketAddr,
    kept: Kept,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Collector {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, kept) = (listener.local_addr()?, Kept::default());
        let server = Server::builder().add_service(TraceServiceServer::new(kept.clone()));
        let serving = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        Ok(Self { address, kept, serving })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether nobody has sent a span.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.0.lock().is_ok_and(|kept| kept.is_empty())
    }

    /// Waits for a span.
    pub(crate) async fn span(
        &self,
        service: &str,
        name: &str,
        which: impl Fn(&Recorded) -> bool,
    ) -> Result<Recorded> {
        eventually(&format!("the span {name} of {service}"), PATIENCE, async || {
            let kept = self.kept.0.lock().map_err(|_| anyhow::anyhow!("the collector panicked"))?;
            let found = kept.iter().find(|span| span.service == service && span.name == name && which(span));
            found.cloned().with_context(|| format!("{} spans: {kept:?}", kept.len()))
        })
        .await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let authorization = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let authorization = authorization.unwrap_or_default().to_owned();
        let mut kept = self.0.lock().map_err(|_| Status::internal("poisoned"))?;
        for of_process in request.into_inner().resource_spans {
            let resource = of_process.resource.unwrap_or_default();
            let service = &texts(&resource.attributes).get("service.name").to_owned();
            let spans = of_process.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
            kept.extend(spans.map(|span| recorded(service, &authorization, &span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn recorded(service: &str, authorization: &str, span: &Span) -> Recorded {
    Recorded {
        service: service.to_owned(),
        name: span.name.clone(),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        attributes: texts(&span.attributes),
        state: span.trace_state.clone(),
        is_error: span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error),
        authorization: authorization.to_owned(),
    }
}

fn texts(attributes: &[KeyValue]) -> Attributes {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some((attribute.key.clone(), text.clone())),
        _ => None,
    };
    Attributes(attributes.iter().filter_map(text).collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
