//! SIGTERM beside clients that do not end: the process ends by itself, in time and well, and the relays give their leases back.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use h2::{SendStream, client::ResponseFuture};
use http::{Method, Request, Version};
use ordermesh::orders::v1::{
    CreateOrderRequest, GetOrderRequest, Order, order, orders_service_client::OrdersServiceClient,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt as _;
use world::{PATIENCE, Process, eventually};

use crate::mesh::{ADMIN_TOKEN, APART, Arrangement, EMBEDDED, Mesh};

/// The grace period of a process: what does not end is cut before.
const GRACE: Duration = Duration::from_secs(20);
/// The other relay looks every 3 s whether it can have the lease, of which 9 s are left at least where it is not given back.
const TAKEOVER: Duration = Duration::from_secs(7);

#[tokio::test]
async fn processes_apart_stop_in_time() -> Result<()> {
    let mut mesh = Mesh::start(APART).await?;
    place_orders(&mesh).await?;
    let _clients = Stubborn::of_all(&mesh).await?;
    for process in &mut mesh.processes {
        process.terminate()?;
    }
    for process in &mut mesh.processes {
        ended_in_time(process).await?;
    }
    leases_are_free(&mesh).await
}

#[tokio::test]
async fn a_mesh_in_one_process_stops_in_time_and_goes_on() -> Result<()> {
    let mut mesh = Mesh::start(Arrangement { postgres: true, ..EMBEDDED }).await?;
    let placed = place_orders(&mesh).await?;
    let _clients = Stubborn::of_all(&mesh).await?;
    mesh.processes[0].terminate()?;
    ended_in_time(&mut mesh.processes[0]).await?;
    leases_are_free(&mesh).await?;

    mesh.start_again().await?;
    let last = mesh.order("alice", 1).await?;
    for id in placed.iter().chain([&last]) {
        ensure!(mesh.ended(id).await?["status"] == "FINISHED");
    }
    mesh.at_rest().await
}

#[tokio::test]
async fn a_second_signal_waits_for_nobody() -> Result<()> {
    let mut mesh = Mesh::start(Arrangement { postgres: true, ..EMBEDDED }).await?;
    for id in place_orders(&mesh).await? {
        mesh.ended(&id).await?;
    }
    let _client = Stubborn::of_service(mesh.orders, GET_ORDER).await?;
    mesh.processes[0].terminate()?;
    mesh.processes[0].line_with("SIGTERM received").await?;
    mesh.processes[0].terminate()?;
    let ended = mesh.processes[0].wait(PATIENCE).await?;
    ensure!(ended.code() == Some(1), "{ended}: {}", mesh.processes[0].output());
    leases_are_free(&mesh).await
}

/// A lease that is given back is taken over long before its term has passed.
#[tokio::test]
async fn another_process_takes_over_at_once() -> Result<()> {
    let mut mesh = Mesh::start(APART).await?;
    for id in place_orders(&mesh).await? {
        mesh.ended(&id).await?;
    }
    let mut other = mesh.another_orders()?;
    let mut orders =
        OrdersServiceClient::connect(format!("http://{}", other.address("orders-grpc").await?)).await?;
    mesh.processes[0].terminate()?;
    ensure!(mesh.processes[0].wait(GRACE).await?.success());
    let began = Instant::now();
    let order = Order { user_id: "alice".into(), amount: 1, ..Order::default() };
    let request = CreateOrderRequest { order: Some(order), ..CreateOrderRequest::default() };
    let order_id = orders.create_order(request).await?.into_inner().id;
    eventually("the end of the order", PATIENCE, async || {
        let order =
            orders.clone().get_order(GetOrderRequest { order_id: order_id.clone() }).await?.into_inner();
        ensure!(order.status() == order::Status::Finished, "{order:?}");
        anyhow::Ok(())
    })
    .await?;
    ensure!(began.elapsed() < TAKEOVER, "after {:?}", began.elapsed());
    other.terminate()?;
    ensure!(other.wait(GRACE).await?.success());
    Ok(())
}

/// A broker that takes nothing would have 2 s to confirm a window that is under way.
#[tokio::test]
async fn a_second_signal_waits_for_no_broker() -> Result<()> {
    let mut mesh = Mesh::start(Arrangement { own_broker: true, ..APART }).await?;
    for id in place_orders(&mesh).await? {
        mesh.ended(&id).await?;
    }
    let rabbitmq = mesh.rabbitmq.as_ref().context("a mesh on RabbitMQ")?;
    rabbitmq.control(&["set_vm_memory_high_watermark", "absolute", "1"]).await?;
    mesh.order("alice", 1).await?;
    let _client = Stubborn::of_service(mesh.orders, GET_ORDER).await?;
    mesh.processes[0].terminate()?;
    mesh.processes[0].line_with("SIGTERM received").await?;
    mesh.processes[0].terminate()?;
    let ended = mesh.processes[0].wait(PATIENCE).await?;
    ensure!(ended.code() == Some(1), "{ended}: {}", mesh.processes[0].output());
    let held = "SELECT COUNT(*) FROM leases WHERE name = 'outbox' AND expire_time > 0";
    ensure!(
        mesh.count("orders", held).await? == 0,
        "the lease was not given back: {}",
        mesh.processes[0].output()
    );
    Ok(())
}

/// The operator's listener outlives the others: whoever looks sees how the stop goes, and whoever acts is refused as everywhere else.
#[tokio::test]
async fn an_operator_looks_and_does_nothing_while_a_process_stops() -> Result<()> {
    let mut mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 1).await?;
    let operator = mesh.admin("orders")?.with_token(ADMIN_TOKEN);
    let _client = Stubborn::of_service(mesh.orders, GET_ORDER).await?;
    mesh.processes[0].terminate()?;
    let redrive = json!({ "operator": "olga" });
    let refused = eventually("a refusal", PATIENCE, async || {
        let refused = operator.post("/admin/v1/payments/parked:redrive", &redrive).await?;
        ensure!(refused.status == 503, "{}", refused.text);
        anyhow::Ok(refused)
    })
    .await?;
    ensure!(refused.body["reason"] == "UPSTREAM_UNAVAILABLE", "{}", refused.text);
    let seen = operator.get("/admin/v1/payments/parked").await?;
    ensure!(seen.status == 200, "{}", seen.text);
    ended_in_time(&mut mesh.processes[0]).await
}

#[tokio::test]
async fn streams_of_the_service_itself_end_with_it() -> Result<()> {
    let mut mesh = Mesh::start(EMBEDDED).await?;
    let mut watch = watch(mesh.orders, "ordermesh.orders.v1.OrdersService").await?;
    ensure!(status(&mut watch).await? == ServingStatus::Serving);
    let (_questions, mut answers) = reflection(mesh.orders).await?;
    ensure!(answers.message().await?.is_some(), "no answer to the first question");

    mesh.processes[0].terminate()?;
    ensure!(status(&mut watch).await? == ServingStatus::NotServing);
    let end = watch.message().await.err().context("a watch ends with a status")?;
    let details = end.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str());
    ensure!(end.code() == Code::Unavailable && reason == Some("UPSTREAM_UNAVAILABLE"), "{end:?}");
    ensure!(answers.message().await?.is_none(), "the answers end as the questions do");
    let ended = mesh.processes[0].wait(GRACE).await?;
    let output = mesh.processes[0].output();
    ensure!(ended.success() && !output.contains("cut"), "{ended}: {output}");
    Ok(())
}

async fn place_orders(mesh: &Mesh) -> Result<Vec<String>> {
    mesh.account("alice", 1_000).await?;
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.push(mesh.order("alice", 1).await?);
    }
    Ok(placed)
}

async fn ended_in_time(process: &mut Process) -> Result<()> {
    let ended = process.wait(GRACE).await?;
    let output = process.output();
    ensure!(ended.success(), "{ended}: {output}");
    ensure!(output.contains("are cut"), "nothing says that connections were cut: {output}");
    Ok(())
}

/// Whoever comes next need not wait for the end of a lease.
async fn leases_are_free(mesh: &Mesh) -> Result<()> {
    for service in ["orders", "payments"] {
        let held = "SELECT COUNT(*) FROM leases WHERE name = 'outbox' AND expire_time > 0";
        ensure!(mesh.count(service, held).await? == 0, "the lease of {service} was not given back");
    }
    Ok(())
}

/// Connections that a client keeps, and does nothing with.
struct Stubborn {
    _silent: Vec<TcpStream>,
    _asking: Vec<(ResponseFuture, SendStream<Bytes>)>,
    _watch: Option<Streaming<HealthCheckResponse>>,
    _reflection: Option<Reflection>,
}

const GET_ORDER: &str = "/ordermesh.orders.v1.OrdersService/GetOrder";
const GET_ACCOUNT: &str = "/ordermesh.payments.v1.PaymentsService/GetAccount";

impl Stubborn {
    async fn of_all(mesh: &Mesh) -> Result<[Self; 3]> {
        Ok([
            Self::of_service(mesh.orders, GET_ORDER).await?,
            Self::of_service(mesh.payments, GET_ACCOUNT).await?,
            Self::of_edge(mesh).await?,
        ])
    }

    /// One that does not read, a call whose message never comes, a watch of the health, and a stream of reflection.
    async fn of_service(service: SocketAddr, method: &str) -> Result<Self> {
        let mut watch = watch(service, "").await?;
        ensure!(status(&mut watch).await? == ServingStatus::Serving);
        let mut reflection = reflection(service).await?;
        ensure!(reflection.1.message().await?.is_some(), "no answer to the first question");
        Ok(Self {
            _silent: vec![silent(service, HTTP2).await?],
            _asking: vec![unfinished(service, method).await?],
            _watch: Some(watch),
            _reflection: Some(reflection),
        })
    }

    /// One that does not read, a request whose body never comes, and a stream and a WebSocket that nobody reads.
    async fn of_edge(mesh: &Mesh) -> Result<Self> {
        let edge: SocketAddr = mesh.api.base().trim_start_matches("http://").parse()?;
        let board = "GET /gateway/orders:watch HTTP/1.1\r\nhost: edge\r\n";
        let socket = format!(
            "{board}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let post = "POST /gateway/orders HTTP/1.1\r\nhost: edge\r\ncontent-type: application/json\r\n\
                    content-length: 100\r\n\r\n{";
        let mut silent_ones = vec![silent(edge, HTTP2).await?];
        for text in [format!("{board}\r\n"), socket, post.to_owned()] {
            silent_ones.push(silent(edge, text.as_bytes()).await?);
        }
        // The answers have begun: the streams are open.
        for stream in &mut silent_ones[1..3] {
            stream.read_exact(&mut [0; 12]).await?;
        }
        Ok(Self { _silent: silent_ones, _asking: Vec::new(), _watch: None, _reflection: None })
    }
}

/// How a client of HTTP/2 begins: the preface and empty settings (RFC 9113, section 3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

async fn silent(address: SocketAddr, beginning: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(beginning).await?;
    Ok(stream)
}

/// A call of which only the headers come.
async fn unfinished(service: SocketAddr, path: &str) -> Result<(ResponseFuture, SendStream<Bytes>)> {
    let (client, connection) = h2::client::handshake(TcpStream::connect(service).await?).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("http://{service}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let mut client = client.ready().await?;
    Ok(client.send_request(request, false)?)
}

async fn watch(service: SocketAddr, name: &str) -> Result<Streaming<HealthCheckResponse>> {
    let channel = Endpoint::from_shared(format!("http://{service}"))?.connect().await?;
    let request = HealthCheckRequest { service: name.to_owned() };
    Ok(HealthClient::new(channel).watch(request).await?.into_inner())
}

async fn status(watch: &mut Streaming<HealthCheckResponse>) -> Result<ServingStatus> {
    Ok(watch.message().await?.context("a watch does not end")?.status())
}

/// The questions, of which there are no more, and the answers.
type Reflection = (tokio::sync::mpsc::Sender<ServerReflectionRequest>, Streaming<ServerReflectionResponse>);

async fn reflection(service: SocketAddr) -> Result<Reflection> {
    let channel = Endpoint::from_shared(format!("http://{service}"))?.connect().await?;
    let (questions, asked) = tokio::sync::mpsc::channel(1);
    let first = MessageRequest::ListServices(String::new());
    questions
        .send(ServerReflectionRequest { host: String::new(), message_request: Some(first) })
        .await
        .context("the stream is open")?;
    let request = ReceiverStream::new(asked);
    let answers = ServerReflectionClient::new(channel).server_reflection_info(request).await?;
    Ok((questions, answers.into_inner()))
}
