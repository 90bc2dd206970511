//! What the edge answers itself over gRPC: reflection of what it serves, and its health.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::StreamExt as _;
use gateway::Config;
use http::StatusCode;
use ordermesh::orders::v1::Order;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    upstream::{Upstream, one},
    world::{World, json},
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
