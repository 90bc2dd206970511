//! One database is restored from an earlier backup than the other: what follows is found, healed where that is safe, and else listed.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use world::{PATIENCE, Program, Scratch, eventually};

use crate::{
    admin_json::admin,
    explain::explain,
    mesh::{ADMIN_TOKEN, APART, Mesh},
    reconciliation::{are, is_right, often},
};

/// A backup of the mesh in `data`.
pub(crate) async fn back_up(data: &Path, out: &Path) -> Result<String> {
    let mut backup = Program::named("ordermesh")?
        .args(["backup", "--data-dir"])
        .args([data.display().to_string(), "--out".to_owned(), out.display().to_string()])
        .start()?;
    let ended = backup.wait(PATIENCE).await?;
    ensure!(ended.success(), "{}", backup.output());
    Ok(backup.output())
}

/// Ends the mesh, takes the database of a service out of a backup, and starts again.
async fn restore(mesh: &mut Mesh, service: &str, backup: &Path, data: &Path) -> Result<()> {
    mesh.stop().await?;
    put_back(service, backup, data)?;
    mesh.start_again().await
}

/// Takes the database of a service that does not run out of a backup.
fn put_back(service: &str, backup: &Path, data: &Path) -> Result<()> {
    for file in [format!("{service}.db-wal"), format!("{service}.db-shm")] {
        let _absent = fs::remove_file(data.join(file));
    }
    let file = format!("{service}.db");
    fs::copy(backup.join(&file), data.join(&file))?;
    Ok(())
}

/// Waits for the end of an order, and returns its status.
async fn end(mesh: &Mesh, user: &str, amount: i64) -> Result<(String, Value)> {
    let id = mesh.order(user, amount).await?;
    let order = mesh.ended(&id).await?;
    Ok((id, order))
}

/// Tops up the account of bob as a client with a key.
async fn top_up(mesh: &Mesh, amount: i64, key: &str) -> Result<()> {
    let path = "/gateway/payments/bob/top-up";
    let topped_up = mesh.api.post_with_key(path, key, &json!({ "amount": amount })).await?;
    ensure!(topped_up.status == 200, "{}", topped_up.text);
    Ok(())
}

/// Places an order of alice as a client with a key, and returns its id.
async fn place(mesh: &Mesh, amount: i64, key: &str) -> Result<String> {
    let order = json!({ "userId": "alice", "amount": amount });
    let placed = mesh.api.post_with_key("/gateway/orders", key, &order).await?;
    ensure!(placed.status == 200, "{}", placed.text);
    Ok(text(&placed.body["id"]).to_owned())
}

/// What an operator is to read of a station of an order.
async fn says(mesh: &Mesh, id: &str, station: &str, note: &str) -> Result<()> {
    let explained = explain(mesh, id).await?;
    let mut stations = explained["stations"].as_array().context("stations")?.iter();
    let found = stations.find(|found| found["name"] == station).context("the station")?;
    ensure!(text(&found["note"]).contains(note), "{found:#}");
    Ok(())
}

#[tokio::test]
async fn payments_from_an_earlier_backup_decides_again_as_before_or_not_at_all() -> Result<()> {
    let scratch = Scratch::new("restored")?;
    let (data, backup) = (scratch.path().join("data"), scratch.path().join("backup"));
    fs::create_dir(&data)?;
    let mut mesh = Mesh::start_in_with(&data, &often()).await?;
    mesh.account("alice", 100).await?;
    mesh.account("bob", 10).await?;
    top_up(&mesh, 5, "early").await?;
    end(&mesh, "alice", 1).await?;
    mesh.at_rest().await?;
    back_up(&data, &backup).await?;

    let order = mesh.api.request(Method::POST, "/gateway/orders").header("x-request-id", "request-30");
    let order = world::answer(order.json(&json!({ "userId": "alice", "amount": 30 }))).await?;
    let paid = mesh.ended(text(&order.body["id"])).await?;
    end(&mesh, "alice", 1_000).await?;
    end(&mesh, "nobody", 1).await?;
    // What pays this one is lost with the backup.
    top_up(&mesh, 50, "late").await?;
    let (poor, _) = end(&mesh, "bob", 60).await?;
    mesh.at_rest().await?;
    restore(&mut mesh, "payments", &backup, &data).await?;

    are(&mesh, [0.0, 4.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]).await?;
    // The debit has its own id again.
    let payment = mesh.api.get(&format!("/gateway/orders/{}/payment", text(&paid["id"]))).await?;
    ensure!(payment.body["ledgerEntryId"] == paid["ledgerEntryId"], "{} {paid}", payment.text);
    // A key of before the backup is known.
    top_up(&mesh, 5, "early").await?;
    ensure!(mesh.balance("alice").await? == 69 && mesh.balance("bob").await? == 15, "money moved");
    // And the request behind its order.
    let of_request = "SELECT COUNT(*) FROM ledger_entries WHERE amount = -30 AND x_request_id = 'request-30'";
    ensure!(mesh.count("payments", of_request).await? == 1, "the request is not known any more");
    let listed = admin(&mesh, "orders", "/reconciliation").await?;
    let row = &listed["differences"][0];
    ensure!(row["orderId"] == poor && row["kind"] == "DECISION_LOST", "{listed}");
    ensure!(row["orders"]["amount"] == "60" && row["payments"].is_null(), "{listed}");
    says(&mesh, &poor, "DECIDED", "payments has no decision; reconciliation: the order has ended as").await?;
    says(&mesh, text(&paid["id"]), "DELIVERED", "by another message").await?;

    // The client repeats what was lost, the key with it, and the operator does not wait for the next attempt.
    top_up(&mesh, 50, "late").await?;
    let heal = format!("--operator olga --reason booked --heal --order {poor}");
    let said = reconciliation(&mesh, &heal).await?;
    ensure!(said.contains("1 differences are to be healed now"), "{said}");
    are(&mesh, [0.0, 4.0, 0.0, 0.0], [0.0; 4]).await?;
    ensure!(mesh.balance("bob").await? == 5, "the top-up was not booked once again");
    let audit = admin(&mesh, "orders", "/audit").await?;
    ensure!(audit["events"][0]["action"] == "HEAL" && audit["events"][0]["operator"] == "olga", "{audit}");
    is_right(&mesh, 5).await
}

#[tokio::test]
async fn orders_from_an_earlier_backup_ends_its_orders_and_lists_those_it_has_lost() -> Result<()> {
    let scratch = Scratch::new("restored")?;
    let (data, backup) = (scratch.path().join("data"), scratch.path().join("backup"));
    fs::create_dir(&data)?;
    let mut mesh = Mesh::start_in_with(&data, &often()).await?;
    mesh.account("alice", 100).await?;
    // One is under way when the backup is made: payments does not get on.
    let pause = json!({ "part": "CONSUMER", "reason": "a backup", "operator": "olga" });
    let operator = mesh.admin("payments")?.with_token(ADMIN_TOKEN);
    let paused = operator.post("/admin/v1/payments/pauses", &pause).await?;
    ensure!(paused.status == 200, "{}", paused.text);
    let under_way = place(&mesh, 10, "early").await?;
    back_up(&data, &backup).await?;
    let resume = format!("/admin/v1/payments/pauses/{}:resume", text(&paused.body["sequence"]));
    ensure!(operator.post(&resume, &json!({ "operator": "olga" })).await?.status == 200);
    mesh.ended(&under_way).await?;
    let lost = place(&mesh, 20, "late").await?;
    mesh.ended(&lost).await?;
    mesh.at_rest().await?;
    restore(&mut mesh, "orders", &backup, &data).await?;

    // The request that waited in the outbox of the backup is sent again, and answered with the decision or known already.
    let order = mesh.ended(&under_way).await?;
    ensure!(order["status"] == "FINISHED" && mesh.balance("alice").await? == 70, "{order}");
    eventually("the lost order to be listed", PATIENCE, async || {
        let listed = admin(&mesh, "orders", "/reconciliation").await?;
        let row = &listed["differences"][0];
        ensure!(listed["total"] == "1" && row["orderId"] == lost && row["kind"] == "ORDER_LOST", "{listed}");
        ensure!(row["nextHealTime"].is_null() && row["payments"]["outcome"] == "PAID", "{listed}");
        Ok(())
    })
    .await?;
    let explained = mesh
        .admin("orders")?
        .with_token(ADMIN_TOKEN)
        .get(&format!("/admin/v1/orders/{lost}:explain"))
        .await?;
    let is_said = text(&explained.body["detail"]).contains("payments has decided PAID, 20 RUB of alice");
    ensure!(explained.status == 404 && is_said, "{}", explained.text);
    // Its key is lost with it, and that of before the backup is not.
    let again = place(&mesh, 20, "late").await?;
    ensure!(again != lost && place(&mesh, 10, "early").await? == under_way, "{again} {lost}");
    mesh.ended(&again).await?;
    ensure!(mesh.balance("alice").await? == 50, "the repetition was not paid");
    Ok(())
}

/// What orders stores of ended orders of a minor unit each, one for every second of the ten minutes before this one.
fn of_ten_minutes() -> String {
    let begun = (world::now() / 60 - 10) * 60_000;
    let row = |number: i64| {
        let placed = begun + number * 1_000;
        let (id, entry) =
            (format!("{placed:012x}70008000{number:012x}"), format!("{placed:012x}70008001{number:012x}"));
        let (create_time, change_number) = (placed * 1_000, number + 1);
        let (update_time, expire_time) = (create_time + 20_000, create_time + 600_000_000);
        let times = format!("{create_time}, {update_time}, {expire_time}, {expire_time}");
        format!("(X'{id}', 'alice', 1, 'RUB', '', 2, {times}, 2, {change_number}, X'{entry}')")
    };
    let rows: Vec<String> = (0..600).map(row).collect();
    let columns = "id, user_id, amount, currency_code, description, status, create_time, update_time, expire_time, \
                   void_due_time, version, change_number, ledger_entry_id";
    format!("INSERT INTO orders ({columns}) VALUES {}", rows.join(", "))
}

#[tokio::test]
async fn each_database_from_a_backup_without_the_orders_of_ten_minutes() -> Result<()> {
    let scratch = Scratch::new("restored")?;
    let (data, backup) = (scratch.path().join("data"), scratch.path().join("backup"));
    fs::create_dir(&data)?;
    let mut mesh = Mesh::start_in_with(&data, &often()).await?;
    mesh.account("alice", 1_000).await?;
    mesh.at_rest().await?;
    back_up(&data, &backup).await?;
    // Payments comes out of the backup, and knows neither the decisions nor the debits of what orders has ended since.
    mesh.stop().await?;
    mesh.tamper("orders", &of_ten_minutes()).await?;
    put_back("payments", &backup, &data)?;
    mesh.start_again().await?;
    are(&mesh, [0.0, 600.0, 0.0, 0.0], [0.0; 4]).await?;
    ensure!(mesh.balance("alice").await? == 400, "an order is not paid, or was paid twice");
    is_right(&mesh, 600).await?;

    // Orders comes out of it, and knows neither the orders nor what differed.
    restore(&mut mesh, "orders", &backup, &data).await?;
    are(&mesh, [0.0, 0.0, 600.0, 0.0], [0.0, 0.0, 600.0, 0.0]).await?;
    let listed = admin(&mesh, "orders", "/reconciliation?pageSize=1000").await?;
    let rows = listed["differences"].as_array().context("a list")?;
    ensure!(listed["total"] == "600" && rows.len() == 600, "{} of {}", rows.len(), listed["total"]);
    for row in rows {
        ensure!(row["kind"] == "ORDER_LOST" && row["payments"]["outcome"] == "PAID", "{row}");
        ensure!(text(&row["sentence"]).contains("the money was taken"), "{row}");
    }
    ensure!(mesh.balance("alice").await? == 400, "money moved");
    // All else is well: a status that does not count them would be a healthy one.
    let mut status = Program::named("ordermesh")?
        .args(["status", "--once"])
        .env("ORDERS_URL", format!("http://{}", mesh.orders))
        .env("PAYMENTS_URL", format!("http://{}", mesh.payments))
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .start()?;
    let ended = status.wait(PATIENCE).await?;
    ensure!(ended.code() == Some(3), "{ended:?}: {}", status.output());
    ensure!(status.output().contains("600 orders differ"), "{}", status.output());
    Ok(())
}

#[tokio::test]
async fn with_postgresql_as_well() -> Result<()> {
    let mut mesh = Mesh::start_with(APART, &often()).await?;
    mesh.account("alice", 100).await?;
    end(&mesh, "alice", 1).await?;
    mesh.at_rest().await?;
    let postgres = mesh.postgres.as_ref().context("a server")?;
    let dump = postgres.dump("payments").await?;
    end(&mesh, "alice", 30).await?;
    end(&mesh, "alice", 1_000).await?;
    mesh.at_rest().await?;

    mesh.processes[1].terminate()?;
    mesh.processes[1].wait(PATIENCE).await?;
    mesh.tamper("orders", "DROP DATABASE payments WITH (FORCE)").await?;
    let postgres = mesh.postgres.as_ref().context("a server")?;
    postgres.create_database("payments").await?;
    postgres.restore(&dump, "payments").await?;
    mesh.processes[1] = payments(&mesh)?.start()?;
    mesh.processes[1].address("payments-grpc").await?;
    are(&mesh, [0.0, 2.0, 0.0, 0.0], [0.0; 4]).await?;
    let balance = mesh.balance("alice").await?;
    ensure!(balance == 69, "{balance} are left");
    is_right(&mesh, 3).await
}

/// The process of payments, where it was before.
fn payments(mesh: &Mesh) -> Result<Program> {
    let rabbitmq = mesh.rabbitmq.as_ref().context("a broker")?;
    Ok(Program::named("payments")?
        .args(["--listen".to_owned(), mesh.payments.to_string()])
        .args(["--admin", "127.0.0.1:0"])
        .env("DATABASE_URL", mesh.database_url("payments"))
        .env("AMQP_URL", rabbitmq.amqp_url())
        .env("ADMIN_TOKEN", ADMIN_TOKEN))
}

/// What `ordermesh admin reconciliation` says.
async fn reconciliation(mesh: &Mesh, flags: &str) -> Result<String> {
    let mut admin = Program::named("ordermesh")?
        .args(["admin", "reconciliation"])
        .args(flags.split(' '))
        .env("ORDERS_URL", format!("http://{}", mesh.orders))
        .env("PAYMENTS_URL", format!("http://{}", mesh.payments))
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .start()?;
    ensure!(admin.wait(PATIENCE).await?.success(), "{}", admin.output());
    Ok(admin.output())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
