//! Spans over TLS, to a collector that shares no code with ours.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use world::{Certificates, Process, Program};

use crate::mesh::{EMBEDDED, Mesh};

/// A collector with a certificate, which takes batches from who has one of its authority: the process, and its URL.
async fn collector(certificates: &Certificates) -> Result<(Process, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../target/tools/python/bin/python");
    ensure!(python.is_file(), "{} is missing: run scripts/setup", python.display());
    let files = ["ca.crt", "payments.crt", "payments.key"].map(|file| certificates.file(file));
    let script = root.join("e2e/spans_over_tls.py").display().to_string();
    let mut process = Program::at(&python).args([script]).args(files).start()?;
    let port = process.line("port ").await?;
    let port = port.strip_prefix("port ").context("a port")?.trim().to_owned();
    Ok((process, format!("https://localhost:{port}")))
}

/// A call by a mesh that exports to this collector, believes this authority, and ends.
async fn call(url: &str, believed: &Certificates, shown: &Certificates) -> Result<()> {
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.to_owned()),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", believed.file("ca.crt")),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", shown.file("orders.crt")),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", shown.file("orders.key")),
    ];
    let mut mesh = Mesh::start_with(EMBEDDED, &env).await?;
    ensure!(mesh.api.get("/gateway/payments/nobody").await?.status == 404);
    // The last spans are sent before the end.
    mesh.stop().await
}

#[tokio::test]
async fn they_go_to_a_collector_that_is_believed_and_knows_who_sends_them() -> Result<()> {
    let (ours, others) = (Certificates::make().await?, Certificates::make().await?);
    let (mut collector, url) = collector(&ours).await?;
    call(&url, &others, &ours).await?;
    call(&url, &ours, &others).await?;
    ensure!(!collector.output().contains("batch"), "{}", collector.output());
    call(&url, &ours, &ours).await?;
    let batch = collector.line_with("GetAccount").await?;
    ensure!(batch == "batch of orders with GetAccount", "{batch}");
    Ok(())
}
