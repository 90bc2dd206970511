//! `ordermesh admin`, and the lines of docs/ADMIN.md as they stand there.

use std::{collections::BTreeSet, path::Path, process::Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use world::{PATIENCE, Program, eventually};

use crate::{
    admin_json::admin,
    mesh::{ADMIN_TOKEN, EMBEDDED, Mesh},
};

/// Payments on SQLite cannot handle the orders of the user `poison`.
pub(crate) const POISON: &str = "CREATE TRIGGER hinder BEFORE INSERT ON payments WHEN NEW.user_id = 'poison'
        BEGIN SELECT RAISE(ABORT, 'the poison works'); END";

/// A command of the operator's, by the addresses of a mesh.
pub(crate) fn operator(mesh: &Mesh, program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("ORDERS_URL", format!("http://{}", mesh.orders))
        .env("PAYMENTS_URL", format!("http://{}", mesh.payments))
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .kill_on_drop(true);
    command
}

/// What a command prints, and its exit status.
pub(crate) async fn run(mesh: &Mesh, line: &str) -> Result<(String, i32)> {
    let binary = Program::named("ordermesh")?.binary().display().to_string();
    let output: Output = operator(mesh, &binary).args(line.split(' ')).output().await?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((text, output.status.code().context("it has ended by itself")?))
}

/// A line that succeeds and says this.
pub(crate) async fn says(mesh: &Mesh, line: &str, status: i32, texts: &[&str]) -> Result<()> {
    let (output, code) = run(mesh, line).await?;
    ensure!(code == status, "{line}: {code}\n{output}");
    for text in texts {
        ensure!(output.contains(text), "{line} does not say {text:?}:\n{output}");
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_asks_and_acts() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 100).await?;
    let id = mesh.order("alice", 30).await?;
    mesh.ended(&id).await?;
    mesh.at_rest().await?;

    says(&mesh, &format!("admin explain {id}"), 0, &[&id, "FINISHED", "decision published", "PAID"]).await?;
    let (line, code) = run(&mesh, &format!("admin --json explain {id}")).await?;
    let explained: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
    let over_http = admin(&mesh, "orders", &format!("/{id}:explain")).await?;
    ensure!(code == 0 && explained["orders"]["order"] == over_http["order"], "{explained:#}\n{over_http:#}");
    says(&mesh, "admin explain nothing", 1, &["there is no order nothing"]).await?;
    let status = ["service", "orders", "payments", "dead letters", "relay", "lease of", "consumer.0", "ok"];
    let builds = [chassis::version::VERSION, chassis::version::BUILD, "host", "seen"];
    says(&mesh, "admin status", 0, &builds).await?;
    says(&mesh, "admin status", 0, &status).await?;
    says(&mesh, "status", 0, &["service", "orders", "payments", "dead letters"]).await?;
    says(&mesh, "status --json", 0, &["{\"orders\":{"]).await?;
    says(&mesh, "admin audit --service payments", 0, &["TOP_UP", "ORDER_DEBIT", &id]).await?;
    let refused = ["in capitals, such as TOP_UP", "INVALID_FILTER", "orders and payments refused it"];
    says(&mesh, "admin audit --filter action=redrive", 1, &refused).await?;
    says(&mesh, "admin accounts --limit 1", 0, &["alice", "70", "RUB"]).await?;
    says(&mesh, "admin reconciliation", 0, &["RUB", "100", "difference"]).await?;
    says(&mesh, "admin status --admin-token guess", 1, &[]).await?;
    says(&mesh, "admin what", 2, &["unrecognized subcommand"]).await?;
    for list in ["parked list", "parked groups", "jobs list", "audit", "accounts"] {
        says(&mesh, &format!("admin {list} --limit 0"), 2, &["--limit"]).await?;
    }
    for shell in ["bash", "zsh", "fish"] {
        says(&mesh, &format!("completions {shell}"), 0, &["ordermesh", "reconciliation"]).await?;
    }
    what_is_away(&mesh).await?;
    what_is_frozen(&mesh).await?;
    what_is_parked(&mesh).await?;
    has_one_shape(&mesh, &id).await?;
    the_page(&mesh, &id).await
}

async fn what_is_parked(mesh: &Mesh) -> Result<()> {
    says(mesh, "admin parked list", 0, &["number"]).await?;
    mesh.tamper("payments", POISON).await?;
    mesh.account("poison", 10).await?;
    let id = mesh.order("poison", 1).await?;
    let number = eventually("a parked message", PATIENCE, async || {
        let parked = admin(mesh, "payments", "/parked").await?;
        ensure!(parked["messages"][0]["state"] == "PARKED", "{parked}");
        parked["messages"][0]["sequence"].as_str().map(str::to_owned).context("a number")
    })
    .await?;
    says(mesh, "admin parked list --service payments", 3, &["OrderPlaced", "poison", "the poison works"])
        .await?;
    says(mesh, "admin parked list --key nobody --state parked --since 2026-01-31T12:00:00Z", 0, &["number"])
        .await?;
    says(mesh, "admin parked groups", 3, &["messages", "example", "OrderPlaced", "the poison works"]).await?;
    says(mesh, &format!("admin explain {id}"), 3, &["PARKED: payments has parked its OrderPlaced"]).await?;
    says(mesh, "admin status", 3, &["payments", "waiting"]).await?;
    what_nobody_reads(mesh).await?;
    let (preview, redrive) = (
        "admin parked preview --service payments",
        "admin parked redrive --service payments --operator olga",
    );
    says(mesh, preview, 3, &["parked again", "the poison works"]).await?;
    says(mesh, redrive, 3, &["redrive 1 of 1 messages of payments, finished: 0 done, 1 parked again"])
        .await?;
    mesh.tamper("payments", "DROP TRIGGER hinder").await?;
    says(mesh, preview, 0, &["accounts, ledger_entries, payments", "PaymentDecided", "1 would be done"])
        .await?;
    what_is_edited(mesh, &number).await?;
    says(mesh, &format!("{redrive} --dry-run"), 0, &["1 messages would be sent back to payments"]).await?;
    says(mesh, &format!("{redrive} --kind other"), 1, &["no kind", "ordermesh.orders.v1.OrderPlaced"])
        .await?;
    says(mesh, "admin parked list --kind OrderPlaced", 3, &["OrderPlaced", "poison"]).await?;
    says(mesh, &format!("{redrive} --key nobody"), 0, &["redrive 2 of 0 messages", "nothing meets it"])
        .await?;
    what_waits_for_a_pause(mesh, redrive).await?;
    let order = mesh.ended(&id).await?;
    ensure!(order["status"] == "FINISHED", "{order}");
    says(mesh, "admin jobs list --service payments", 0, &["finished", "stopped", "by ordermesh admin"])
        .await?;
    says(
        mesh,
        "admin audit --service payments --limit 9",
        0,
        &["REDRIVE", "PAUSE", "STOP_REDRIVE", "olga", "reason", "by ordermesh admin"],
    )
    .await
}

async fn what_is_edited(mesh: &Mesh, number: &str) -> Result<()> {
    let edit =
        format!("admin parked edit {number} --service payments --operator olga --reason wrong --patch");
    says(mesh, &format!("{edit} {{\"amount\":\"1\"}}"), 1, &["changes nothing"]).await?;
    says(mesh, &format!("{edit} {{\"colour\":1}}"), 1, &["has no field", "colour"]).await?;
    says(mesh, &format!("{edit} [1]"), 1, &["is no JSON object"]).await?;
    let edited = ["would be", "\"amount\":\"2\"", "and was", "\"amount\":\"1\""];
    says(mesh, &format!("{edit} {{\"amount\":\"2\"}} --dry-run"), 0, &edited).await?;
    let discard =
        format!("admin parked discard --service payments --operator olga --reason none --sequence {number}");
    says(mesh, &format!("{discard} --dry-run --first 1"), 0, &["1 messages of payments would be discarded"])
        .await?;
    says(mesh, "admin parked discard --service payments --operator olga --reason none", 1, &["a condition"])
        .await
}

/// A redrive of what is paused waits, can be stopped, and is done once the pause is over.
async fn what_waits_for_a_pause(mesh: &Mesh, redrive: &str) -> Result<()> {
    let create =
        "admin pauses create consumer --service payments --operator olga --reason none --request-id monday";
    says(mesh, create, 0, &["pause 1 of payments has begun"]).await?;
    says(mesh, create, 0, &["pause 1 of payments had begun with this --request-id, and goes on"]).await?;
    says(mesh, "admin pauses list", 0, &["payments", "consumer", "olga"]).await?;
    let (line, code) = run(mesh, &format!("{redrive} --json --no-wait")).await?;
    let started = &serde_json::from_str::<Value>(&line).with_context(|| line.clone())?["payments"];
    ensure!(code == 0 && started["redriveId"] == "3" && started["left"] == "1", "{started}");
    let taken = ["redrive 4 of 0 messages", "all that meets it is passed over", "1 another redrive has"];
    says(mesh, redrive, 3, &taken).await?;
    let (line, _) = run(mesh, &format!("{redrive} --dry-run --json")).await?;
    let counted = &serde_json::from_str::<Value>(&line).with_context(|| line.clone())?["payments"];
    ensure!(counted["redriven"] != "1" && counted["passedOver"]["ofAnotherRedrive"] == 1, "{counted}");
    let stop = "admin jobs stop 3 --service payments --operator olga";
    says(mesh, stop, 0, &["redrive 3 of 1 messages of payments, stopped: 0 done, 0 parked again, 1 left"])
        .await?;
    says(mesh, "admin jobs watch 3 --service payments", 3, &["stopped"]).await?;
    says(mesh, "admin pauses remove 1 --service payments --operator olga", 0, &["is over"]).await?;
    says(mesh, "admin pauses remove 1 --service payments --operator olga", 1, &["there is no pause 1"])
        .await?;
    says(mesh, create, 3, &["pause 1 of payments had begun", "is over: nothing was paused"]).await?;
    let (line, code) = run(mesh, &format!("{redrive} --json")).await?;
    // Behind it may stand, on standard error, that the pause was not over yet.
    let first = line.lines().next().unwrap_or_default();
    let ended = &serde_json::from_str::<Value>(first).with_context(|| line.clone())?["payments"];
    ensure!(code == 0 && ended["state"] == "FINISHED" && ended["done"] == "1", "{ended}");
    says(mesh, "admin jobs watch 5 --service payments", 0, &["1 done"]).await
}

/// Whatever is asked or done, JSON has what services answer below their names, and lists by the names of the API.
async fn has_one_shape(mesh: &Mesh, id: &str) -> Result<()> {
    let (of_payments, by_olga) = ("--service payments", "--operator olga --reason none");
    let commands = [
        (format!("explain {id}"), vec![("orders", "stations")]),
        (
            "status".to_owned(),
            vec![("orders", "differences"), ("payments", "redrives"), ("payments", "pauses")],
        ),
        ("parked list".to_owned(), vec![("orders", "messages"), ("payments", "messages")]),
        ("parked groups".to_owned(), vec![("orders", "groups"), ("payments", "groups")]),
        ("jobs list".to_owned(), vec![("orders", "redrives"), ("payments", "redrives")]),
        ("pauses list".to_owned(), vec![("orders", "pauses"), ("payments", "pauses")]),
        ("audit".to_owned(), vec![("orders", "events"), ("payments", "events")]),
        ("accounts".to_owned(), vec![("payments", "accounts")]),
        ("reconciliation".to_owned(), vec![("orders", "differences"), ("payments", "currencies")]),
        ("reconciliation --heal --operator olga".to_owned(), vec![("orders", "")]),
        (
            format!("parked preview {of_payments} --key nobody"),
            vec![("payments", "passedOver"), ("payments", "messages")],
        ),
        (format!("parked redrive {of_payments} {by_olga} --dry-run"), vec![("payments", "passedOver")]),
        (format!("parked redrive {of_payments} {by_olga} --no-wait"), vec![("payments", "redriveId")]),
        (format!("jobs stop 1 {of_payments} {by_olga}"), vec![("payments", "redriveId")]),
        (format!("parked discard {of_payments} {by_olga} --key nobody"), vec![("payments", "")]),
        (format!("pauses create relay {of_payments} {by_olga}"), vec![("payments", "replayed")]),
        (format!("pauses remove 2 {of_payments} --operator olga"), vec![("payments", "")]),
    ];
    for (line, members) in commands {
        let (output, code) = run(mesh, &format!("admin --json {line}")).await?;
        let printed: Value = serde_json::from_str(&output).with_context(|| format!("{line}: {output}"))?;
        let services: BTreeSet<&str> =
            printed.as_object().context("an object")?.keys().map(String::as_str).collect();
        let expected: BTreeSet<&str> = members.iter().map(|(service, _)| *service).collect();
        ensure!(code == 0 && services == expected, "{line}: {code} {output}");
        for (service, member) in members {
            let answer = printed[service].as_object().with_context(|| format!("{line}: {output}"))?;
            ensure!(member.is_empty() || answer.contains_key(member), "{line} has no {member}: {output}");
        }
    }
    Ok(())
}

/// A service that is away is shown as that, beside the other one.
async fn what_is_away(mesh: &Mesh) -> Result<()> {
    let away = "admin status --payments-url http://127.0.0.1:1";
    says(mesh, away, 1, &["orders    0 ", "payments  ?", "cannot reach", "payments cannot be asked"]).await?;
    let binary = Program::named("ordermesh")?.binary().display().to_string();
    let output = operator(mesh, &binary).args(format!("{away} --json").split(' ')).output().await?;
    let asked: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(asked["orders"].is_object() && asked["payments"]["error"].is_string(), "{asked}");
    // Each list has what the other one says.
    let pause = "admin pauses create relay --service orders --operator olga --reason away";
    says(mesh, pause, 0, &["pause 1 of orders has begun"]).await?;
    let gone = "payments: cannot reach";
    for (list, heads) in [
        ("pauses list", "relay"),
        ("audit --limit 5", "PAUSE"),
        ("parked list", "number"),
        ("parked groups", "cause"),
        ("jobs list", "started"),
    ] {
        let line = format!("admin {list} --payments-url http://127.0.0.1:1");
        says(mesh, &line, 1, &[heads, gone, "payments cannot be asked"]).await?;
        let binary = Program::named("ordermesh")?.binary().display().to_string();
        let output = operator(mesh, &binary).args(format!("{line} --json").split(' ')).output().await?;
        let asked: Value = serde_json::from_slice(&output.stdout)?;
        let answered = !asked["orders"].is_null() && asked["orders"]["error"].is_null();
        ensure!(answered && asked["payments"]["error"].is_string(), "{line}: {asked}");
    }
    says(
        mesh,
        "admin pauses list --service payments --payments-url http://127.0.0.1:1",
        1,
        &["cannot reach"],
    )
    .await?;
    let compared = "admin reconciliation --payments-url http://127.0.0.1:1";
    says(mesh, compared, 1, &["0 orders differ", "payments cannot be asked", "cannot reach"]).await?;
    let sums = "admin reconciliation --orders-url http://127.0.0.1:1";
    says(mesh, sums, 1, &["RUB", "100", "orders cannot be asked"]).await?;
    says(mesh, "admin pauses remove 1 --service orders --operator olga", 0, &["is over"]).await
}

/// A process that takes connections and answers nothing: the other one is shown soon, and the error says where it is and how long it had.
async fn what_is_frozen(mesh: &Mesh) -> Result<()> {
    let frozen = std::net::TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", frozen.local_addr()?);
    let silent = format!("{url} has not answered within");
    let status = format!("admin status --payments-url {url}");
    says(mesh, &status, 1, &["orders    0 ", "payments  ?", &format!("{silent} 3s"), "/readyz"]).await?;
    let list = format!("admin jobs list --timeout 700ms --payments-url {url}");
    says(mesh, &list, 1, &["started", &format!("{silent} 700ms"), "payments cannot be asked"]).await?;
    let accounts = format!("admin accounts --timeout 700ms --json --payments-url {url}");
    let (line, code) = run(mesh, &accounts).await?;
    let error: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
    ensure!(code == 1 && error["error"].as_str().is_some_and(|error| error.contains(&silent)), "{error}");
    let (line, _) = run(mesh, "admin --json explain nothing").await?;
    let error: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
    ensure!(error["reason"] == "ORDER_NOT_FOUND" && !line.contains("code:"), "{error}");
    Ok(())
}

/// Whoever has read enough closes the pipe: the exit status says what was found all the same.
async fn what_nobody_reads(mesh: &Mesh) -> Result<()> {
    let binary = Program::named("ordermesh")?.binary().display().to_string();
    for (line, status) in
        [("admin parked list", 3), ("admin parked groups --json", 3), ("completions bash", 0)]
    {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut command = operator(mesh, &binary);
        let output = command.args(line.split(' ')).stdout(writer).output().await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(status) && error.is_empty(), "{line}: {output:?}");
    }
    Ok(())
}

/// Every shell block of docs/ADMIN.md.
async fn the_page(mesh: &Mesh, id: &str) -> Result<()> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ADMIN.md"))?;
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let lines: Vec<String> = blocks.flat_map(str::lines).map(str::to_owned).collect();
    ensure!(lines.len() > 10, "{lines:?}");
    let folder = Program::named("ordermesh")?.binary().parent().context("a folder")?.display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH")?);
    for line in lines {
        let script = line.replace("http://127.0.0.1:9090", mesh.admin("orders")?.base());
        let mut shell = operator(mesh, "bash");
        let output = shell.args(["-euc", &script]).env("PATH", &path).env("ORDER", id).output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
        if line.starts_with("curl") {
            let answer: Value = serde_json::from_str(&text).with_context(|| format!("{line}: {text}"))?;
            ensure!(answer["reason"] == json!(null), "{line}: {answer}");
        }
    }
    Ok(())
}
