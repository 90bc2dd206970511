//! An operator pauses what consumes or publishes messages: over the admin service, seen in `/readyz`, in metrics and among what was done.

use anyhow::{Context as _, Result, ensure};
use messaging::topology::partition;
use ordermesh::{
    audit::v1::{ListAuditEventsRequest, audit_service_client::AuditServiceClient},
    messaging::v1::{
        CreatePauseRequest, DeletePauseRequest, ListPausesRequest, Pause, pause::Part,
        pauses_service_client::PausesServiceClient,
    },
};
use serde_json::json;
use tonic::{Code, Request, transport::Channel};
use tonic_types::StatusExt as _;
use world::{PATIENCE, eventually};

use crate::{
    mesh::{ADMIN_TOKEN, APART, EMBEDDED, Mesh},
    scrape::Scrape,
};

const PLACED: &str = "ordermesh.orders.v1.OrderPlaced";

fn with_token<T>(message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {ADMIN_TOKEN}").parse()?);
    Ok(request)
}

fn pause_of(part: Part) -> Pause {
    Pause { part: part.into(), reason: "a bad release".into(), operator: "olga".into(), ..Pause::default() }
}

struct Operator(PausesServiceClient<Channel>);

impl Operator {
    async fn of(mesh: &Mesh, service: &str) -> Result<Self> {
        let address = if service == "orders" { mesh.orders } else { mesh.payments };
        Ok(Self(PausesServiceClient::connect(format!("http://{address}")).await?))
    }

    async fn pause(&mut self, pause: Pause) -> Result<i64> {
        let request = with_token(CreatePauseRequest { pause: Some(pause), ..CreatePauseRequest::default() })?;
        Ok(self.0.create_pause(request).await?.into_inner().sequence)
    }

    async fn paused(&mut self) -> Result<Vec<Pause>> {
        Ok(self.0.list_pauses(with_token(ListPausesRequest {})?).await?.into_inner().pauses)
    }

    async fn resume(&mut self, sequence: i64) -> Result<(), tonic::Status> {
        let request = DeletePauseRequest { sequence, operator: "oleg".into() };
        let request = with_token(request).map_err(|error| tonic::Status::internal(error.to_string()))?;
        self.0.delete_pause(request).await.map(drop)
    }
}

/// Waits until `/readyz` shows a part so, which makes nobody unready.
async fn shows(mesh: &Mesh, part: &str, state: &str, words: &str) -> Result<()> {
    let service = part.split('.').next().context("parts are named by their service")?;
    eventually(&format!("{part} to be {state}"), PATIENCE, async || {
        let answer = mesh.admin(service)?.get("/readyz").await?;
        let reason = answer.body["parts"][part].as_str().unwrap_or_default();
        ensure!(answer.status == 200 && answer.body["states"][part] == state, "{}", answer.text);
        ensure!(reason.contains(words), "{}", answer.text);
        Ok(())
    })
    .await
}

/// What a service does not have cannot be paused, and what is not paused not be resumed.
async fn what_cannot_be_paused(operator: &mut Operator) -> Result<()> {
    let consumer = || pause_of(Part::Consumer);
    for (wrong, field) in [
        (pause_of(Part::Unspecified), "pause.part"),
        (Pause { consumer: "orders".into(), ..consumer() }, "pause.consumer"),
        (Pause { kind: "ordermesh.payments.v1.PaymentDecided".into(), ..consumer() }, "pause.kind"),
        (Pause { partition: Some(1), ..consumer() }, "pause.partition"),
        (Pause { partition: Some(-1), ..consumer() }, "pause.partition"),
        (Pause { partition: Some(0), ..pause_of(Part::Relay) }, "pause.partition"),
        (Pause { reason: String::new(), ..consumer() }, "pause.reason"),
        (Pause { reason: "r".repeat(1_025), ..consumer() }, "pause.reason"),
        (Pause { operator: "a\0b".into(), ..consumer() }, "pause.operator"),
    ] {
        let request = with_token(CreatePauseRequest { pause: Some(wrong), ..CreatePauseRequest::default() })?;
        let refused = operator.0.create_pause(request).await.err().context(field)?;
        let fields = refused.get_details_bad_request().map(|request| request.field_violations);
        let names: Vec<String> = fields.into_iter().flatten().map(|violation| violation.field).collect();
        ensure!(refused.code() == Code::InvalidArgument && names == [field], "{field}: {refused:?}");
    }
    ensure!(operator.paused().await?.is_empty());
    for (sequence, code) in [(0, Code::InvalidArgument), (1_000, Code::NotFound)] {
        let refused = operator.resume(sequence).await.err().context("there is no such pause")?;
        ensure!(refused.code() == code, "{refused:?}");
    }
    Ok(())
}

/// A request with a key pauses once, over HTTP and over gRPC.
async fn what_comes_again(mesh: &Mesh, operator: &mut Operator) -> Result<()> {
    let api = mesh.admin("orders")?.with_token(ADMIN_TOKEN);
    let over_http = async |reason: &str| {
        let pause = json!({ "part": "RELAY", "reason": reason, "operator": "olga" });
        let request = api.request(reqwest::Method::POST, "/admin/v1/orders/pauses");
        world::answer(request.header("idempotency-key", "monday").json(&pause)).await
    };
    let first = over_http("a bad release").await?;
    let again = over_http("a bad release").await?;
    ensure!(first.status == 200 && again.body == first.body, "{} and {}", first.text, again.text);
    let request = CreatePauseRequest { pause: Some(pause_of(Part::Relay)), request_id: "monday".into() };
    let replayed = operator.0.create_pause(with_token(request)?).await?;
    ensure!(
        replayed.metadata().get("idempotency-replayed").is_some_and(|value| value == "true"),
        "{replayed:?}"
    );
    ensure!(first.body["sequence"] == replayed.get_ref().sequence.to_string().as_str(), "{replayed:?}");
    let other = over_http("another one").await?;
    ensure!(other.status == 422 && other.body["reason"] == "IDEMPOTENCY_KEY_REUSED", "{}", other.text);
    ensure!(operator.paused().await?.len() == 1, "one pause");
    operator.resume(replayed.get_ref().sequence).await?;
    Ok(())
}

async fn what_is_done(mesh: &Mesh, service: &str) -> Result<Vec<(String, String)>> {
    let address = if service == "orders" { mesh.orders } else { mesh.payments };
    let mut audit = AuditServiceClient::connect(format!("http://{address}")).await?;
    let all = with_token(ListAuditEventsRequest::default())?;
    let events = audit.list_audit_events(all).await?.into_inner().events;
    let ours = events.into_iter().filter(|event| !event.operator.is_empty());
    Ok(ours.map(|event| (event.action, event.filter)).collect())
}

async fn is_new(mesh: &Mesh, order: &str) -> Result<()> {
    let answer = mesh.api.get(&format!("/gateway/orders/{order}")).await?;
    ensure!(answer.body["status"] == "NEW", "{}", answer.text);
    Ok(())
}

#[tokio::test]
async fn a_paused_mesh_of_one_process_stays_paused_over_a_restart() -> Result<()> {
    let mut mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 1_000).await?;
    let mut payments = Operator::of(&mesh, "payments").await?;
    what_cannot_be_paused(&mut payments).await?;
    let consumer = payments.pause(Pause { consumer: "payments".into(), ..pause_of(Part::Consumer) }).await?;
    let mut orders = Operator::of(&mesh, "orders").await?;
    what_comes_again(&mesh, &mut orders).await?;
    let relay = orders.pause(pause_of(Part::Relay)).await?;
    shows(&mesh, "payments.consumer.0", "paused", "paused by olga: a bad release").await?;
    shows(&mesh, "orders.relay", "paused", "paused by olga: a bad release").await?;
    let id = mesh.order("alice", 30).await?;
    mesh.processes[0].kill9().await?;
    mesh.start_again().await?;
    shows(&mesh, "payments.consumer.0", "paused", "olga").await?;
    shows(&mesh, "orders.relay", "paused", "olga").await?;
    eventually("the metric of a paused part", PATIENCE, async || {
        let scrape = Scrape::of(mesh.admin("orders")?).await?;
        ensure!(scrape.number("ordermesh_part_state", &[("part", "orders.relay")])? == 3.0);
        ensure!(scrape.number("messaging_part_state", &[("part", "consumer.0"), ("of", "payments")])? == 3.0);
        anyhow::Ok(())
    })
    .await?;
    is_new(&mesh, &id).await?;
    let (mut payments, mut orders) =
        (Operator::of(&mesh, "payments").await?, Operator::of(&mesh, "orders").await?);
    orders.resume(relay).await?;
    shows(&mesh, "orders.relay", "ok", "").await?;
    is_new(&mesh, &id).await?;
    let listed = payments.paused().await?;
    ensure!(
        listed.len() == 1 && listed[0].sequence == consumer && listed[0].partition.is_none(),
        "{listed:?}"
    );
    payments.resume(consumer).await?;
    ensure!(payments.resume(consumer).await.is_err_and(|status| status.code() == Code::NotFound));
    ensure!(mesh.ended(&id).await?["status"] == "FINISHED");
    let done = what_is_done(&mesh, "payments").await?;
    let what = format!("pause {consumer} of consumer payments: a bad release");
    ensure!(done == [("RESUME".to_owned(), what.clone()), ("PAUSE".to_owned(), what)], "{done:?}");
    mesh.at_rest().await
}

/// Of several pauses of one thing each has to end, and each is named.
#[tokio::test]
async fn several_pauses_are_all_named() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    let mut payments = Operator::of(&mesh, "payments").await?;
    let first = payments.pause(pause_of(Part::Consumer)).await?;
    let second = payments.pause(Pause { consumer: "payments".into(), ..pause_of(Part::Consumer) }).await?;
    let third = payments.pause(pause_of(Part::Consumer)).await?;
    let all = format!("(pause {first}), one of 3 pauses, each of which has to end: also {second}, {third}");
    shows(&mesh, "payments.consumer.0", "paused", &all).await?;
    payments.resume(first).await?;
    let rest = format!("(pause {second}), one of 2 pauses, each of which has to end: also {third}");
    shows(&mesh, "payments.consumer.0", "paused", &rest).await?;
    payments.resume(second).await?;
    payments.resume(third).await?;
    shows(&mesh, "payments.consumer.0", "ok", "").await
}

#[tokio::test]
async fn a_paused_kind_waits_and_leaves_on_real_servers() -> Result<()> {
    let env = [("ADMIN_TOKEN", ADMIN_TOKEN.to_owned()), ("PARK", "key".to_owned())];
    let mesh = Mesh::start_with(APART, &env).await?;
    mesh.account("alice", 1_000).await?;
    let mut operator = Operator::of(&mesh, "payments").await?;
    let kind = operator.pause(Pause { kind: PLACED.into(), ..pause_of(Part::Consumer) }).await?;
    shows(&mesh, &format!("payments.kind.{PLACED}"), "paused", "olga").await?;
    shows(&mesh, "payments.consumer.0", "ok", "").await?;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(mesh.order("alice", 30).await?);
    }
    eventually("ten orders that wait", PATIENCE, async || {
        let waiting = mesh.count("payments", "SELECT COUNT(*) FROM parked WHERE state = 3").await?;
        ensure!(waiting == 10, "{waiting}");
        let scrape = Scrape::of(mesh.admin("payments")?).await?;
        let labels = [("consumer", "payments"), ("state", "waiting")];
        ensure!(scrape.number("messaging_parked_messages", &labels)? == 10.0);
        ensure!(scrape.number("messaging_parked_total", &[("consumer", "payments")])? == 0.0);
        anyhow::Ok(())
    })
    .await?;
    operator.resume(kind).await?;
    for id in &ids {
        ensure!(mesh.ended(id).await?["status"] == "FINISHED");
    }
    ensure!(mesh.balance("alice").await? == 700);
    mesh.at_rest().await
}

/// Places an order for each of these users, and returns their ids.
async fn place(mesh: &Mesh, users: &[&String]) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for user in users {
        ids.push(mesh.order(user, 1).await?);
    }
    Ok(ids)
}

/// Of two partitions one is paused: only the orders of its users wait.
#[tokio::test]
async fn a_paused_partition_holds_up_its_users_alone() -> Result<()> {
    let env = [("ADMIN_TOKEN", ADMIN_TOKEN.to_owned()), ("PARTITIONS", "2".to_owned())];
    let mesh = Mesh::start_with(APART, &env).await?;
    let users: Vec<String> = (0..12).map(|user| format!("user-{user}")).collect();
    for user in &users {
        mesh.account(user, 10).await?;
    }
    let (first, second): (Vec<&String>, Vec<&String>) =
        users.iter().partition(|user| partition(user, 2) == 0);
    ensure!(first.len() > 2 && second.len() > 2, "{first:?} {second:?}");
    let mut operator = Operator::of(&mesh, "payments").await?;
    let pause = operator.pause(Pause { partition: Some(0), ..pause_of(Part::Consumer) }).await?;
    shows(&mesh, "payments.consumer.0", "paused", "paused by olga: a bad release").await?;
    shows(&mesh, "payments.consumer.1", "ok", "").await?;
    // Those that wait are placed first: what comes behind them does not wait for them.
    let (waiting, others) = (place(&mesh, &first).await?, place(&mesh, &second).await?);
    for id in &others {
        ensure!(mesh.ended(id).await?["status"] == "FINISHED");
    }
    for id in &waiting {
        is_new(&mesh, id).await?;
    }
    shows(&mesh, "payments.consumer.0", "paused", "olga").await?;
    operator.resume(pause).await?;
    for id in &waiting {
        ensure!(mesh.ended(id).await?["status"] == "FINISHED");
    }
    shows(&mesh, "payments.consumer.0", "ok", "").await?;
    for user in &users {
        ensure!(mesh.balance(user).await? == 9, "{user} has paid twice, or not");
    }
    mesh.at_rest().await
}
