//! What the edge answers itself over gRPC: reflection of what it serves, and its health.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail, ensure};
use futures_util::{StreamExt as _, stream};
use gateway::Config;
use http::StatusCode;
use ordermesh::orders::v1::Order;
use prost::Message as _;
use prost_types::{FileDescriptorProto, MethodDescriptorProto};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use world::{Issuer, PATIENCE, Program, claims};

use crate::{
    foreign::{compiled, contract, encoded, rpc},
    identity::verifier,
    reflect::next,
    upstream::{Upstream, one},
    world::{World, json, shapes},
};

const ORDERS: &str = "ordermesh.orders.v1.OrdersService";
const PAYMENTS: &str = "ordermesh.payments.v1.PaymentsService";

async fn upstream() -> Upstream {
    Upstream::start(async |_| one(&Order::default())).await
}

async fn health(world: &World) -> Result<HealthClient<Channel>> {
    Ok(HealthClient::new(Channel::from_shared(world.url.clone())?.connect().await?))
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// A request of somebody with this token.
fn with<T>(token: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let bearer = format!("Bearer {token}").parse().expect("a value");
        request.metadata_mut().insert("authorization", bearer);
    }
    request
}

/// What reflection answers to one question.
async fn reflected(
    world: &World,
    token: Option<&str>,
    question: MessageRequest,
) -> Result<MessageResponse, Status> {
    let channel = Channel::from_shared(world.url.clone()).expect("a URL").connect().await;
    let mut client = ServerReflectionClient::new(channel.expect("the edge listens"));
    let question = ServerReflectionRequest { message_request: Some(question), ..Default::default() };
    let answers = client.server_reflection_info(with(token, stream::iter([question]))).await?;
    let answer = answers.into_inner().message().await?;
    answer.and_then(|answer| answer.message_response).ok_or_else(|| Status::internal("no answer"))
}

#[tokio::test]
async fn a_service_is_healthy_as_long_as_an_endpoint_of_it_is_called() -> Result<()> {
    let payments = upstream().await;
    // Nobody is there, which is known with the first call.
    let world = World::with(Config::builtin("http://127.0.0.1:1", payments.url())).await;
    let mut client = health(&world).await?;
    let mut watched = client.watch(of(ORDERS)).await?.into_inner();
    let mut seen = async || anyhow::Ok(watched.next().await.transpose()?.map(|answer| answer.status()));
    ensure!(seen().await? == Some(ServingStatus::Serving));
    for service in ["", ORDERS, PAYMENTS] {
        ensure!(
            client.check(of(service)).await?.into_inner().status() == ServingStatus::Serving,
            "{service}"
        );
    }
    let answer = world.get("/gateway/orders/00000000-0000-7000-8000-000000000000").await;
    ensure!(answer.status() == StatusCode::SERVICE_UNAVAILABLE, "{}", answer.status());
    ensure!(seen().await? == Some(ServingStatus::NotServing));
    ensure!(client.check(of(ORDERS)).await?.into_inner().status() == ServingStatus::NotServing);
    ensure!(client.check(of(PAYMENTS)).await?.into_inner().status() == ServingStatus::Serving);
    Ok(())
}

/// As services do it: who watches goes elsewhere before the listener closes.
#[tokio::test]
async fn before_a_process_stops_nothing_of_it_is_served() -> Result<()> {
    let upstream = upstream().await;
    let program = Program::at(Path::new(env!("CARGO_BIN_EXE_gateway")));
    let program = program.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let program = program.env("ORDERS_URL", upstream.url()).env("PAYMENTS_URL", upstream.url());
    let mut process = program.start()?;
    let url = format!("http://{}", process.address("http").await?);
    let mut client = HealthClient::new(Channel::from_shared(url)?.connect().await?);
    let mut edge = client.watch(of("")).await?.into_inner();
    let mut orders = client.watch(of(ORDERS)).await?.into_inner();
    ensure!(next(&mut edge).await? == ServingStatus::Serving);
    ensure!(next(&mut orders).await? == ServingStatus::Serving);
    process.terminate()?;
    for watch in [&mut edge, &mut orders] {
        ensure!(next(watch).await? == ServingStatus::NotServing);
        let ended = watch.message().await.expect_err("it ends with a status");
        ensure!(ended.code() == Code::Unavailable, "{ended:?}");
    }
    ensure!(process.wait(PATIENCE).await?.success(), "{}", process.output());
    Ok(())
}

#[tokio::test]
async fn a_service_that_is_not_served_is_unknown() -> Result<()> {
    let upstream = upstream().await;
    let world = World::of(&upstream).await;
    let mut client = health(&world).await?;
    for service in ["ordermesh.orders.v1.OrdersAdminService", "no.Such", "grpc.health.v1.Health"] {
        let refused = client.check(of(service)).await.expect_err("nobody serves it");
        ensure!(refused.code() == Code::NotFound, "{service}: {refused:?}");
        let mut watched = client.watch(of(service)).await?.into_inner();
        let first = watched.next().await.transpose()?.map(|answer| answer.status());
        ensure!(first == Some(ServingStatus::ServiceUnknown), "{service}: {first:?}");
        // It may come.
        let more = tokio::time::timeout(Duration::from_millis(100), watched.next()).await;
        ensure!(more.is_err(), "{service}: {more:?}");
    }
    Ok(())
}

/// Over Connect too, as everything that can be called.
#[tokio::test]
async fn health_is_asked_in_json() -> Result<()> {
    let upstream = upstream().await;
    let world = World::of(&upstream).await;
    let asked =
        world.request("POST", "/grpc.health.v1.Health/Check").body(format!("{{\"service\":\"{ORDERS}\"}}"));
    let answer = asked.header("content-type", "application/json").send().await?;
    ensure!(json(answer, StatusCode::OK).await == serde_json::json!({ "status": "SERVING" }));
    Ok(())
}

#[tokio::test]
async fn strangers_learn_nothing_where_there_is_an_issuer() -> Result<()> {
    let issuer = Issuer::start().await?;
    let token = issuer.token("first", &claims("alice", "", 600)).await?;
    let upstream = upstream().await;
    let config = Config::builtin(upstream.url(), upstream.url());
    let world = World::with(Config { issuer: Some(verifier(&issuer)), ..config }).await;
    let mut client = health(&world).await?;
    let services = || MessageRequest::ListServices(String::new());
    let codes = [
        client.check(with(None, of(ORDERS))).await.expect_err("a stranger asks").code(),
        client.watch(with(None, of(ORDERS))).await.expect_err("a stranger asks").code(),
        reflected(&world, None, services()).await.expect_err("a stranger asks").code(),
    ];
    ensure!(codes == [Code::Unauthenticated; 3], "{codes:?}");
    let token = Some(token.as_str());
    ensure!(
        client.check(with(token, of(ORDERS))).await?.into_inner().status() == ServingStatus::Serving,
        "whatever its scopes"
    );
    client.watch(with(token, of(ORDERS))).await?;
    reflected(&world, token, services()).await?;
    Ok(())
}

/// Of one file: a service that is served in part, one for operators, and one that has no route.
#[tokio::test]
async fn what_is_not_served_is_not_shown() -> Result<()> {
    let rule = "option (ordermesh.auth.v1.rule) = {scope: \"admin:read\"};";
    let operators = |name: &str| {
        let route = format!("option (google.api.http) = {{get: \"/{name}\"}};");
        format!("rpc {name}(M) returns (M) {{ {route} {rule} }}")
    };
    let get = rpc("Get", "get: \"/things\"");
    let services = format!(
        "service Things {{ {get} rpc Bare(M) returns (M); {} }} service Admin {{ {} }} service Lone {{ rpc Call(M) returns (M); }}",
        operators("Purge"),
        operators("Look"),
    );
    let file = contract("things.v1", "import \"ordermesh/auth/v1/rule.proto\";", &services);
    let upstream = upstream().await;
    let config = Config {
        descriptor_set: encoded(compiled(&[("things.proto", file)]).into_values()),
        foreign: Some(Vec::new()),
        ..shapes(&upstream.url())
    };
    let world = World::with(config).await;
    let listed = reflected(&world, None, MessageRequest::ListServices(String::new())).await?;
    let MessageResponse::ListServicesResponse(list) = &listed else { bail!("{listed:?}") };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    ensure!(names == ["things.v1.Things", "grpc.health.v1.Health"], "{names:?}");

    let symbol = |name: &str| MessageRequest::FileContainingSymbol(name.to_owned());
    let found = reflected(&world, None, symbol("things.v1.Things")).await?;
    let MessageResponse::FileDescriptorResponse(files) = &found else { bail!("{found:?}") };
    let [file] = &files.file_descriptor_proto[..] else { bail!("{files:?}") };
    let shown = FileDescriptorProto::decode(file.as_slice())?;
    let [things] = &shown.service[..] else { bail!("{:?}", shown.service) };
    let methods: Vec<&str> = things.method.iter().map(MethodDescriptorProto::name).collect();
    ensure!(things.name() == "Things" && methods == ["Get", "Bare"], "{things:?}");
    ensure!(shown.message_type.len() == 1 && shown.dependency.len() == 2, "{shown:?}");
    // Options of others are as they were.
    ensure!(file.windows(7).any(|part| part == b"/things"), "{file:?}");
    for hidden in ["things.v1.Admin", "things.v1.Admin.Look", "things.v1.Things.Purge", "things.v1.Lone"] {
        let refused = reflected(&world, None, symbol(hidden)).await.expect_err("it is not served");
        ensure!(refused.code() == Code::NotFound, "{hidden}: {refused:?}");
    }
    Ok(())
}
