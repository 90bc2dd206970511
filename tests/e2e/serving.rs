//! The edge serves by the same settings wherever it is: as a process of its own, and in one with the services.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::json;
use world::{Api, PATIENCE, Program, answer};

/// What `gateway` has alone: where its services are, and how many threads it has.
const OF_THE_GATEWAY: [&str; 10] = [
    "--listen",
    "--orders-url",
    "--payments-url",
    "--upstream",
    "--descriptor-set",
    "--reflect-every",
    "--upstream-ca",
    "--upstream-cert",
    "--upstream-key",
    "--threads",
];

/// The flags in the help of a command.
async fn flags(program: &str, command: &[&str]) -> Result<BTreeSet<String>> {
    let mut help = Program::named(program)?.args(command.iter().copied()).args(["--help"]).start()?;
    help.wait(PATIENCE).await?;
    let output = help.output();
    let words = output.lines().filter_map(|line| line.split_whitespace().next());
    Ok(words.filter(|word| word.starts_with("--")).map(str::to_owned).collect())
}

#[tokio::test]
async fn the_mesh_has_every_setting_of_an_edge_that_is_no_place() -> Result<()> {
    let edge = flags("gateway", &[]).await?;
    let mesh = flags("ordermesh", &["up"]).await?;
    for flag in OF_THE_GATEWAY {
        ensure!(edge.contains(flag), "{flag} is no flag of gateway: {edge:?}");
    }
    let missing: Vec<&String> =
        edge.difference(&mesh).filter(|flag| !OF_THE_GATEWAY.contains(&flag.as_str())).collect();
    ensure!(missing.is_empty() && edge.len() > 30, "`ordermesh up` lacks {missing:?}");
    Ok(())
}

fn up(more: &[&str]) -> Result<Program> {
    let places = ["--http", "--orders-grpc", "--payments-grpc", "--admin"];
    let places = places.into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
    Ok(Program::named("ordermesh")?.args(["up"]).args(places).args(more.iter().copied()))
}

#[tokio::test]
async fn the_mesh_serves_within_its_limits() -> Result<()> {
    let limits = [
        ["--max-body-bytes", "200"],
        ["--method-limit", "ordermesh.payments.v1.PaymentsService/GetAccount=1"],
        ["--method-streams", "ordermesh.orders.v1.OrdersService/WatchOrders=1"],
        ["--trusted-proxies", "127.0.0.1"],
        ["--forward-headers", "x-tenant-id"],
    ];
    let mut process = up(limits.as_flattened())?.args(["--lenient", "--compress"]).start()?;
    let api = Api::new(format!("http://{}", process.address("http").await?))?;
    let of = |client: &str, path: &str| {
        api.request(reqwest::Method::GET, path).header("x-forwarded-for", client.to_owned())
    };
    let large = api.post("/gateway/payments", &json!({ "userId": "a".repeat(300) })).await?;
    ensure!(large.status == 413, "{}", large.text);
    // A name that nobody knows is passed over.
    let opened = api.post("/gateway/payments", &json!({ "userId": "alice", "colour": "red" })).await?;
    ensure!(
        opened.status == 200 && opened.header("x-ordermesh-ignored") == Some("account.colour"),
        "{}",
        opened.text
    );
    let mut statuses = Vec::new();
    for client in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
        statuses.push(answer(of(client, "/gateway/payments/alice")).await?.status);
    }
    ensure!(statuses == [200, 429, 200], "{statuses:?}");
    let watch = of("192.0.2.1", "/gateway/orders:watch").send().await?;
    let another = answer(of("192.0.2.1", "/gateway/orders:watch")).await?;
    ensure!(watch.status() == 200 && another.status == 429, "{}", another.text);
    ensure!(another.text.contains("--method-streams"), "{}", another.text);
    Ok(())
}

#[tokio::test]
async fn errors_in_them_are_named_together_with_the_others() -> Result<()> {
    let flags = ["--rate-limit=none", "--max-requests=0", "--trusted-proxies=me", "--amqp-url=what"];
    let mut process = up(&flags)?.start()?;
    ensure!(!process.wait(PATIENCE).await?.success());
    let output = process.output();
    for flag in ["--rate-limit: ", "--max-requests: ", "--trusted-proxies: ", "--amqp-url: "] {
        ensure!(output.contains(flag), "{flag} is missing: {output}");
    }
    Ok(())
}
