//! What `ordermesh up` says first: the line to try works as it stands.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use world::{Certificates, PATIENCE, Program, Scratch, eventually};

const ANYWHERE: [&str; 8] = [
    "--http",
    "127.0.0.1:0",
    "--orders-grpc",
    "127.0.0.1:0",
    "--payments-grpc",
    "127.0.0.1:0",
    "--admin",
    "127.0.0.1:0",
];

/// Starts the mesh with these flags, and runs what it says to try.
async fn tried(flags: &[&str]) -> Result<()> {
    let process =
        Program::named("ordermesh")?.args(["up"]).args(ANYWHERE).args(flags.iter().copied()).start()?;
    eventually("the line to try", PATIENCE, async || {
        ensure!(process.output().lines().any(|line| line.starts_with("try: ")), "{}", process.output());
        anyhow::Ok(())
    })
    .await?;
    let said = process.output();
    let line = said.lines().find_map(|line| line.strip_prefix("try: ")).context("a line")?;
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", line]).env("no_proxy", "*").kill_on_drop(true).output().await?;
    let body = String::from_utf8_lossy(&output.stdout).into_owned();
    let account = serde_json::from_str::<serde_json::Value>(&body);
    let account =
        account.with_context(|| format!("{line}: {body} {}", String::from_utf8_lossy(&output.stderr)))?;
    ensure!(account["userId"] == "alice", "{line}: {account}");
    Ok(())
}

#[tokio::test]
async fn it_works_with_tokens_and_tls() -> Result<()> {
    let (certificates, scratch) = (Certificates::make().await?, Scratch::new("greeting")?);
    let data = |name: &str| scratch.path().join(name).display().to_string();
    let [cert, key, ca] = ["gateway.crt", "gateway.key", "ca.crt"].map(|name| certificates.file(name));
    tried(&["--data-dir", &data("it's here"), "--auth", "dev"]).await?;
    let tls = ["--tls-cert", &cert, "--tls-key", &key];
    tried(&[&["--data-dir", &data("tls"), "--auth", "dev"][..], &tls].concat()).await?;
    tried(&[&["--data-dir", &data("clients"), "--tls-client-ca", &ca][..], &tls].concat()).await?;
    // Without its authority beside it.
    let [own, own_key] = ["own.crt", "own.key"].map(&data);
    fs::copy(&cert, &own)?;
    fs::copy(&key, &own_key)?;
    tried(&["--data-dir", &data("alone"), "--tls-cert", &own, "--tls-key", &own_key]).await
}
