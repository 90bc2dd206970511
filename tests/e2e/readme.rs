//! The README's scenario, run as it stands there, against the embedded defaults.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::process::Command;
use world::{Program, Scratch, eventually};

use crate::mesh::{EMBEDDED, Mesh};

/// How the README makes a token.
const TOKEN: &str = "cargo run --quiet --release -- token";

/// What the README promises.
const A_SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn the_curl_scenario_does_what_it_says() -> Result<()> {
    scenario_does_what_it_says(&[]).await
}

/// The same commands, where callers need tokens.
#[tokio::test]
async fn the_curl_scenario_does_so_with_tokens() -> Result<()> {
    scenario_does_what_it_says(&[("AUTH", "dev".to_owned())]).await
}

async fn scenario_does_what_it_says(env: &[(&'static str, String)]) -> Result<()> {
    let data = Scratch::new("readme")?;
    let data_dir = [("DATA_DIR", data.path().display().to_string())];
    let mut mesh = Mesh::start_with(EMBEDDED, &[env, &data_dir].concat()).await?;
    let binary = Program::named("ordermesh")?.binary().display().to_string();
    let token = format!("DATA_DIR={} {binary} token", data_dir[0].1);
    let script = scenario()?.replace("http://127.0.0.1:8080", mesh.api.base());
    ensure!(script.contains(TOKEN), "{script}");
    let script = script.replace(TOKEN, &token);
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

    if !env.is_empty() {
        ensure!(mesh.api.get("/gateway/orders").await?.status == 401);
        let operator = format!("{token} --user olga --scope admin:read");
        let minted = Command::new("bash").args(["-euc", &operator]).output();
        let minted = String::from_utf8(minted.await?.stdout)?;
        mesh.api = mesh.api.with_token(minted.trim());
    }
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
