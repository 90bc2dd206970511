//! Reflection, as grpcurl uses it: a client in another language lists both services and calls them by it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::mesh::{EMBEDDED, Mesh};

const HEALTH: &str = "grpc.health.v1.Health";

/// What the client saw of who serves orders and of who serves payments.
async fn seen(orders: String, payments: String) -> Result<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../target/tools/python/bin/python");
    ensure!(python.is_file(), "{} is missing: run scripts/setup", python.display());
    let client = Command::new(python)
        .arg(root.join("e2e/reflection.py"))
        .args([orders, payments])
        .kill_on_drop(true)
        .output()
        .await?;
    let errors = String::from_utf8_lossy(&client.stderr);
    ensure!(client.status.success(), "{errors}");
    let saw: Value = serde_json::from_slice(&client.stdout).with_context(|| errors.into_owned())?;
    ensure!(saw["health"] == json!(["SERVING", "SERVING"]), "{saw:#}");
    ensure!(saw["order"]["status"] == "FINISHED" && saw["listed"][0] == saw["order"], "{saw:#}");
    ensure!(saw["payment"]["outcome"] == "PAID" && saw["account"]["balance"] == "70", "{saw:#}");
    Ok(saw)
}

/// Who has no way to the services learns from the edge what it serves, and calls it there.
#[tokio::test]
async fn a_foreign_client_learns_and_calls_both_services_at_the_edge() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    let edge = mesh.api.base().trim_start_matches("http://").to_owned();
    let saw = seen(edge.clone(), edge).await?;
    let services =
        json!([HEALTH, "ordermesh.orders.v1.OrdersService", "ordermesh.payments.v1.PaymentsService"]);
    let services = json!([services, services]);
    ensure!(saw["services"] == services && saw["services_by_v1"] == services, "{saw:#}");
    mesh.at_rest().await
}

#[tokio::test]
async fn a_foreign_client_learns_and_calls_both_services() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    let saw = seen(mesh.orders.to_string(), mesh.payments.to_string()).await?;
    let audit = "ordermesh.audit.v1.AuditService";
    let operator = "ordermesh.messaging.v1.MessagingAdminService";
    let pauses = "ordermesh.messaging.v1.PausesService";
    let services = json!([
        [
            HEALTH,
            audit,
            operator,
            pauses,
            "ordermesh.orders.v1.OrdersAdminService",
            "ordermesh.orders.v1.OrdersService"
        ],
        [
            HEALTH,
            audit,
            operator,
            pauses,
            "ordermesh.payments.v1.PaymentsAdminService",
            "ordermesh.payments.v1.PaymentsService"
        ],
    ]);
    ensure!(saw["services"] == services && saw["services_by_v1"] == services, "{saw:#}");
    // What the edge says is the ProtoJSON of what gRPC says.
    let id = saw["order"]["id"].as_str().context("an order has an id")?;
    let over_http = mesh.api.get(&format!("/gateway/orders/{id}")).await?;
    ensure!(over_http.body == saw["order"], "{} is not {}", over_http.text, saw["order"]);
    mesh.at_rest().await
}
