//! The whole way of an order: where it is, and why it does not get on. Each cause is made, not claimed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lapin::{Channel, Connection, ConnectionProperties, options::QueueBindOptions, types::FieldTable};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ordermesh::{
    orders::v1::{
        CreateOrderRequest, ExplainOrderRequest, Order, OrderExplanation,
        orders_admin_service_client::OrdersAdminServiceClient, orders_service_client::OrdersServiceClient,
    },
    payments::v1::{ExplainPaymentRequest, payments_admin_service_client::PaymentsAdminServiceClient},
};
use sea_orm::{ConnectionTrait as _, Database, TransactionTrait as _};
use serde_json::{Value, json};
use world::{PATIENCE, Process, eventually};

use crate::{
    admin_cli::POISON,
    admin_json::{admin, json_of, with_token},
    mesh::{ADMIN_TOKEN, APART, Arrangement, EMBEDDED, Mesh},
    paused::Paused,
    processes::both_are_listed,
};

/// The explanation of an order, over HTTP.
pub(crate) async fn explain(mesh: &Mesh, id: &str) -> Result<Value> {
    admin(mesh, "orders", &format!("/{id}:explain")).await
}

/// Waits until an order is stuck because of this, and returns what is said of it.
pub(crate) async fn is_stuck(mesh: &Mesh, id: &str, cause: &str) -> Result<Value> {
    eventually(cause, PATIENCE, async || {
        let explained = explain(mesh, id).await?;
        ensure!(explained["stuck"]["cause"] == cause, "{:#}", explained["stuck"]);
        Ok(explained["stuck"].clone())
    })
    .await
}

pub(crate) fn says(stuck: &Value, text: &str) -> Result<()> {
    let sentence = stuck["sentence"].as_str().context("a sentence")?;
    ensure!(sentence.contains(text), "{sentence:?} does not say {text:?}");
    Ok(())
}

/// The state of each station by its name.
fn states(explained: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let stations = explained["stations"].as_array().into_iter().flatten();
    stations.map(|station| (text(&station["name"]), text(&station["state"]))).collect()
}

#[tokio::test]
async fn an_order_that_has_ended_has_passed_every_station() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 100).await?;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let place = mesh.api.request(reqwest::Method::POST, "/gateway/orders");
    let place = place.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let placed = world::answer(place.json(&json!({ "userId": "alice", "amount": 30 }))).await?;
    let id = placed.body["id"].as_str().with_context(|| placed.text.clone())?.to_owned();
    mesh.ended(&id).await?;
    mesh.at_rest().await?;
    let explained = explain(&mesh, &id).await?;
    let names = ["PLACED", "IN_OUTBOX", "PUBLISHED", "DELIVERED", "DECIDED", "DECISION_PUBLISHED", "ENDED"];
    let all: Vec<_> = names.iter().map(|name| ((*name).to_owned(), "PASSED".to_owned())).collect();
    ensure!(states(&explained) == all, "{explained:#}");
    ensure!(explained["order"]["status"] == "FINISHED" && explained["stuck"].is_null(), "{explained:#}");
    let stations = explained["stations"].as_array().context("stations")?;
    for (station, name) in stations.iter().zip(names) {
        ensure!(station["traceId"] == trace, "{station}");
        // Nothing keeps when a message left: that is said, and nothing made up.
        let recorded = !name.contains("PUBLISHED");
        ensure!(
            station["time"].is_string() == recorded && station["note"].is_string() != recorded
                || name == "DECIDED",
            "{station}"
        );
    }
    ensure!(
        stations[1]["messageId"] == id.as_str() && stations[3]["messageId"] == id.as_str(),
        "{explained:#}"
    );
    ensure!(stations[4]["note"] == "PAID", "{explained:#}");

    // Over gRPC it is the same, but for the moment.
    let mut client = OrdersAdminServiceClient::connect(format!("http://{}", mesh.orders)).await?;
    let request = ExplainOrderRequest { order_id: id.clone() };
    let over_grpc = client.explain_order(with_token(request)?).await?.into_inner();
    ensure!(timeless(json_of(&over_grpc)?) == timeless(explained), "{over_grpc:?}");
    let payments = explain_payment(&mesh, &id).await?;
    ensure!(payments["payment"]["outcome"] == "PAID" && payments["traceId"] == trace, "{payments:#}");

    let api = mesh.admin("orders")?.with_token(ADMIN_TOKEN);
    for unknown in ["0190d9a0-0000-7000-8000-000000000000", "nothing"] {
        let answer = api.get(&format!("/admin/v1/orders/{unknown}:explain")).await?;
        ensure!(answer.status == 404 && answer.body["reason"] == "ORDER_NOT_FOUND", "{}", answer.text);
    }
    let answer = api.get("/admin/v1/payments/orders/nothing:explain?userId=alice").await?;
    ensure!(answer.status == 400 && answer.body["reason"] == "INVALID_FIELD", "{}", answer.text);
    Ok(())
}

/// What payments says of an order, over gRPC and over HTTP.
async fn explain_payment(mesh: &Mesh, id: &str) -> Result<Value> {
    let mut client = PaymentsAdminServiceClient::connect(format!("http://{}", mesh.payments)).await?;
    let request =
        ExplainPaymentRequest { order_id: id.to_owned(), user_id: "alice".into(), message_ids: Vec::new() };
    let mut over_grpc = json_of(&client.explain_payment(with_token(request)?).await?.into_inner())?;
    let mut over_http = admin(mesh, "payments", &format!("/orders/{id}:explain?userId=alice")).await?;
    for said in [&mut over_grpc, &mut over_http] {
        // How long a lease lasts, and what left lately.
        said["whereabouts"]["relay"] = Value::Null;
        said["whereabouts"]["consumer"] = Value::Null;
    }
    ensure!(over_grpc == over_http, "{over_grpc:#}\n{over_http:#}");
    Ok(over_http)
}

/// Without what depends on when it was asked.
fn timeless(mut explained: Value) -> Value {
    explained["explainTime"] = Value::Null;
    for station in explained["stations"].as_array_mut().into_iter().flatten() {
        station["age"] = Value::Null;
    }
    explained
}

/// The broker cannot be reached from the beginning: everything waits in the outbox.
#[tokio::test]
async fn without_a_broker_an_order_waits_in_the_outbox() -> Result<()> {
    let mesh = Mesh::start_with(EMBEDDED, &[("AMQP_URL", "amqp://127.0.0.1:1".to_owned())]).await?;
    mesh.account("alice", 100).await?;
    let id = mesh.order("alice", 1).await?;
    let stuck = is_stuck(&mesh, &id, "BROKER_AWAY").await?;
    says(&stuck, "the relay of orders has no broker")?;
    ensure!(stuck["messageId"] == id.as_str() && stuck["service"] == "broker", "{stuck:#}");
    let explained = explain(&mesh, &id).await?;
    let waits = states(&explained).into_iter().find(|(_, state)| state == "WAITING").context("it waits")?;
    ensure!(waits.0 == "IN_OUTBOX", "{explained:#}");
    Ok(())
}

/// The broker goes away from a mesh that runs, and comes back.
#[tokio::test]
async fn a_broker_that_goes_away_is_the_cause_until_it_is_back() -> Result<()> {
    let arrangement = Arrangement { own_broker: true, ..APART };
    let mut mesh = Mesh::start_with(arrangement, &[("ADMIN_TOKEN", ADMIN_TOKEN.to_owned())]).await?;
    mesh.account("alice", 100).await?;
    let first = mesh.order("alice", 1).await?;
    mesh.ended(&first).await?;
    mesh.rabbitmq.as_mut().context("a broker")?.stop().await?;
    let id = mesh.order("alice", 1).await?;
    let stuck = is_stuck(&mesh, &id, "BROKER_AWAY").await?;
    says(&stuck, "the relay of orders has no broker")?;
    ensure!(stuck["messageId"] == id.as_str() && stuck["since"].is_string(), "{stuck:#}");
    mesh.rabbitmq.as_mut().context("a broker")?.start_again().await?;
    mesh.ended(&id).await?;
    ensure!(explain(&mesh, &id).await?["stuck"].is_null(), "it has ended");
    Ok(())
}

/// Each cause on one mesh as it runs in production.
#[tokio::test]
async fn each_cause_is_found() -> Result<()> {
    let env = [("ADMIN_TOKEN", ADMIN_TOKEN.to_owned()), ("MAX_BATCH", "4".to_owned())];
    let mut mesh = Mesh::start_with(APART, &env).await?;
    for user in ["alice", "bob", "poison", "slow"] {
        mesh.account(user, 1_000).await?;
    }
    let first = mesh.order("alice", 1).await?;
    mesh.ended(&first).await?;
    let payments = Database::connect(mesh.database_url("payments")).await?;
    payments
        .execute_unprepared(
            "CREATE FUNCTION hinder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.user_id = 'poison' THEN RAISE EXCEPTION 'the poison works'; END IF;
                IF NEW.user_id = 'slow' THEN PERFORM pg_sleep(0.1); END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER hinder BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION hinder()",
        )
        .await?;
    what_was_parked(&mesh).await?;
    what_is_paused(&mesh).await?;
    a_consumer_that_is_too_slow(&mesh).await?;
    a_locked_account(&mesh, &payments).await?;
    a_frozen_process(&mesh).await?;
    payments.close().await?;
    a_database_away(&mesh).await?;
    mesh.processes[1].kill9().await?;
    let unheard = mesh.order("alice", 1).await?;
    let stuck = is_stuck(&mesh, &unheard, "PAYMENTS_UNREACHABLE").await?;
    says(&stuck, "payments cannot be asked")?;
    ensure!(explain(&mesh, &unheard).await?["paymentsError"].is_string());
    Ok(())
}

/// Parked, unroutable, held: with what its messages ran into.
async fn what_was_parked(mesh: &Mesh) -> Result<()> {
    let id = mesh.order("poison", 1).await?;
    let parked = is_stuck(mesh, &id, "PARKED").await?;
    says(&parked, "the poison works")?;
    ensure!(parked["parkedSequence"].is_string() && parked["messageId"] == id.as_str(), "{parked:#}");
    let delivered = states(&explain(mesh, &id).await?).into_iter().nth(3).context("a station")?;
    ensure!(delivered == ("DELIVERED".to_owned(), "WAITING".to_owned()), "{delivered:?}");

    let publish = |id: &str, kind: &str| {
        let payload: String = id.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "INSERT INTO outbox (message_id, kind, partition_key, payload, create_time, state, attempts, next_attempt_time)
             VALUES (gen_random_uuid(), '{kind}', 'poison', '\\x{payload}', 0, 0, 0, 0)"
        )
    };
    mesh.tamper("orders", &publish(&id, "ordermesh.orders.v1.Unwanted")).await?;
    says(&is_stuck(mesh, &id, "UNROUTABLE").await?, "ordermesh.orders.v1.Unwanted")?;
    // What comes behind it is not even published.
    let behind = mesh.order("poison", 1).await?;
    is_stuck(mesh, &behind, "PARKED").await?;
    mesh.tamper("orders", &publish(&behind, "ordermesh.orders.v1.Unwanted")).await?;
    says(&is_stuck(mesh, &behind, "UNROUTABLE").await?, "ordermesh.orders.v1.Unwanted")?;
    mesh.tamper("orders", "DELETE FROM outbox").await?;

    let channel = channel(mesh).await?;
    let key = "ordermesh.orders.v1.OrderChanged.0".into();
    let (queue, exchange) = ("ordermesh.events.payments.0".into(), ordermesh::EVENTS_EXCHANGE.into());
    channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default()).await?;
    mesh.tamper("orders", &publish(&id, "ordermesh.orders.v1.OrderChanged")).await?;
    says(&is_stuck(mesh, &id, "HELD").await?, "does not know ordermesh.orders.v1.OrderChanged")
}

/// The consumer of payments, and then one kind of its messages.
async fn what_is_paused(mesh: &Mesh) -> Result<()> {
    for (kind, cause) in [("", "PAUSED"), ("ordermesh.orders.v1.OrderPlaced", "WAITING")] {
        let paused = Paused::consumer(mesh, "payments", kind, "a bad release").await?;
        let id = mesh.order("bob", 1).await?;
        says(&is_stuck(mesh, &id, cause).await?, "paused by olga: a bad release")?;
        paused.resume().await?;
        mesh.ended(&id).await?;
    }
    Ok(())
}

/// Without queues, each order of a user waits in the outbox for the end of the pause, and those behind the first one are not tried.
#[tokio::test]
async fn each_order_behind_a_pause_has_it_for_its_cause() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 100).await?;
    let operator = mesh.admin("payments")?.with_token(ADMIN_TOKEN);
    let pause = json!({ "part": "CONSUMER", "reason": "a bad release", "operator": "olga" });
    let paused = operator.post("/admin/v1/payments/pauses", &pause).await?;
    ensure!(paused.status == 200, "{}", paused.text);
    for _ in 0..3 {
        let id = mesh.order("alice", 1).await?;
        says(&is_stuck(&mesh, &id, "PAUSED").await?, "paused by olga: a bad release")?;
        eventually("a message that was given back", PATIENCE, async || {
            let waits = "SELECT COUNT(*) FROM outbox WHERE next_attempt_time > 0";
            ensure!(mesh.count("orders", waits).await? > 0, "none");
            Ok(())
        })
        .await?;
        let stuck = explain(&mesh, &id).await?["stuck"].clone();
        ensure!(stuck["cause"] == "PAUSED", "{stuck:#}");
    }
    Ok(())
}

/// With the order of a key kept, an order behind a parked one says which that is, and how many there are.
#[tokio::test]
async fn what_waits_behind_a_parked_one_names_it() -> Result<()> {
    let mesh = Mesh::start_with(EMBEDDED, &[("PARK", "key".to_owned())]).await?;
    mesh.tamper("payments", POISON).await?;
    mesh.account("poison", 10).await?;
    let first = mesh.order("poison", 1).await?;
    let number = is_stuck(&mesh, &first, "PARKED").await?["parkedSequence"].clone();
    is_stuck(&mesh, &mesh.order("poison", 1).await?, "WAITING").await?;
    let last = mesh.order("poison", 1).await?;
    let number = number.as_str().context("a number")?;
    let behind = format!("2 messages of its key are before it, the first of which is number {number}");
    says(&is_stuck(&mesh, &last, "WAITING").await?, &behind)
}

async fn channel(mesh: &Mesh) -> Result<Channel> {
    let url = mesh.rabbitmq.as_ref().context("a mesh on RabbitMQ")?.amqp_url();
    Ok(Connection::connect(&url, ConnectionProperties::default()).await?.create_channel().await?)
}

async fn a_consumer_that_is_too_slow(mesh: &Mesh) -> Result<()> {
    let mut last = String::new();
    for _ in 0..60 {
        last = mesh.order("slow", 1).await?;
    }
    let stuck = is_stuck(mesh, &last, "CONSUMER_TOO_SLOW").await?;
    let rate = stuck["perSecond"].as_f64().context("a rate")?;
    ensure!((0.5..25.0).contains(&rate), "{stuck:#}");
    mesh.ended(&last).await?;
    Ok(())
}

/// An order whose account is locked blocks its partition after a time; before that, one that is cancelled waits for its void.
async fn a_locked_account(mesh: &Mesh, payments: &sea_orm::DatabaseConnection) -> Result<()> {
    let lock = payments.begin().await?;
    lock.execute_unprepared("SELECT * FROM accounts WHERE user_id = 'alice' FOR UPDATE").await?;
    let blocked = mesh.order("alice", 1).await?;
    let cancelled = mesh.order("alice", 1).await?;
    let asked = mesh.api.post(&format!("/gateway/orders/{cancelled}:cancel"), &json!({})).await?;
    ensure!(asked.status == 200, "{}", asked.text);
    is_stuck(mesh, &cancelled, "VOID_PENDING").await?;
    let stuck = is_stuck(mesh, &blocked, "PARTITION_BLOCKED").await?;
    ensure!(stuck["service"] == "payments" && stuck["since"].is_string(), "{stuck:#}");
    lock.rollback().await?;
    mesh.ended(&blocked).await?;
    mesh.ended(&cancelled).await?;
    Ok(())
}

/// Of two processes of orders the one that publishes is frozen; the other one says so until it takes over.
async fn a_frozen_process(mesh: &Mesh) -> Result<()> {
    let mut other = mesh.another_orders()?;
    let url = format!("http://{}", other.address("orders-grpc").await?);
    let admin = OrdersAdminServiceClient::connect(url.clone()).await?;
    let mut orders = OrdersServiceClient::connect(url).await?;
    let frozen = Frozen::new(&mesh.processes[0])?;
    let order = Order { user_id: "bob".into(), amount: 1, ..Order::default() };
    let request = CreateOrderRequest { order: Some(order), ..CreateOrderRequest::default() };
    let order_id = orders.create_order(request).await?.into_inner().id;
    let holder = format!("process {}", mesh.processes[0].pid());
    eventually("LEASE_HELD", PATIENCE, async || {
        let request = ExplainOrderRequest { order_id: order_id.clone() };
        let explained: OrderExplanation =
            admin.clone().explain_order(with_token(request)?).await?.into_inner();
        let stuck = explained.stuck.context("it has ended")?;
        ensure!(stuck.cause().as_str_name() == "LEASE_HELD" && stuck.sentence.contains(&holder), "{stuck:?}");
        Ok(())
    })
    .await?;
    both_are_listed(&format!("http://{}", other.address("orders-grpc").await?), &holder).await?;
    drop(frozen);
    mesh.ended(&order_id).await?;
    other.terminate()?;
    other.wait(Duration::from_secs(30)).await?;
    drop(admin);
    Ok(())
}

/// A process that is stopped as long as this is there.
struct Frozen(Pid);

impl Frozen {
    fn new(process: &Process) -> Result<Self> {
        let pid = Pid::from_raw(i32::try_from(process.pid())?);
        kill(pid, Signal::SIGSTOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _gone = kill(self.0, Signal::SIGCONT);
    }
}

async fn a_database_away(mesh: &Mesh) -> Result<()> {
    let server = Database::connect(mesh.postgres.as_ref().context("a server")?.url("postgres")).await?;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'payments'";
    server.execute_unprepared("ALTER DATABASE payments ALLOW_CONNECTIONS false").await?;
    server.execute_unprepared(cut).await?;
    let id = mesh.order("bob", 1).await?;
    let stuck = is_stuck(mesh, &id, "PAYMENTS_DATABASE_AWAY").await?;
    says(&stuck, "the database of payments is away")?;
    let unknown = states(&explain(mesh, &id).await?).into_iter().filter(|(_, state)| state == "UNKNOWN");
    ensure!(unknown.count() > 0, "what payments knows is not known");
    server.execute_unprepared("ALTER DATABASE payments ALLOW_CONNECTIONS true").await?;
    mesh.ended(&id).await?;
    server.close().await?;
    Ok(())
}
