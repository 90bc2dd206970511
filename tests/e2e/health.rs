//! Readiness: what a process can do for its callers, told at once over HTTP, over gRPC and by `healthcheck`, whatever is away.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ordermesh::orders::v1::{CreateOrderRequest, Order, orders_service_client::OrdersServiceClient};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tonic::{Code, Streaming, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_types::StatusExt as _;
use world::{Answer, Api, PATIENCE, Port, Postgres, Process, Program, RabbitMq, eventually};

use crate::scrape::Scrape;

/// What a probe waits for.
const PROBE: Duration = Duration::from_secs(1);
const SERVICE: &str = "ordermesh.orders.v1.OrdersService";
const PAYMENTS: &str = "ordermesh.payments.v1.PaymentsService";

/// The process `orders` on a database and a broker of its own.
struct Orders {
    program: Program,
    process: Process,
    grpc: SocketAddr,
    admin: Api,
}

impl Orders {
    async fn start(database_url: &str, amqp_url: &str) -> Result<Self> {
        let program = Program::named("orders")?.env("DATABASE_URL", database_url).env("AMQP_URL", amqp_url);
        let mut process =
            program.clone().args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).start()?;
        let grpc = process.address("orders-grpc").await?;
        let admin = Api::new(format!("http://{}", process.address("admin").await?))?;
        Ok(Self { program, process, grpc, admin })
    }

    /// The answer of `/readyz`, which takes less than a second.
    async fn readyz(&self) -> Result<Answer> {
        let began = Instant::now();
        let answer = self.admin.get("/readyz").await?;
        ensure!(began.elapsed() < PROBE, "{:?}: {}", began.elapsed(), answer.text);
        Ok(answer)
    }

    /// Waits until a part has this state, with a reason that contains `words`, and `/readyz` this status.
    async fn shows(&self, status: u16, part: &str, state: &str, words: &str) -> Result<()> {
        eventually(&format!("{part} to be {state}"), PATIENCE, async || {
            let answer = self.readyz().await?;
            let reason = answer.body["parts"][part].as_str().unwrap_or_default();
            let ready = answer.status == 200 && answer.body["ready"] == true;
            ensure!(answer.status == status && ready == (status == 200), "{}", answer.text);
            ensure!(answer.body["states"][part] == state && reason.contains(words), "{}", answer.text);
            Ok(())
        })
        .await
    }

    /// What `healthcheck` writes, and whether it says that the process is ready.
    async fn healthcheck(&self) -> Result<(bool, String)> {
        let address = self.admin.base().trim_start_matches("http://").to_owned();
        let mut check = self.program.clone().args(["healthcheck", "--admin", &address]).start()?;
        let ended = check.wait(PATIENCE).await?;
        Ok((ended.success(), check.output()))
    }

    async fn health(&self) -> Result<HealthClient<tonic::transport::Channel>> {
        let channel = Endpoint::from_shared(format!("http://{}", self.grpc))?.connect().await?;
        Ok(HealthClient::new(channel))
    }

    async fn watch(&self, service: &str) -> Result<Streaming<HealthCheckResponse>> {
        let request = HealthCheckRequest { service: service.to_owned() };
        Ok(self.health().await?.watch(request).await?.into_inner())
    }

    async fn place(&self) -> Result<(), tonic::Status> {
        let channel = Endpoint::from_shared(format!("http://{}", self.grpc)).expect("a URL").connect().await;
        let order = Order { user_id: "alice".into(), amount: 1, ..Order::default() };
        let request = CreateOrderRequest { order: Some(order), request_id: String::new() };
        OrdersServiceClient::new(channel.expect("it listens")).create_order(request).await.map(drop)
    }
}

async fn status(watch: &mut Streaming<HealthCheckResponse>) -> Result<ServingStatus> {
    Ok(watch.message().await?.context("a watch does not end")?.status())
}

/// Reads a watch until it says so, whatever it says before.
async fn becomes(watch: &mut Streaming<HealthCheckResponse>, wanted: ServingStatus) -> Result<()> {
    let reading = async {
        while status(watch).await? != wanted {}
        anyhow::Ok(())
    };
    timeout(PATIENCE, reading).await.with_context(|| format!("{wanted:?} is not said"))?
}

#[tokio::test]
async fn a_service_serves_without_its_broker_and_not_without_its_database() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let nobody = Port::reserve()?;
    let amqp_url = format!("amqp://guest:guest@127.0.0.1:{}/%2f", nobody.number());
    let orders = Orders::start(&postgres.fresh_database().await?, &amqp_url).await?;

    orders.shows(200, "orders.relay", "degraded", "refused").await?;
    orders.place().await?;
    orders.shows(200, "orders.outbox", "degraded", "1 pending").await?;
    orders.shows(200, "orders.database", "ok", "ready").await?;
    let part = |part| [("part", part)];
    let scrape = Scrape::of(&orders.admin).await?;
    ensure!(scrape.number("ordermesh_part_state", &part("orders.outbox"))? == 1.0);
    ensure!(scrape.number("ordermesh_part_state", &part("orders.database"))? == 0.0);
    let (ready, said) = orders.healthcheck().await?;
    ensure!(ready && said.contains("ready, but") && said.contains("orders.relay is degraded"), "{said}");
    let (mut process, mut service) = (orders.watch("").await?, orders.watch(SERVICE).await?);
    ensure!(status(&mut process).await? == ServingStatus::Serving);
    ensure!(status(&mut service).await? == ServingStatus::Serving);

    postgres.stop().await?;
    orders.shows(503, "orders.database", "failed", "").await?;
    ensure!(status(&mut process).await? == ServingStatus::NotServing);
    ensure!(status(&mut service).await? == ServingStatus::NotServing);
    let (ready, said) = orders.healthcheck().await?;
    ensure!(!ready && said.contains("not ready: orders.database is failed"), "{said}");

    postgres.start_again().await?;
    ensure!(status(&mut process).await? == ServingStatus::Serving);
    ensure!(status(&mut service).await? == ServingStatus::Serving);
    orders.shows(200, "orders.database", "ok", "").await
}

/// Of a mesh in one process it says so of each service by itself, and of all before the stop.
#[tokio::test]
async fn an_edge_in_the_same_process_follows_the_readiness_of_each_service() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let listeners = ["--http", "--orders-grpc", "--payments-grpc", "--admin"];
    let flags = listeners.into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
    let program = Program::named("ordermesh")?.args(flags);
    let mut mesh = program.env("ORDERS_DATABASE_URL", postgres.fresh_database().await?).start()?;
    let edge = format!("http://{}", mesh.address("http").await?);
    let mut client = HealthClient::new(Endpoint::from_shared(edge)?.connect().await?);
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let mut process = client.watch(of("")).await?.into_inner();
    let mut orders = client.watch(of(SERVICE)).await?.into_inner();
    let mut payments = client.watch(of(PAYMENTS)).await?.into_inner();
    for watch in [&mut process, &mut orders, &mut payments] {
        becomes(watch, ServingStatus::Serving).await?;
    }
    postgres.stop().await?;
    for watch in [&mut process, &mut orders] {
        becomes(watch, ServingStatus::NotServing).await?;
    }
    let asked = client.check(of(PAYMENTS)).await?.into_inner();
    ensure!(asked.status() == ServingStatus::Serving, "it has another database");
    postgres.start_again().await?;
    for watch in [&mut process, &mut orders] {
        becomes(watch, ServingStatus::Serving).await?;
    }
    mesh.terminate()?;
    for watch in [&mut process, &mut orders, &mut payments] {
        ensure!(status(watch).await? == ServingStatus::NotServing);
        let end = watch.message().await.err().context("a watch ends with a status")?;
        ensure!(end.code() == Code::Unavailable, "{end:?}");
    }
    ensure!(mesh.wait(PATIENCE).await?.success(), "{}", mesh.output());
    Ok(())
}

#[tokio::test]
async fn what_the_broker_refuses_is_shown_in_its_words_and_makes_nothing_unready() -> Result<()> {
    let (postgres, rabbitmq) = (Postgres::start().await?, RabbitMq::shared().await?);
    let wrong = rabbitmq.amqp_url().replace("guest:guest@", "guest:wrong@");
    ensure!(wrong != rabbitmq.amqp_url(), "{wrong}");
    let orders = Orders::start(&postgres.fresh_database().await?, &wrong).await?;
    orders.shows(200, "orders.relay", "failed", "ACCESS_REFUSED").await?;
    orders.shows(200, "orders.consumer.0", "failed", "ACCESS_REFUSED").await?;
    let said = orders.process.output();
    ensure!(!said.contains("wrong@"), "the password is in the log: {said}");
    Ok(())
}

/// Attempts in all until the log is looked at: several of each part.
const ATTEMPTS: usize = 32;

/// What never cures itself is an ERROR once, and then every five minutes, however often it is tried.
#[tokio::test]
async fn a_lasting_mistake_is_one_error_of_each_part() -> Result<()> {
    let (postgres, rabbitmq) = (Postgres::start().await?, RabbitMq::shared().await?);
    let server = rabbitmq.amqp_url();
    let address = server.split(['@', '/']).nth(3).context("an address")?.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let counted = server.replace(&address, &listener.local_addr()?.to_string());
    let wrong = counted.replace("guest:guest@", "guest:wrong@");
    let attempts = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&attempts);
    let passing = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            seen.fetch_add(1, Ordering::Relaxed);
            let address = address.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(address).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    let orders = Orders::start(&postgres.fresh_database().await?, &wrong).await?;
    eventually("many attempts", 3 * PATIENCE, async || {
        let made = attempts.load(Ordering::Relaxed);
        ensure!(made >= ATTEMPTS, "{made}");
        Ok(())
    })
    .await?;
    passing.abort();
    let output = orders.process.output();
    for part in ["relay", "topology", "consumer.0", "dead-letters"] {
        let named = format!("messaging.part=\"{part}\"");
        let errors = output.lines().filter(|line| line.contains("ERROR") && line.contains(&named)).count();
        ensure!(errors == 1, "{errors} errors of {part}: {output}");
    }
    let errors = output.lines().filter(|line| line.contains("ERROR")).count();
    ensure!(errors == 4, "{errors} errors: {output}");
    Ok(())
}

#[tokio::test]
async fn an_unknown_service_has_no_health_and_may_be_watched() -> Result<()> {
    let postgres = Postgres::start().await?;
    let nobody = Port::reserve()?;
    let amqp_url = format!("amqp://guest:guest@127.0.0.1:{}/%2f", nobody.number());
    let mut orders = Orders::start(&postgres.fresh_database().await?, &amqp_url).await?;

    let unknown = HealthCheckRequest { service: "nobody.v1.Nobody".to_owned() };
    let refused = orders.health().await?.check(unknown).await.err().context("nobody is there")?;
    let details = refused.get_error_details();
    ensure!(refused.code() == Code::NotFound && details.error_info().is_some(), "{refused:?}");
    let mut watch = orders.watch("nobody.v1.Nobody").await?;
    ensure!(status(&mut watch).await? == ServingStatus::ServiceUnknown);
    // It stays open until the stop, which is said to be one.
    orders.process.terminate()?;
    let end = watch.message().await.err().context("a watch ends with a status")?;
    ensure!(end.code() == Code::Unavailable, "{end:?}");
    ensure!(orders.process.wait(PATIENCE).await?.success(), "{}", orders.process.output());
    Ok(())
}
