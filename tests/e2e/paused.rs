//! A consumer that an operator has paused, so that a test sees what waits for it.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use world::{Api, PATIENCE, eventually};

use crate::mesh::{ADMIN_TOKEN, Mesh};

/// A pause, until it is ended.
pub(crate) struct Paused {
    operator: Api,
    /// Of all pauses of its service.
    path: String,
    number: String,
}

impl Paused {
    /// The consumer of a service, or one kind of its messages where it is not empty. Its process says so by then.
    pub(crate) async fn consumer(mesh: &Mesh, service: &str, kind: &str, reason: &str) -> Result<Self> {
        let operator = mesh.admin(service)?.with_token(ADMIN_TOKEN);
        let path = format!("/admin/v1/{service}/pauses");
        let pause = json!({ "part": "CONSUMER", "kind": kind, "reason": reason, "operator": "olga" });
        let paused = operator.post(&path, &pause).await?;
        let number = paused.body["sequence"].as_str().with_context(|| paused.text.clone())?.to_owned();
        let part =
            if kind.is_empty() { format!("{service}.consumer.0") } else { format!("{service}.kind.{kind}") };
        eventually("the pause", PATIENCE, async || {
            let ready = operator.get("/readyz").await?;
            ensure!(ready.body["states"][&part] == "paused", "{}", ready.text);
            anyhow::Ok(())
        })
        .await?;
        Ok(Self { operator, path, number })
    }

    /// Ends it.
    pub(crate) async fn resume(self) -> Result<()> {
        let path = format!("{}/{}:resume", self.path, self.number);
        let resumed = self.operator.post(&path, &json!({ "operator": "olga" })).await?;
        ensure!(resumed.status == 200, "{}", resumed.text);
        Ok(())
    }
}
