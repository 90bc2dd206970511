//! Bounds on each client, and pages of other origins.

use std::{net::Ipv4Addr, num::NonZeroU32, time::Duration};

use gateway::Config;
use http::StatusCode;
use ordermesh::orders::v1::{GetOrderRequest, orders_service_client::OrdersServiceClient};
use reqwest::Response;
use tonic::Code;

use crate::{
    upstream::{Upstream, echo},
    world::{World, json, reason, shapes},
};

const READ: &str = "/v1/shapes?text=a";

async fn limited(config: Config) -> World {
    World::with(Config { rate_limit: NonZeroU32::new(2), ..config }).await
}

#[tokio::test]
async fn a_client_that_asks_too_much_is_refused_with_a_time() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = limited(shapes(&upstream.url())).await;
    let refused = loop {
        let response = world.get(READ).await;
        if response.status() != StatusCode::OK {
            break response;
        }
        // Every answer within half a second: sooner or later there are two more than allowed.
        assert!(upstream.calls().len() < 1_000);
    };
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(refused.headers().contains_key("x-request-id"));
    let error = json(refused, StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!(reason(&error), "RATE_LIMITED");
    let delay = error["error"]["details"][1]["retryDelay"].as_str().expect("a delay");
    assert!(delay.starts_with("0."), "{delay}");
    // Another address has a share of its own.
    let other = reqwest::Client::builder().local_address(Some(Ipv4Addr::new(127, 0, 0, 2).into())).build();
    let response = other.expect("a client").get(format!("{}{READ}", world.url)).send().await;
    json(response.expect("the edge answers"), StatusCode::OK).await;
    let again = async { while world.get(READ).await.status() != StatusCode::OK {} };
    tokio::time::timeout(Duration::from_secs(30), again).await.expect("it may ask again");
}

#[tokio::test]
async fn a_client_of_grpc_is_refused_in_grpc() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = limited(Config::builtin(upstream.url(), upstream.url())).await;
    let mut client = OrdersServiceClient::connect(world.url.clone()).await.expect("the edge listens");
    let status = loop {
        if let Err(status) = client.get_order(GetOrderRequest::default()).await {
            break status;
        }
        assert!(upstream.calls().len() < 1_000);
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
    let fault = chassis::status::Fault::from_status(&status).expect("a reason");
    assert!(fault.retry_after.is_some());
}

async fn preflight(world: &World, origin: &str) -> Response {
    let request = world.request("OPTIONS", "/v1/shapes/a").header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    let asked = request.header("access-control-request-headers", "content-type,idempotency-key,traceparent");
    asked.send().await.expect("the edge answers")
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

#[tokio::test]
async fn pages_of_listed_origins_may_ask() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let cors_origins = vec!["https://shop.example".to_owned(), "http://localhost:3000".to_owned()];
    let world = World::with(Config { cors_origins, ..shapes(&upstream.url()) }).await;
    for origin in ["https://shop.example", "http://localhost:3000"] {
        let allowed = preflight(&world, origin).await;
        assert_eq!(allowed.status(), StatusCode::OK);
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-methods", "POST"),
            ("access-control-allow-headers", "content-type,idempotency-key,traceparent"),
            ("access-control-max-age", "3600"),
        ] {
            assert_eq!(header(&allowed, name), value);
        }
    }
    assert!(upstream.calls().is_empty());
    for (path, status) in [(READ, StatusCode::OK), ("/v1/nothing", StatusCode::NOT_FOUND)] {
        let request = world.request("GET", path).header("origin", "https://shop.example");
        let response = request.send().await.expect("the edge answers");
        assert_eq!(response.status(), status);
        assert_eq!(header(&response, "access-control-allow-origin"), "https://shop.example");
        let exposed = header(&response, "access-control-expose-headers");
        for name in ["etag", "retry-after", "idempotency-replayed", "x-request-id"] {
            assert!(exposed.split(',').any(|one| one == name), "{exposed}");
        }
    }
    assert_eq!(header(&preflight(&world, "https://other.example").await, "access-control-allow-origin"), "");
}

#[tokio::test]
async fn without_a_list_no_page_may_ask_and_with_a_star_every_one() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    assert_eq!(header(&preflight(&world, "https://shop.example").await, "access-control-allow-origin"), "");
    let world = World::with(Config { cors_origins: vec!["*".to_owned()], ..shapes(&upstream.url()) }).await;
    assert_eq!(header(&preflight(&world, "https://shop.example").await, "access-control-allow-origin"), "*");
}
