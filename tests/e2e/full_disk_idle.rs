//! A disk that is full while nobody calls: what is acknowledged once it has space again is kept, whatever happens to the process.

use anyhow::{Result, ensure};
use serde_json::json;
use world::{PATIENCE, SmallDisk, eventually};

use crate::mesh::Mesh;

const WRITES: usize = 25;

#[tokio::test]
async fn what_is_acknowledged_after_an_outage_survives_a_crash() -> Result<()> {
    let disk = SmallDisk::mount("mesh", 16 << 10)?;
    let mut mesh = Mesh::start_in(disk.path()).await?;
    mesh.account("alice", 1_000).await?;
    let first = mesh.order("alice", 1).await?;
    mesh.ended(&first).await?;

    disk.fill()?;
    // Nobody calls: the leases cannot be renewed, for several attempts.
    eventually("several renewals to fail", 3 * PATIENCE, async || {
        let failed = mesh.processes[0].output().matches("a lease could not be renewed").count();
        ensure!(failed >= 2, "{failed} have failed");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    ready(&mesh, 503).await?;
    let refused = mesh.api.post("/gateway/orders", &json!({ "userId": "alice", "amount": 1 })).await?;
    let reason = &refused.body["error"]["details"][0]["reason"];
    ensure!(refused.status == 503 && reason == "STORAGE_FULL", "{} {}", refused.status, refused.text);
    ensure!(refused.header("retry-after") == Some("10"), "{:?}", refused.header("retry-after"));
    disk.free()?;
    ready(&mesh, 200).await?;

    let mut placed = vec![first];
    for _ in 0..WRITES {
        placed.push(mesh.order("alice", 1).await?);
        let path = "/gateway/payments/alice/top-up";
        let topped_up = mesh.api.post(path, &json!({ "amount": 100 })).await?;
        ensure!(topped_up.status == 200, "{}", topped_up.text);
    }
    mesh.processes[0].kill9().await?;
    mesh.start_again().await?;
    for id in &placed {
        ensure!(mesh.ended(id).await?["status"] == "FINISHED", "order {id} is not paid");
    }
    let expected = i64::try_from(1_000 + WRITES * 100 - placed.len())?;
    ensure!(mesh.balance("alice").await? == expected, "{}", mesh.balance("alice").await?);
    mesh.at_rest().await
}

async fn ready(mesh: &Mesh, status: u16) -> Result<()> {
    eventually("readiness to tell of the disk", PATIENCE, async || {
        let answer = mesh.admin("orders")?.get("/readyz").await?;
        ensure!(answer.status == status, "{} {}", answer.status, answer.text);
        Ok::<_, anyhow::Error>(())
    })
    .await
}
