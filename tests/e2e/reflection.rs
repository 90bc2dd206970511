//! Reflection, as grpcurl uses it: a client in another language lists both services and calls them by it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::mesh::{EMBEDDED, Mesh};

#[tokio::test]
async fn a_foreign_client_learns_and_calls_both_services() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../target/tools/python/bin/python");
    ensure!(python.is_file(), "{} is missing: run scripts/setup", python.display());
    let client = Command::new(python)
        .arg(root.join("e2e/reflection.py"))
        .args([mesh.orders.to_string(), mesh.payments.to_string()])
        .kill_on_drop(true)
        .output()
        .await?;
    let errors = String::from_utf8_lossy(&client.stderr);
    ensure!(client.status.success(), "{errors}");
    let saw: Value = serde_json::from_slice(&client.stdout).with_context(|| errors.into_owned())?;

    let (health, audit) = ("grpc.health.v1.Health", "ordermesh.audit.v1.AuditService");
    let operator = "ordermesh.messaging.v1.MessagingAdminService";
    let pauses = "ordermesh.messaging.v1.PausesService";
    let services = json!([
        [
            health,
            audit,
            operator,
            pauses,
            "ordermesh.orders.v1.OrdersAdminService",
            "ordermesh.orders.v1.OrdersService"
        ],
        [
            health,
            audit,
            operator,
            pauses,
            "ordermesh.payments.v1.PaymentsAdminService",
            "ordermesh.payments.v1.PaymentsService"
        ],
    ]);
    ensure!(saw["services"] == services && saw["services_by_v1"] == services, "{saw:#}");
    ensure!(saw["health"] == json!(["SERVING", "SERVING"]), "{saw:#}");
    ensure!(saw["order"]["status"] == "FINISHED" && saw["listed"][0] == saw["order"], "{saw:#}");
    ensure!(saw["payment"]["outcome"] == "PAID" && saw["account"]["balance"] == "70", "{saw:#}");
    // What the edge says is the ProtoJSON of what gRPC says.
    let id = saw["order"]["id"].as_str().context("an order has an id")?;
    let over_http = mesh.api.get(&format!("/gateway/orders/{id}")).await?;
    ensure!(over_http.body == saw["order"], "{} is not {}", over_http.text, saw["order"]);
    mesh.at_rest().await
}
