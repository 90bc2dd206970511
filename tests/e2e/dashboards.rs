//! Dashboards and alerts of deploy/, as Prometheus and Grafana's own types take them: each of their metrics and labels is on a running mesh.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use ordermesh::orders::v1::{GetOrderRequest, orders_service_client::OrdersServiceClient};
use sea_orm::{ConnectionTrait as _, Database, DatabaseTransaction, TransactionTrait as _};
use serde_json::Value;
use tokio::process::Command;
use world::{Api, Certificates, PATIENCE, Process, Program, Prometheus, eventually};

use crate::mesh::{APART, EMBEDDED, Mesh};

const UNKNOWN_ORDER: &str = "0190163d-8694-739b-aea5-966c26f8ad90";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn deployed(name: &str) -> Result<String> {
    fs::read_to_string(root().join("deploy/prometheus").join(name)).with_context(|| name.to_owned())
}

/// What dashboards.py has read of deploy/.
pub(crate) async fn read() -> Result<Value> {
    let python = root().join("target/tools/python/bin/python");
    let mut reader = Command::new(python);
    reader.arg(root().join("tests/e2e/dashboards.py")).arg(root().join("deploy")).kill_on_drop(true);
    let output = reader.output().await.context("the Python packages are missing: run scripts/setup")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

pub(crate) fn list<'v>(value: &'v Value, name: &str) -> Result<&'v Vec<Value>> {
    value[name].as_array().with_context(|| format!("a list {name} in {value}"))
}

#[tokio::test]
async fn dashboards_are_as_grafana_has_them() -> Result<()> {
    let read = read().await?;
    ensure!(list(&read, "problems")?.is_empty(), "{:#}", read["problems"]);
    let panels = list(&read, "panels")?.len();
    ensure!(panels > 50, "only {panels} queries were found");
    Ok(())
}

#[tokio::test]
async fn each_alert_is_shown_to_fire_and_to_be_silent() -> Result<()> {
    let rules = root().join("deploy/prometheus");
    for (arguments, file) in [
        (["check", "config"], "prometheus.yml"),
        (["check", "rules"], "rules.yml"),
        (["test", "rules"], "rules_test.yml"),
    ] {
        let mut promtool = Command::new("promtool");
        let checked = promtool.args(arguments).arg(rules.join(file)).output().await;
        let checked = checked.context("promtool is not installed: run scripts/setup")?;
        let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
        ensure!(checked.status.success() && said.contains("SUCCESS"), "{file}: {said}");
    }
    let read = read().await?;
    let alerts = list(&read, "alerts")?;
    ensure!(alerts.len() > 10, "{alerts:#?}");
    for alert in alerts {
        let times = |name: &str| alert[name].as_u64().unwrap_or_default();
        ensure!(times("fires") > 0 && times("is_silent") > 0, "rules_test.yml does not show both of {alert}");
        ensure!(["critical", "warning"].contains(&alert["severity"].as_str().unwrap_or_default()), "{alert}");
    }
    Ok(())
}

/// Every kind of process, each of which has something to do; and a Prometheus that looks at all of them as deploy/ says.
struct Watched {
    prometheus: Prometheus,
    /// Keeps an order waiting.
    _held: DatabaseTransaction,
    _meshes: [Mesh; 2],
    _gateways: [Process; 2],
    _certificates: Certificates,
}

impl Watched {
    async fn start() -> Result<Self> {
        let certificates = Certificates::make().await?;
        let tls = [("TLS_CERT", "gateway.crt"), ("TLS_KEY", "gateway.key")];
        let tls = tls.map(|(name, file)| (name, certificates.file(file)));
        let (mut alone, mut secured) = (gateway(&[])?, gateway(&tls)?);
        let (mesh, embedded) = (Mesh::start(APART).await?, Mesh::start(EMBEDDED).await?);
        // Nobody is at the last one, so that an alert fires.
        let mut targets = vec![alone.address("admin").await?.to_string(), "127.0.0.1:1".to_owned()];
        for (mesh, process) in
            [(&mesh, "orders"), (&mesh, "payments"), (&mesh, "gateway"), (&embedded, "orders")]
        {
            targets.push(mesh.admin(process)?.base().trim_start_matches("http://").to_owned());
        }
        let with_tls = format!(
            "      - targets: [\"{}\"]\n        labels: {{ __scheme__: https }}\n    tls_config: {{ ca_file: {} }}\n",
            secured.address("admin").await?,
            certificates.file("ca.crt")
        );
        let prometheus = prometheus(&targets, &with_tls).await?;
        requests_that_fail(&mut alone).await?;
        orders(&mesh).await?;
        orders(&embedded).await?;
        let held = order_that_waits(&mesh).await?;
        let (meshes, gateways) = ([mesh, embedded], [alone, secured]);
        Ok(Self {
            prometheus,
            _held: held,
            _meshes: meshes,
            _gateways: gateways,
            _certificates: certificates,
        })
    }
}

/// An edge whose services are away.
fn gateway(env: &[(&str, String)]) -> Result<Process> {
    let nobody = ["--orders-url", "http://127.0.0.1:1", "--payments-url", "http://127.0.0.1:1"];
    let program = Program::named("gateway")?.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    env.iter().fold(program.args(nobody), |program, (name, value)| program.env(name, value)).start()
}

/// With the configuration of deploy/, but for whom it looks at and how often; and alerts on what does not work fire at once.
async fn prometheus(targets: &[String], with_tls: &str) -> Result<Prometheus> {
    let (mut config, rules) = (deployed("prometheus.yml")?, deployed("rules.yml")?);
    let names =
        ["gateway:9090", "orders:9090", "payments:9090"].map(|target| format!("          - {target}\n"));
    let ours: String = targets.iter().map(|target| format!("          - {target}\n")).collect();
    for (before, after) in [
        ("scrape_interval: 15s", "scrape_interval: 1s"),
        ("evaluation_interval: 15s", "evaluation_interval: 1s"),
        (names.concat().as_str(), (ours + with_tls).as_str()),
    ] {
        ensure!(config.contains(before), "no {before:?} in {config}");
        config = config.replace(before, after);
    }
    Prometheus::start(&config, &[("rules.yml", &rules.replace("for: 2m", "for: 1s"))]).await
}

async fn requests_that_fail(alone: &mut Process) -> Result<()> {
    let url = format!("http://{}", alone.address("http").await?);
    let answer = Api::new(url.clone())?.get(&format!("/gateway/orders/{UNKNOWN_ORDER}")).await?;
    ensure!(answer.status == 503, "{}", answer.text);
    let request = GetOrderRequest { order_id: UNKNOWN_ORDER.to_owned() };
    OrdersServiceClient::connect(url).await?.get_order(request).await.err().context("nobody is there")?;
    Ok(())
}

async fn orders(mesh: &Mesh) -> Result<()> {
    mesh.account("alice", 1_000).await?;
    let id = mesh.order("alice", 1).await?;
    mesh.ended(&id).await?;
    let mut client = OrdersServiceClient::connect(mesh.api.base().to_owned()).await?;
    client.get_order(GetOrderRequest { order_id: id }).await?;
    Ok(())
}

/// Somebody holds the account of an order.
async fn order_that_waits(mesh: &Mesh) -> Result<DatabaseTransaction> {
    mesh.account("bob", 1).await?;
    let held = Database::connect(mesh.database_url("payments")).await?.begin().await?;
    held.execute_unprepared("SELECT 1 FROM accounts WHERE user_id = 'bob' FOR UPDATE").await?;
    mesh.order("bob", 1).await?;
    Ok(held)
}

#[tokio::test]
async fn each_metric_and_label_is_on_a_running_mesh() -> Result<()> {
    let read = read().await?;
    let watched = Watched::start().await?;
    eventually("every series of the dashboards and alerts", 2 * PATIENCE, async || {
        let mut missing = BTreeSet::new();
        for query in list(&read, "panels")?.iter().chain(list(&read, "rules")?) {
            missing.extend(missing_series(&watched.prometheus, query).await?);
        }
        ensure!(missing.is_empty(), "{missing:#?} are not there");
        // All of it is there; a rate needs a second look at it.
        for panel in list(&read, "panels")? {
            let expression = panel["expression"].as_str().context("text")?;
            let series = watched.prometheus.query(expression).await?;
            ensure!(!series.is_empty(), "{} shows nothing: {expression}", panel["where"]);
        }
        Ok(())
    })
    .await
}

/// What a query takes and nobody has: metrics with these values of labels, and labels of them.
async fn missing_series(prometheus: &Prometheus, query: &Value) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for selector in list(query, "selectors")? {
        let text = selector["selector"].as_str().context("text")?;
        let series = prometheus.query(text).await?;
        if series.is_empty() {
            missing.push(format!("{text} of {}", query["where"]));
        }
        let labels: Vec<&str> = list(selector, "labels")?.iter().filter_map(Value::as_str).collect();
        let has_all = |series: &Value| labels.iter().all(|label| series[*label].is_string());
        if !series.is_empty() && !series.iter().any(has_all) {
            missing.push(format!("{labels:?} of {text} of {}", query["where"]));
        }
    }
    Ok(missing)
}
