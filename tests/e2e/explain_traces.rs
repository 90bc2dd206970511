//! The stations of an order have the traces of the requests that have caused them.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    explain::explain,
    mesh::{EMBEDDED, Mesh},
    paused::Paused,
};

const PLACED_IN: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CANCELLED_IN: &str = "1af7651916cd43dd8448eb211c80319c";

/// Calls the edge within this trace.
async fn call(mesh: &Mesh, path: &str, body: Value, trace: &str) -> Result<Value> {
    let call = mesh.api.request(Method::POST, path);
    let call = call.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let answer = world::answer(call.json(&body)).await?;
    ensure!(answer.status == 200, "{}", answer.text);
    Ok(answer.body)
}

/// The trace of a station.
fn trace(explained: &Value, name: &str) -> Result<Option<String>> {
    let mut stations = explained["stations"].as_array().context("stations")?.iter();
    let found = stations.find(|station| station["name"] == name).context("the station")?;
    Ok(found["traceId"].as_str().filter(|trace| !trace.is_empty()).map(str::to_owned))
}

#[tokio::test]
async fn a_cancellation_has_not_the_trace_of_the_placement() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 100).await?;
    let paused = Paused::consumer(&mesh, "payments", "", "a bad release").await?;
    let order = json!({ "userId": "alice", "amount": 1 });
    let placed = call(&mesh, "/gateway/orders", order, PLACED_IN).await?;
    let id = placed["id"].as_str().context("an id")?.to_owned();
    call(&mesh, &format!("/gateway/orders/{id}:cancel"), json!({}), CANCELLED_IN).await?;

    // Both messages wait in the outbox.
    let waiting = explain(&mesh, &id).await?;
    for (name, expected) in
        [("PLACED", PLACED_IN), ("CANCEL_REQUESTED", CANCELLED_IN), ("IN_OUTBOX", CANCELLED_IN)]
    {
        let found = trace(&waiting, name)?;
        ensure!(found.as_deref() == Some(expected), "{name}: {found:?}\n{waiting:#}");
    }
    paused.resume().await?;
    mesh.ended(&id).await?;
    mesh.at_rest().await?;
    // Nothing has kept it.
    let ended = explain(&mesh, &id).await?;
    ensure!(trace(&ended, "CANCEL_REQUESTED")?.is_none(), "{ended:#}");
    let of_order = trace(&ended, "PLACED")?;
    ensure!(of_order.is_none_or(|trace| trace == PLACED_IN), "{ended:#}");
    Ok(())
}
