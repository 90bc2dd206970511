//! Orders and payments are compared all the time: what was lost between them is found, to the last order, and healed.

use std::{
    slice::from_mut,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use world::{PATIENCE, Program, eventually};

use crate::{
    admin_json::admin,
    check::check,
    journal::{AMOUNT, Call, Journal, Judge, Way, What},
    mesh::{ADMIN_TOKEN, APART, EMBEDDED, Mesh},
    scrape::Scrape,
};

const KINDS: [&str; 4] = ["not_applied", "decision_lost", "order_lost", "contradiction"];
const LOST: usize = 100;
/// What is lost is found and healed within this time, with the settings that ship.
const IN_TIME: Duration = Duration::from_secs(120);
/// Decisions of payments on SQLite never leave.
pub(crate) const LOSE: &str =
    "CREATE TRIGGER lose AFTER INSERT ON outbox BEGIN DELETE FROM outbox WHERE seq = NEW.seq; END";

/// Compares often, and asks about no order again by itself within the time of a test.
pub(crate) fn often() -> Vec<(&'static str, String)> {
    let values = [
        ("RECONCILE_EVERY", "200ms"),
        ("RECONCILE_SETTLE", "700ms"),
        ("ORDER_TTL", "1h"),
        ("ADMIN_TOKEN", ADMIN_TOKEN),
    ];
    values.map(|(name, value)| (name, value.to_owned())).into()
}

/// A number of reconciliation, of each kind.
async fn numbers(mesh: &Mesh, name: &str) -> Result<[f64; 4]> {
    let scrape = Scrape::of(mesh.admin("orders")?).await?;
    let mut numbers = [0.0; 4];
    for (number, kind) in numbers.iter_mut().zip(KINDS) {
        *number = scrape.number(&format!("reconciliation_{name}"), &[("kind", kind)])?;
    }
    Ok(numbers)
}

/// Waits until so many differences of each kind were found and so many are there.
pub(crate) async fn are(mesh: &Mesh, found: [f64; 4], there: [f64; 4]) -> Result<()> {
    are_within(2 * PATIENCE, mesh, found, there).await
}

/// The same, for as long as this.
async fn are_within(deadline: Duration, mesh: &Mesh, found: [f64; 4], there: [f64; 4]) -> Result<()> {
    eventually("the differences", deadline, async || {
        let (total, now) = (numbers(mesh, "found_total").await?, numbers(mesh, "differences").await?);
        ensure!(total == found && now == there, "{total:?} found, {now:?} there");
        Ok(())
    })
    .await
}

/// A client with an account that is worth so many orders.
async fn client(mesh: &Mesh, orders: usize) -> Result<Journal> {
    let mut journal = Journal::of("alice".to_owned());
    journal.add([What::TopUp { amount: AMOUNT * i64::try_from(orders)? }]);
    let way = Way::Http(mesh.api.clone());
    for call in &mut journal.calls {
        call.make(&journal.user, &way).await?;
    }
    Ok(journal)
}

/// Places so many orders, and writes down what was answered.
async fn place(mesh: &Mesh, journal: &mut Journal, count: usize) -> Result<()> {
    let (user, way) = (journal.user.clone(), Way::Http(mesh.api.clone()));
    let placed = stream::iter(journal.add(vec![What::Place; count])).map(|call| call.make(&user, &way));
    placed.buffer_unordered(16).try_collect::<Vec<()>>().await.map(drop)
}

/// Every answer that the client was given is true.
async fn is_believed(mesh: &Mesh, mut journal: Journal) -> Result<()> {
    Judge::of(mesh, PATIENCE)?.believes(from_mut(&mut journal)).await
}

/// Waits until everything that was placed so far is compared and nothing differs, and makes sure that the books are right.
pub(crate) async fn is_right(mesh: &Mesh, orders: usize) -> Result<()> {
    mesh.at_rest().await?;
    let (succeeded, broken) = check(mesh).await?;
    ensure!(succeeded && broken.is_empty(), "{broken:?}");
    let says = format!("{orders} decided orders were compared, 0 differ");
    let begun = Instant::now();
    loop {
        let (output, succeeded) = reconcile(mesh).await?;
        ensure!(succeeded && output.contains(", 0 differ"), "{output}");
        if output.contains(&says) {
            return Ok(());
        }
        // The last of them are not settled yet.
        ensure!(begun.elapsed() < PATIENCE, "{output}");
    }
}

/// What `ordermesh check --reconcile` says, and whether it succeeds.
pub(crate) async fn reconcile(mesh: &Mesh) -> Result<(String, bool)> {
    reconcile_at(format!("http://{}", mesh.orders), format!("http://{}", mesh.payments)).await
}

/// The same of services at these URLs.
pub(crate) async fn reconcile_at(orders: String, payments: String) -> Result<(String, bool)> {
    let mut checker = Program::named("ordermesh")?
        .args(["check", "--reconcile", "--settle", "1s"])
        .args(["--orders-url".to_owned(), orders, "--payments-url".to_owned(), payments])
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .start()?;
    let ended = checker.wait(5 * PATIENCE).await?;
    Ok((checker.output(), ended.success()))
}

#[tokio::test]
async fn a_purged_queue_is_found_and_healed_in_two_minutes() -> Result<()> {
    // All else is as it ships.
    let mesh = Mesh::start_with(APART, &[("ADMIN_TOKEN", ADMIN_TOKEN.to_owned())]).await?;
    let mut journal = client(&mesh, 2 * LOST).await?;
    nothing_is_found_under_load(&mesh, &mut journal).await?;
    a_queue_is_lost(&mesh, &mut journal, "purge_queue").await?;
    is_right(&mesh, 2 * LOST).await?;
    is_believed(&mesh, journal).await
}

/// The queue is gone with what it held, and is there again before anybody looks.
#[tokio::test]
async fn a_deleted_queue_is_found_and_healed() -> Result<()> {
    let mesh = Mesh::start_with(APART, &often()).await?;
    let mut journal = client(&mesh, LOST).await?;
    a_queue_is_lost(&mesh, &mut journal, "delete_queue").await?;
    is_right(&mesh, LOST).await?;
    is_believed(&mesh, journal).await
}

/// The decisions of a hundred orders are lost in the queue of orders, which does not take them: each is found in time, and healed.
async fn a_queue_is_lost(mesh: &Mesh, journal: &mut Journal, command: &str) -> Result<()> {
    const QUEUE: &str = "ordermesh.events.orders.0";
    let before = mesh.balance("alice").await?;
    let orders = mesh.admin("orders")?.with_token(ADMIN_TOKEN);
    let pause = json!({ "part": "CONSUMER", "reason": "a loss", "operator": "olga" });
    let paused = orders.post("/admin/v1/orders/pauses", &pause).await?;
    ensure!(paused.status == 200, "{}", paused.text);
    eventually("the pause", PATIENCE, async || {
        let ready = orders.get("/readyz").await?;
        ensure!(ready.body["states"]["orders.consumer.0"] == "paused", "{}", ready.text);
        Ok(())
    })
    .await?;
    place(mesh, journal, LOST).await?;
    // Half a minute after its placement payments is asked again about an order that is NEW, which heals it too.
    let later = "UPDATE orders SET ask_due_time = ask_due_time + 3600000000 WHERE status = 1";
    mesh.tamper("orders", later).await?;
    let rabbitmq = mesh.rabbitmq.as_ref().context("a broker")?;
    eventually("the decisions in the queue", PATIENCE, async || {
        let queues = rabbitmq.control(&["-q", "list_queues", "name", "messages"]).await?;
        let is_full = queues.lines().any(|line| line.trim() == format!("{QUEUE}\t{LOST}"));
        ensure!(is_full, "{queues}");
        Ok(())
    })
    .await?;
    // What waits in a queue is no difference.
    let now = numbers(mesh, "found_total").await?;
    ensure!(now == [0.0; 4], "{now:?} found");

    let lost = Instant::now();
    rabbitmq.control(&["-q", command, QUEUE]).await?;
    let sequence = paused.body["sequence"].as_str().context("a number")?;
    let resume = format!("/admin/v1/orders/pauses/{sequence}:resume");
    let resumed = orders.post(&resume, &json!({ "operator": "olga" })).await?;
    ensure!(resumed.status == 200, "{}", resumed.text);
    are_within(IN_TIME, mesh, [100.0, 0.0, 0.0, 0.0], [0.0; 4]).await?;
    ensure!(lost.elapsed() < IN_TIME, "found and healed only after {:?}", lost.elapsed());
    ensure!(numbers(mesh, "healed_total").await? == [100.0, 0.0, 0.0, 0.0], "not all are healed");
    let healed = admin(mesh, "orders", "/reconciliation?healed=true&pageSize=1000").await?;
    ensure!(healed["differences"].as_array().map(Vec::len) == Some(LOST), "{healed}");
    let spent = AMOUNT * i64::try_from(LOST)?;
    ensure!(mesh.balance("alice").await? == before - spent, "an order was paid twice");
    each_is_an_event(mesh).await
}

/// The log has a line for each order that was found, and for each that is healed.
async fn each_is_an_event(mesh: &Mesh) -> Result<()> {
    for event in ["orders and payments differ: it will be healed", "orders and payments are alike again"] {
        // Who logs does not wait until it is written.
        eventually(event, PATIENCE, async || {
            let output = mesh.output("orders")?;
            let lines = output.lines().filter(|line| line.contains(event) && line.contains("not_applied"));
            let lines = lines.count();
            ensure!(lines == LOST, "{lines} lines");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// A mesh that is well reports nothing, however busy it is, and compares all the while.
async fn nothing_is_found_under_load(mesh: &Mesh, journal: &mut Journal) -> Result<()> {
    place(mesh, journal, LOST).await?;
    for order in journal.calls.iter().filter_map(Call::order) {
        mesh.ended(&order.id).await?;
    }
    eventually("orders to be compared", PATIENCE, async || {
        let scrape = Scrape::of(mesh.admin("orders")?).await?;
        let compared = scrape.number("reconciliation_compared_orders_total", &[])?;
        ensure!(compared > 0.0, "none is compared");
        Ok(())
    })
    .await?;
    are(mesh, [0.0; 4], [0.0; 4]).await
}

#[tokio::test]
async fn decisions_that_never_left_are_found_and_healed_in_one_process() -> Result<()> {
    let mut mesh = Mesh::start_with(EMBEDDED, &often()).await?;
    let mut journal = client(&mesh, 2 * LOST).await?;
    nothing_is_found_under_load(&mesh, &mut journal).await?;
    mesh.tamper("payments", LOSE).await?;
    place(&mesh, &mut journal, LOST).await?;
    eventually("the decisions", PATIENCE, async || {
        let decided = mesh.count("payments", "SELECT COUNT(*) FROM payments").await?;
        ensure!(decided == 2 * i64::try_from(LOST)?, "{decided} are decided");
        Ok(())
    })
    .await?;
    mesh.tamper("payments", "DROP TRIGGER lose").await?;
    are(&mesh, [100.0, 0.0, 0.0, 0.0], [0.0; 4]).await?;
    is_right(&mesh, 2 * LOST).await?;

    // What was healed long ago is forgotten when everything was compared again.
    let healed = "SELECT COUNT(*) FROM reconciliation_differences";
    ensure!(mesh.count("orders", healed).await? == i64::try_from(LOST)?);
    mesh.stop().await?;
    mesh.tamper("orders", "UPDATE reconciliation_differences SET find_time = 0, heal_time = 1").await?;
    mesh.start_again().await?;
    eventually("what was healed to be forgotten", PATIENCE, async || {
        let left = mesh.count("orders", healed).await?;
        ensure!(left == 0, "{left} are left");
        Ok(())
    })
    .await?;
    is_believed(&mesh, journal).await
}

#[tokio::test]
async fn what_nobody_can_heal_is_listed_and_explained() -> Result<()> {
    let mesh = Mesh::start_with(EMBEDDED, &often()).await?;
    mesh.account("alice", 100).await?;
    let (lost, other) = (mesh.order("alice", 30).await?, mesh.order("alice", 1_000).await?);
    for id in [&lost, &other] {
        mesh.ended(id).await?;
    }
    mesh.at_rest().await?;
    let id = |text: &str| text.replace('-', "");
    mesh.tamper("orders", &format!("DELETE FROM orders WHERE id = X'{}'", id(&lost))).await?;
    let reason = format!("UPDATE orders SET cancel_reason = 2 WHERE id = X'{}'", id(&other));
    mesh.tamper("orders", &reason).await?;
    // What was compared before is looked at again from the start of a process on.
    let mut mesh = mesh;
    mesh.stop().await?;
    mesh.start_again().await?;
    are(&mesh, [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]).await?;
    let listed = admin(&mesh, "orders", "/reconciliation").await?;
    let rows = listed["differences"].as_array().context("a list")?;
    let of = |id: &str| rows.iter().find(|row| row["orderId"] == id).cloned().unwrap_or(Value::Null);
    let (gone, changed) = (of(&lost), of(&other));
    ensure!(gone["kind"] == "ORDER_LOST" && gone["payments"]["amount"] == "30", "{gone}");
    ensure!(gone["sentence"].as_str().is_some_and(|text| text.contains("the money was taken")), "{gone}");
    ensure!(
        changed["kind"] == "CONTRADICTION" && changed["orders"]["reason"] == "ACCOUNT_NOT_FOUND",
        "{changed}"
    );
    ensure!(listed["total"] == "2" && listed["comparing"] == true, "{listed}");
    let (output, succeeded) = reconcile(&mesh).await?;
    ensure!(!succeeded && output.contains("2 differ") && output.contains(&lost), "{output}");
    Ok(())
}

/// More than are looked into at a time.
const MANY: usize = 12_000;

/// Lets payments have as many decisions about orders that are not there, placed from this millisecond on within so many.
async fn lose_many(mesh: &Mesh, from: i64, within: usize) -> Result<()> {
    let row = |number: usize| {
        let placed = from + (number % within) as i64;
        let decided = placed * 1_000;
        format!("(X'{placed:012x}70008000{number:012x}', 'lost', 1, 'RUB', 2, 2, {decided})")
    };
    for first in (0..MANY).step_by(1_000) {
        let rows: Vec<String> = (first..first + 1_000).map(row).collect();
        let columns = "order_id, user_id, amount, currency_code, outcome, reason, decide_time";
        let lose = format!("INSERT INTO payments ({columns}) VALUES {}", rows.join(", "));
        mesh.tamper("payments", &lose).await?;
    }
    Ok(())
}

/// Waits until each of them is found, and there. A sweep rests for twenty times as long as it takes.
async fn all_are_found(mesh: &Mesh) -> Result<()> {
    eventually("each of them", 7 * PATIENCE, async || {
        let (found, there) = (numbers(mesh, "found_total").await?, numbers(mesh, "differences").await?);
        let all = [0.0, 0.0, MANY as f64, 0.0];
        ensure!(found == all && there == all, "{found:?} found, {there:?} there");
        Ok(())
    })
    .await
}

/// Of one minute more orders are lost than are looked into at a time: each is found, in the background and from outside.
#[tokio::test]
async fn however_many_of_a_minute_are_lost_each_is_found() -> Result<()> {
    let mut mesh = Mesh::start_with(EMBEDDED, &often()).await?;
    mesh.stop().await?;
    let minute = (world::now() / 60 - 10) * 60_000;
    lose_many(&mesh, minute, 59_000).await?;
    mesh.start_again().await?;
    let (output, succeeded) = reconcile(&mesh).await?;
    let says = format!("0 decided orders were compared, {MANY} differ");
    ensure!(!succeeded && output.contains(&says), "{}", output.lines().next().unwrap_or_default());
    all_are_found(&mesh).await
}

/// The same of orders that were placed just now, when everything before is compared: what is left of them is not for the sweep that begins ten
/// minutes later.
#[tokio::test]
async fn however_many_of_the_newest_are_lost_each_is_found() -> Result<()> {
    let mut env = often();
    env.extend([("RECONCILE_EVERY", "2s".to_owned()), ("RECONCILE_SETTLE", "5s".to_owned())]);
    let mesh = Mesh::start_with(EMBEDDED, &env).await?;
    eventually("the end of the first sweep", PATIENCE, async || {
        let listed = admin(&mesh, "orders", "/reconciliation").await?;
        ensure!(listed["sweepEndTime"].is_string(), "{listed}");
        Ok(())
    })
    .await?;
    // Of one round, and not settled before all of them are there.
    lose_many(&mesh, (world::now() + 1) * 1_000, 12).await?;
    all_are_found(&mesh).await
}
