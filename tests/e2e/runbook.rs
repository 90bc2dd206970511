//! docs/RUNBOOK.md: a section for each alert, and every line of it as it stands there.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use world::{PATIENCE, Program, eventually};

use crate::{
    admin_cli::{POISON, operator},
    admin_json::admin,
    dashboards::{list, read},
    mesh::{ADMIN_TOKEN, Arrangement, EMBEDDED, Mesh},
};

fn page() -> Result<String> {
    Ok(fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/RUNBOOK.md"))?)
}

/// The sections of second level: what is above, and what is below.
fn sections(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.split("\n## ").skip(1).filter_map(|section| section.split_once('\n'))
}

#[tokio::test]
async fn each_alert_has_a_section_and_each_section_an_alert() -> Result<()> {
    let (page, read) = (page()?, read().await?);
    let titles: Vec<&str> = sections(&page).map(|(title, _)| title).collect();
    let mut names = BTreeSet::new();
    for alert in list(&read, "alerts")? {
        let name = alert["name"].as_str().context("a name")?;
        ensure!(names.insert(name), "{name} is there twice");
        let anchor = format!("docs/RUNBOOK.md#{}", name.to_lowercase());
        ensure!(alert["runbook"] == anchor, "{name}: {} and not {anchor}", alert["runbook"]);
    }
    let once: BTreeSet<&str> = titles.iter().copied().collect();
    ensure!(once.len() == titles.len(), "a section is there twice: {titles:?}");
    ensure!(once == names, "sections {once:?}, alerts {names:?}");
    for (title, text) in sections(&page) {
        for part in ["**Means**", "**Users notice**", "**Look**", "**Mend**", "**Over**"] {
            ensure!(text.matches(part).count() == 1, "{title}: {part}");
        }
        ensure!(text.contains("```sh\n"), "{title}: nothing to look with");
    }
    Ok(())
}

/// What the variables of the page stand for on a mesh where something is parked, paused and sent back.
async fn variables(mesh: &Mesh) -> Result<Vec<(&'static str, String)>> {
    mesh.tamper("payments", POISON).await?;
    mesh.account("poison", 10).await?;
    let order = mesh.order("poison", 1).await?;
    let parked = eventually("a parked message", PATIENCE, async || {
        let parked = admin(mesh, "payments", "/parked").await?;
        ensure!(parked["messages"][0]["state"] == "PARKED", "{parked}");
        Ok(parked["messages"][0].clone())
    })
    .await?;
    let api = mesh.admin("payments")?.with_token(ADMIN_TOKEN);
    let by = json!({"operator": "olga", "reason": "a bad release"});
    let mut pause = by.clone();
    pause["part"] = json!("RELAY");
    let paused = api.post("/admin/v1/payments/pauses", &pause).await?;
    let started = api.post("/admin/v1/payments/redrives", &by).await?;
    let text = |value: &Value| value.as_str().map(str::to_owned).with_context(|| format!("no text: {value}"));
    let base = mesh.admin("payments")?.base();
    let mut variables = vec![
        ("ORDER", order),
        ("SEQUENCE", text(&parked["sequence"])?),
        ("CAUSE", text(&parked["cause"])?),
        ("PAUSE", text(&paused.body["sequence"])?),
        ("REDRIVE", text(&started.body["redriveId"])?),
    ];
    variables.extend(["ORDERS_ADMIN", "PAYMENTS_ADMIN", "GATEWAY_ADMIN"].map(|name| (name, base.to_owned())));
    Ok(variables)
}

#[tokio::test]
async fn every_line_does_what_it_is_for() -> Result<()> {
    let (page, mesh) = (page()?, Mesh::start(Arrangement { rabbitmq: true, ..EMBEDDED }).await?);
    let variables = variables(&mesh).await?;
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let lines: Vec<&str> = blocks.flat_map(str::lines).collect();
    ensure!(lines.len() > 30, "{lines:?}");
    let folder = Program::named("ordermesh")?.binary().parent().context("a folder")?.display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH")?);
    let run = async |line: &str| {
        let mut shell = operator(&mesh, "bash");
        shell.envs(variables.clone()).env("PATH", &path).args(["-uo", "pipefail", "-c", line]);
        let output = shell.output().await?;
        let (text, status) = (String::from_utf8_lossy(&output.stdout), output.status.code());
        // 3: somebody has to look.
        let fine = if line.starts_with("ordermesh") { [Some(0), Some(3)] } else { [Some(0); 2] };
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(fine.contains(&status), "{line}: {status:?} {text}{error}");
        anyhow::Ok(text.into_owned())
    };
    for line in lines {
        // Some metrics are of what is looked up every few seconds, first some time after the start.
        let is_of_metrics = line.contains("/metrics |");
        let text = if is_of_metrics {
            eventually(line, PATIENCE, async || run(line).await).await?
        } else {
            run(line).await?
        };
        if line.contains("/admin/v1/") {
            let answer: Value = serde_json::from_str(&text).with_context(|| format!("{line}: {text}"))?;
            // A problem has a status as a number.
            ensure!(!answer["status"].is_u64(), "{line}: {answer:#}");
        }
    }
    Ok(())
}
