//! SIGTERM under load: what was accepted is answered, the process ends by itself and in time, and nothing is lost.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use serde_json::json;
use world::{PATIENCE, eventually};

use crate::mesh::{Arrangement, EMBEDDED, Mesh};

/// Well below the grace period after which a process is stuck.
const IN_TIME: Duration = Duration::from_secs(10);

#[tokio::test]
async fn embedded() -> Result<()> {
    stop_under_load(EMBEDDED).await
}

#[tokio::test]
async fn with_rabbitmq() -> Result<()> {
    stop_under_load(Arrangement { rabbitmq: true, ..EMBEDDED }).await
}

async fn stop_under_load(arrangement: Arrangement) -> Result<()> {
    let mut mesh = Mesh::start(arrangement).await?;
    mesh.account("alice", 1_000_000).await?;
    let api = Arc::new(mesh.api.clone());
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let api = Arc::clone(&api);
            tokio::spawn(async move {
                let order = json!({ "userId": "alice", "amount": 1 });
                let mut acknowledged = 0;
                // The end of the process is the end of the load: a refused connection, never a broken answer.
                while let Ok(answer) = api.post("/gateway/orders", &order).await {
                    ensure!(answer.status == 200, "{}", answer.text);
                    acknowledged += 1;
                }
                Ok(acknowledged)
            })
        })
        .collect();
    eventually("load", PATIENCE, async || {
        let placed = mesh.count("orders", "SELECT COUNT(*) FROM orders").await?;
        ensure!(placed >= 200, "{placed} orders are placed");
        anyhow::Ok(())
    })
    .await?;
    mesh.processes[0].terminate()?;
    let ended = mesh.processes[0].wait(IN_TIME).await?;
    ensure!(ended.success(), "{ended}: {}", mesh.processes[0].output());
    let mut acknowledged: i64 = 0;
    for client in join_all(clients).await {
        acknowledged += client??;
    }

    mesh.start_again().await?;
    eventually("the end of every order", PATIENCE, async || {
        let open = mesh.count("orders", "SELECT COUNT(*) FROM orders WHERE status = 1").await?;
        ensure!(open == 0, "{open} orders are still NEW");
        anyhow::Ok(())
    })
    .await?;
    let finished = mesh.count("orders", "SELECT COUNT(*) FROM orders WHERE status = 2").await?;
    // A client whose connection was closed between its request and the answer does not know: there may be more.
    ensure!(
        finished >= acknowledged && finished <= acknowledged + 8,
        "{finished} FINISHED, {acknowledged} acknowledged"
    );
    ensure!(mesh.balance("alice").await? == 1_000_000 - finished);
    mesh.at_rest().await
}
