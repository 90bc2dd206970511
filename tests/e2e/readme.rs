//! The README's scenario, run as it stands there, against the embedded defaults.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::process::Command;
use world::eventually;

use crate::mesh::{EMBEDDED, Mesh};

/// What the README promises.
const A_SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn the_curl_scenario_does_what_it_says() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    let script = scenario()?.replace("http://127.0.0.1:8080", mesh.api.base());
    let parts: Vec<&str> = script.split("\n\n").collect();
    let [edge, writes, reads, refused] = parts.as_slice() else {
        anyhow::bail!("{} parts: {script}", parts.len())
    };

    for answer in run(&[edge, writes]).await? {
        ensure!(answer["error"].is_null(), "{answer}");
    }
    let read = async || {
        let answers = run(&[edge, reads]).await?;
        let [orders, account] = answers.as_slice() else { anyhow::bail!("{answers:?}") };
        ensure!(
            orders["orders"][0]["status"] == "FINISHED" && account["balance"] == "700",
            "{orders} {account}"
        );
        Ok(())
    };
    eventually("the order of the README", A_SECOND, read).await?;

    for (answer, reason) in
        run(&[edge, refused]).await?.iter().zip(["INSUFFICIENT_FUNDS", "ACCOUNT_NOT_FOUND"])
    {
        let order = mesh.ended(answer["id"].as_str().with_context(|| answer.to_string())?).await?;
        ensure!(order["status"] == "CANCELLED" && order["cancelReason"] == reason, "{order}");
    }
    mesh.at_rest().await
}

/// The shell block of the README's section about curl.
fn scenario() -> Result<String> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"))?;
    let section = readme.split("## The scenario in curl").nth(1).context("the section is missing")?;
    let block = section.split("```sh\n").nth(1).and_then(|rest| rest.split("\n```").next());
    Ok(block.context("the section has no shell block")?.to_owned())
}

/// What the commands print: one JSON value each.
async fn run(parts: &[&str]) -> Result<Vec<Value>> {
    let output = Command::new("bash").args(["-euc", &parts.join("\n")]).kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let values = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    values.map(|value| value.context("no JSON")).collect()
}
