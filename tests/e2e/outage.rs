//! The broker is away for a minute while orders come in: the operator is told how long, and nothing is lost or disordered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use lapin::{Connection, ConnectionProperties};
use serde_json::{Value, json};
use tokio::{
    join,
    task::JoinHandle,
    time::{Instant, sleep},
};
use world::{Api, PATIENCE, eventually};

use crate::{
    mesh::{APART, Arrangement, Mesh},
    scrape::Scrape,
};

const OUTAGE: Duration = Duration::from_secs(60);
const USERS: usize = 4;
/// Between two orders of one user: some thousand in all, which leaves the machine to the other tests.
const PACE: Duration = Duration::from_millis(100);
/// More than all orders of a user together.
const BALANCE: i64 = 1_000_000;

#[tokio::test]
async fn a_broker_away_for_a_minute_is_told_and_costs_nothing() -> Result<()> {
    let mut mesh = Mesh::start(Arrangement { own_broker: true, ..APART }).await?;
    let users: Vec<String> = (0..USERS).map(|user| format!("user-{user}")).collect();
    for user in &users {
        mesh.account(user, BALANCE).await?;
        // From here on its queues are bound.
        let id = mesh.order(user, 1).await?;
        mesh.ended(&id).await?;
    }
    is_ready(&mesh).await?;

    let enough = Arc::new(AtomicBool::new(false));
    let clients: Vec<JoinHandle<Result<Vec<String>>>> = users
        .iter()
        .map(|user| tokio::spawn(place_until(mesh.api.clone(), user.clone(), Arc::clone(&enough))))
        .collect();
    go_through_outage(&mut mesh).await?;
    is_ready(&mesh).await?;
    enough.store(true, Ordering::Relaxed);

    for (user, client) in users.iter().zip(clients) {
        let placed = client.await??;
        let expected = OUTAGE.as_secs() * 1_000 / u64::try_from(PACE.as_millis())? / 4;
        ensure!(placed.len() as u64 > expected, "{} orders are no load", placed.len());
        all_are_paid_in_order(&mesh, user, &placed).await?;
    }
    mesh.at_rest().await
}

/// Places one order after the other, and returns their ids in that order. None may fail, whatever the broker does.
async fn place_until(api: Api, user: String, enough: Arc<AtomicBool>) -> Result<Vec<String>> {
    let mut placed = Vec::new();
    while !enough.load(Ordering::Relaxed) {
        let answer = api.post("/gateway/orders", &json!({ "userId": user, "amount": 1 })).await?;
        ensure!(answer.status == 200, "{}", answer.text);
        placed.push(answer.body["id"].as_str().context("an order has an id")?.to_owned());
        // The pace of the load, not a wait for anything.
        sleep(PACE).await;
    }
    Ok(placed)
}

async fn go_through_outage(mesh: &mut Mesh) -> Result<()> {
    let mut rabbitmq = mesh.rabbitmq.take().context("a mesh on RabbitMQ")?;
    let witness = Connection::connect(&rabbitmq.amqp_url(), ConnectionProperties::default()).await?;
    // Its clients are cut off some time before the broker has ended.
    let cut_off = eventually("the end of the connections", 3 * PATIENCE, async || {
        ensure!(!witness.status().connected(), "still connected");
        anyhow::Ok(Instant::now())
    });
    let (stopped, cut_off) = join!(rabbitmq.stop(), cut_off);
    stopped?;
    let began = cut_off?;
    let told = eventually("readiness to tell of the outage", PATIENCE, async || {
        let answer = mesh.admin("orders")?.get("/readyz").await?;
        // Callers are served: their orders wait in the outbox.
        ensure!(answer.status == 200 && answer.body["ready"] == true, "{} {}", answer.status, answer.text);
        let (parts, states) = (&answer.body["parts"], &answer.body["states"]);
        let reason = parts["orders.outbox"].as_str().unwrap_or_default();
        ensure!(states["orders.outbox"] == "degraded" && reason.contains("pending"), "{}", answer.text);
        ensure!(
            states["orders.relay"] == "degraded" && parts["orders.database"] == "ready",
            "{}",
            answer.text
        );
        Ok(())
    });
    told.await?;
    ensure!(mesh.admin("gateway")?.get("/readyz").await?.status == 200, "the edge needs no broker");

    sleep(OUTAGE.saturating_sub(began.elapsed())).await;
    let pending = [("source", "/ordermesh/orders"), ("state", "pending")];
    // It is set every two seconds, or somewhat later: by then it is right.
    let (scrape, age) = eventually("the age of the outage", PATIENCE, async || {
        let away = began.elapsed().as_secs_f64();
        let scrape = Scrape::of(mesh.admin("orders")?).await?;
        let age = scrape.number("messaging_outbox_oldest_age_seconds", &pending)?;
        ensure!((away - age).abs() <= 3.0, "the gauge tells {age} s after {away} s");
        anyhow::Ok((scrape, age))
    })
    .await?;
    let depth = scrape.number("messaging_outbox_messages", &pending)?;
    ensure!(depth > 10.0 * age, "{depth} messages wait");
    let answer = mesh.admin("orders")?.get("/readyz").await?;
    ensure!(
        answer.body["states"]["orders.outbox"] == "degraded",
        "all is well without a broker: {}",
        answer.text
    );
    rabbitmq.start_again().await?;
    mesh.rabbitmq = Some(rabbitmq);
    Ok(())
}

async fn is_ready(mesh: &Mesh) -> Result<()> {
    for service in ["orders", "payments", "gateway"] {
        eventually(&format!("{service} to be ready"), 3 * PATIENCE, async || {
            let answer = mesh.admin(service)?.get("/readyz").await?;
            ensure!(
                answer.status == 200 && answer.body["ready"] == true && all_ok(&answer.body["states"]),
                "{} {}",
                answer.status,
                answer.text
            );
            anyhow::Ok(())
        })
        .await?;
    }
    Ok(())
}

fn all_ok(states: &Value) -> bool {
    states.as_object().is_some_and(|states| states.values().all(|state| state == "ok"))
}

/// Every order ended FINISHED, and the ledger has their debits in the order in which they were placed: the user is the key.
async fn all_are_paid_in_order(mesh: &Mesh, user: &str, placed: &[String]) -> Result<()> {
    if let Some(last) = placed.last() {
        mesh.ended(last).await?;
    }
    eventually(&format!("all orders of {user} to be FINISHED"), 3 * PATIENCE, async || {
        let sql = format!("SELECT COUNT(*) FROM orders WHERE user_id = '{user}' AND status = 2");
        let finished = mesh.count("orders", &sql).await?;
        ensure!(usize::try_from(finished)? == placed.len() + 1, "{finished} are FINISHED");
        anyhow::Ok(())
    })
    .await?;
    let debits = debits(mesh, user).await?;
    // The first debit is that of the order which came before the load.
    let early = debits.iter().skip(1).zip(placed).find(|(paid, placed)| paid != placed);
    ensure!(
        debits.len() == placed.len() + 1 && early.is_none(),
        "{} debits, out of order at {early:?}",
        debits.len()
    );
    Ok(())
}

/// The orders that a user paid for, in the order of the ledger.
async fn debits(mesh: &Mesh, user: &str) -> Result<Vec<String>> {
    let mut entries: Vec<Value> = Vec::new();
    let mut page = String::new();
    loop {
        let path = format!("/gateway/payments/{user}/entries?pageSize=1000&pageToken={page}");
        let list = mesh.api.get(&path).await?;
        entries.extend(list.body["entries"].as_array().with_context(|| list.text.clone())?.iter().cloned());
        match list.body["nextPageToken"].as_str() {
            Some(token) => page = token.to_owned(),
            None => break,
        }
    }
    let sequence = |entry: &Value| entry["sequence"].as_str().and_then(|text| text.parse::<u64>().ok());
    entries.sort_by_key(sequence);
    let of_orders = entries.iter().filter(|entry| entry["type"] == "ORDER_DEBIT");
    Ok(of_orders.filter_map(|entry| entry["orderId"].as_str().map(str::to_owned)).collect())
}
