//! What an operator sees of requests, calls, connections and failures in `/metrics`, and that Prometheus takes it.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use ordermesh::orders::v1::{GetOrderRequest, orders_service_client::OrdersServiceClient};
use reqwest::Method;
use sea_orm::{ConnectionTrait as _, Database, TransactionTrait as _};
use tokio::{io::AsyncWriteExt as _, process::Command, try_join};
use world::{PATIENCE, eventually};

use crate::{
    mesh::{APART, Arrangement, EMBEDDED, Mesh},
    scrape::Scrape,
};

const REQUESTS: &str = "http_server_request_duration_seconds";
const CALLS: &str = "rpc_server_call_duration_seconds";
const UNKNOWN_ORDER: &str = "0190163d-8694-739b-aea5-966c26f8ad90";

#[tokio::test]
async fn requests_and_calls_are_counted_by_route_and_status() -> Result<()> {
    let one_stream = ("GATEWAY_MAX_STREAMS_PER_CLIENT", "1".to_owned());
    let mut mesh = Mesh::start_with(APART, &[one_stream]).await?;
    mesh.account("alice", 1_000).await?;
    let id = mesh.order("alice", 1).await?;
    mesh.ended(&id).await?;
    for path in [
        format!("/gateway/orders/{UNKNOWN_ORDER}"),
        "/nowhere".to_owned(),
        "/gateway/orders/x/y/z".to_owned(),
    ] {
        ensure!(mesh.api.get(&path).await?.status == 404, "{path}");
    }
    let odd = mesh.api.request(Method::from_bytes(b"BREW")?, "/nowhere");
    ensure!(world::answer(odd).await?.status == 404);
    let gateway = mesh.admin("gateway")?;
    let route = |method, route, status| {
        [("http_request_method", method), ("http_route", route), ("http_response_status_code", status)]
    };
    let scrape = Scrape::of(gateway).await?;
    let (posted, seconds) = scrape.histogram(REQUESTS, &route("POST", "/gateway/orders", "200"))?;
    ensure!(posted == 1.0 && seconds > 0.0 && seconds < 60.0, "{posted} orders in {seconds} s");
    let missing = scrape.histogram(REQUESTS, &route("GET", "/gateway/orders/{order_id}", "404"))?;
    ensure!(missing.0 == 1.0, "{missing:?}");
    // What clients make up makes no series.
    ensure!(!scrape.text().contains("nowhere") && !scrape.text().contains("BREW"), "{}", scrape.text());
    let odd = [("http_request_method", "_OTHER"), ("http_response_status_code", "404")];
    ensure!(scrape.histogram(REQUESTS, &odd)?.0 == 1.0);

    // The same call over gRPC, at the edge and at the service.
    let (edge, orders) = (mesh.api.base().to_owned(), format!("http://{}", mesh.orders));
    for address in [edge, orders] {
        let mut client = OrdersServiceClient::connect(address).await?;
        let request = GetOrderRequest { order_id: UNKNOWN_ORDER.to_owned() };
        client.get_order(request).await.err().context("there is no such order")?;
    }
    for (service, times) in [("gateway", 1.0), ("orders", 3.0)] {
        let labels = [
            ("rpc_method", "ordermesh.orders.v1.OrdersService/GetOrder"),
            ("rpc_response_status_code", "NOT_FOUND"),
        ];
        // The end of a call is counted when its client may have it already.
        eventually(service, PATIENCE, async || {
            let scrape = Scrape::of(mesh.admin(service)?).await?;
            let (calls, _) = scrape.histogram(CALLS, &labels)?;
            ensure!(calls == times, "{calls} of {times} at {service}");
            anyhow::Ok(())
        })
        .await?;
    }
    what_is_open_is_shown(&mesh).await?;
    what_is_used_of_a_pool_is_shown(&mesh).await?;
    what_is_tried_again_is_shown(&mut mesh, &id).await
}

/// Of a service that has died.
async fn what_is_tried_again_is_shown(mesh: &mut Mesh, id: &str) -> Result<()> {
    mesh.processes[0].kill9().await?;
    ensure!(mesh.api.get(&format!("/gateway/orders/{id}")).await?.status == 503);
    let scrape = Scrape::of(mesh.admin("gateway")?).await?;
    let retries = scrape.number("gateway_upstream_retries_total", &[])?;
    ensure!(retries >= 1.0, "{retries} calls were made again");
    let labels = [("service", "ordermesh.orders.v1.OrdersService"), ("state", "left_out")];
    ensure!(scrape.number("gateway_upstream_endpoints", &labels)? == 1.0, "{}", scrape.text());
    Ok(())
}

/// Of reads that wait for a table.
async fn what_is_used_of_a_pool_is_shown(mesh: &Mesh) -> Result<()> {
    let holder = Database::connect(mesh.database_url("orders")).await?.begin().await?;
    holder.execute_unprepared("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await?;
    let asked = mesh.api.get("/gateway/orders?userId=alice");
    let shown = async {
        eventually("a connection in use", PATIENCE, async || {
            let scrape = Scrape::of(mesh.admin("orders")?).await?;
            let of = |state| {
                let pool = [("service_name", "orders"), ("db_client_connection_pool_name", "read")];
                scrape.number(
                    "db_client_connections",
                    &[pool[0], pool[1], ("db_client_connection_state", state)],
                )
            };
            ensure!(of("used")? >= 1.0 && of("idle")? <= 7.0, "{} and {}", of("used")?, of("idle")?);
            let report = [("service_name", "orders"), ("db_client_connection_pool_name", "report")];
            ensure!(scrape.number("db_client_connection_max", &report)? == 2.0);
            anyhow::Ok(())
        })
        .await?;
        Ok(holder.rollback().await?)
    };
    let (answer, ()) = try_join!(asked, shown)?;
    ensure!(answer.status == 200, "{}", answer.text);
    Ok(())
}

async fn what_is_open_is_shown(mesh: &Mesh) -> Result<()> {
    let watched = mesh.api.request(Method::GET, "/gateway/orders:watch").send().await?;
    ensure!(watched.status() == 200, "{}", watched.status());
    eventually("the stream to be shown", PATIENCE, async || {
        let scrape = Scrape::of(mesh.admin("gateway")?).await?;
        for name in ["http_server_connections", "http_server_open_streams"] {
            ensure!(scrape.number(name, &[])? >= 1.0, "{name}");
        }
        for service in ["ordermesh.orders.v1.OrdersService", "ordermesh.payments.v1.PaymentsService"] {
            let labels = [("service", service), ("state", "called")];
            ensure!(scrape.number("gateway_upstream_endpoints", &labels)? == 1.0, "{service}");
        }
        let scrape = Scrape::of(mesh.admin("orders")?).await?;
        ensure!(scrape.number("rpc_server_connections", &[("service_name", "orders")])? >= 1.0);
        let pool = [("service_name", "orders"), ("db_client_connection_pool_name", "read")];
        ensure!(scrape.number("db_client_connection_max", &pool)? == 8.0);
        anyhow::Ok(())
    })
    .await?;
    ensure!(mesh.api.get("/gateway/orders:watch").await?.status == 429, "a second stream of one client");
    let refused = [("limit", "--max-streams-per-client")];
    let scrape = Scrape::of(mesh.admin("gateway")?).await?;
    ensure!(scrape.number("http_server_refused_requests_total", &refused)? == 1.0);
    drop(watched);
    eventually("the stream to be gone", PATIENCE, async || {
        let scrape = Scrape::of(mesh.admin("gateway")?).await?;
        ensure!(scrape.number("http_server_open_streams", &[])? == 0.0);
        anyhow::Ok(())
    })
    .await
}

/// In one process the edge calls the services without a socket, and the same is seen of it.
#[tokio::test]
async fn calls_within_one_process_are_counted_and_need_no_connection() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    ensure!(mesh.api.get(&format!("/gateway/orders/{UNKNOWN_ORDER}")).await?.status == 404);
    let watched = mesh.api.request(Method::GET, "/gateway/orders:watch").send().await?;
    ensure!(watched.status() == 200, "{}", watched.status());
    eventually("the call to be counted", PATIENCE, async || {
        let scrape = Scrape::of(mesh.admin("ordermesh")?).await?;
        let call = [
            ("service_name", "orders"),
            ("rpc_method", "ordermesh.orders.v1.OrdersService/GetOrder"),
            ("rpc_response_status_code", "NOT_FOUND"),
        ];
        ensure!(scrape.histogram(CALLS, &call)?.0 == 1.0);
        for service in ["orders", "payments"] {
            ensure!(
                scrape.number("rpc_server_connections", &[("service_name", service)])? == 0.0,
                "{service}"
            );
        }
        for service in ["ordermesh.orders.v1.OrdersService", "ordermesh.payments.v1.PaymentsService"] {
            let labels = [("service", service), ("state", "called")];
            ensure!(scrape.number("gateway_upstream_endpoints", &labels)? == 1.0, "{service}");
        }
        anyhow::Ok(())
    })
    .await?;
    drop(watched);
    let mut client = OrdersServiceClient::connect(format!("http://{}", mesh.orders)).await?;
    let request = GetOrderRequest { order_id: UNKNOWN_ORDER.to_owned() };
    client.get_order(request).await.err().context("others still find the listener")?;
    Ok(())
}

#[tokio::test]
async fn prometheus_takes_what_every_process_shows() -> Result<()> {
    let mesh = Mesh::start(APART).await?;
    mesh.account("alice", 1_000).await?;
    let id = mesh.order("alice", 1).await?;
    mesh.ended(&id).await?;
    for service in ["gateway", "orders", "payments"] {
        let scrape = Scrape::of(mesh.admin(service)?).await?;
        let build = ("service_build", chassis::version::BUILD);
        let version = [("service_name", service), ("service_version", env!("CARGO_PKG_VERSION")), build];
        ensure!(scrape.number("build_info", &version)? == 1.0, "{service}");
        let age = world::now() as f64 - scrape.number("process_start_time_seconds", &[])?;
        ensure!((-2.0..600.0).contains(&age), "{service} has run for {age} s");
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_max_fds"] {
            ensure!(scrape.number(name, &[])? > 0.0, "{name} of {service}");
        }
        ensure!(scrape.text().contains("\nprocess_cpu_seconds_total "), "{service}");
        promtool_takes(&scrape, service).await?;
    }
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 1_000).await?;
    let id = mesh.order("alice", 1).await?;
    mesh.ended(&id).await?;
    promtool_takes(&Scrape::of(mesh.admin("ordermesh")?).await?, "ordermesh").await
}

/// What Prometheus says of it, which is nothing.
async fn promtool_takes(scrape: &Scrape, process: &str) -> Result<()> {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().context("promtool is not installed: run scripts/setup")?;
    let mut input = promtool.stdin.take().context("piped")?;
    input.write_all(scrape.text().as_bytes()).await?;
    drop(input);
    let checked = promtool.wait_with_output().await?;
    let said =
        [checked.stdout, checked.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    ensure!(checked.status.success() && said.trim().is_empty(), "{process}: {said}\n{}", scrape.text());
    Ok(())
}

#[tokio::test]
async fn a_limit_that_refuses_is_named() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    let admin = &mesh.admin("ordermesh")?;
    let refused = [("limit", "--max-body-bytes")];
    ensure!(Scrape::of(admin).await?.number("http_server_refused_requests_total", &refused)? == 0.0);
    let large = mesh.api.request(Method::POST, "/gateway/orders").header("content-type", "application/json");
    ensure!(world::answer(large.body(vec![b' '; 2 << 20])).await?.status == 413);
    ensure!(Scrape::of(admin).await?.number("http_server_refused_requests_total", &refused)? == 1.0);
    Ok(())
}

#[tokio::test]
async fn a_gauge_that_cannot_be_refreshed_disappears() -> Result<()> {
    let mut mesh = Mesh::start(Arrangement { rabbitmq: false, apart: false, ..APART }).await?;
    let gauges = [
        "messaging_outbox_messages",
        "messaging_outbox_oldest_age_seconds",
        "messaging_parked_messages",
        "messaging_inbox_overdue_age_seconds",
        "orders_oldest_new_age_seconds",
    ];
    let before = failures(&mesh).await?;
    eventually("the gauges", PATIENCE, async || {
        let scrape = Scrape::of(mesh.admin("ordermesh")?).await?;
        gauges.iter().try_for_each(|name| shown(&scrape, name, true))
    })
    .await?;
    let mut postgres = mesh.postgres.take().context("a mesh on PostgreSQL")?;
    postgres.stop().await?;
    eventually("the gauges to disappear", 2 * PATIENCE, async || {
        let scrape = Scrape::of(mesh.admin("ordermesh")?).await?;
        gauges.iter().try_for_each(|name| shown(&scrape, name, false))?;
        // What is known all the same stays.
        shown(&scrape, "ordermesh_part_state", true)?;
        shown(&scrape, "messaging_waiting_messages", true)
    })
    .await?;
    let after = failures(&mesh).await?;
    ensure!(after > before, "{before} and then {after} failures were counted");
    postgres.start_again().await?;
    eventually("the gauges again", PATIENCE, async || {
        let scrape = Scrape::of(mesh.admin("ordermesh")?).await?;
        gauges.iter().try_for_each(|name| shown(&scrape, name, true))
    })
    .await?;
    drop(mesh);
    postgres.stop().await
}

/// How often the database was away.
async fn failures(mesh: &Mesh) -> Result<f64> {
    let labels = [("db_system_name", "postgresql"), ("error_type", "unavailable")];
    Scrape::of(mesh.admin("ordermesh")?).await?.number("db_client_operation_failures_total", &labels)
}

/// What the broker said last of its queues is not what is in them now.
#[tokio::test]
async fn a_gauge_of_the_broker_disappears_with_it() -> Result<()> {
    let mut mesh =
        Mesh::start(Arrangement { own_broker: true, postgres: false, apart: false, ..APART }).await?;
    gauges_of_the_broker(&mesh, true).await?;
    mesh.rabbitmq.as_mut().context("a mesh on RabbitMQ")?.stop().await?;
    gauges_of_the_broker(&mesh, false).await?;
    mesh.rabbitmq.as_mut().context("a mesh on RabbitMQ")?.start_again().await?;
    gauges_of_the_broker(&mesh, true).await
}

/// Waits until they are there, or are not; that of the outbox stays.
async fn gauges_of_the_broker(mesh: &Mesh, wanted: bool) -> Result<()> {
    let gauges = ["messaging_queue_messages", "messaging_queue_consumers", "messaging_dead_letters"];
    eventually("the gauges to appear or to disappear", 2 * PATIENCE, async || {
        let scrape = Scrape::of(mesh.admin("ordermesh")?).await?;
        gauges.iter().try_for_each(|name| shown(&scrape, name, wanted))?;
        shown(&scrape, "messaging_outbox_messages", true)
    })
    .await
}

fn shown(scrape: &Scrape, name: &str, wanted: bool) -> Result<()> {
    let is_shown = scrape.text().lines().any(|line| line.starts_with(name));
    ensure!(is_shown == wanted, "{name} in\n{}", scrape.text());
    Ok(())
}
