//! Headers of one connection, and bodies that cannot be read: they end with the client's own call.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::future::join_all;
use http::StatusCode;
use ordermesh::orders::v1::{GetOrderRequest, Order};
use prost::Message as _;
use reqwest::Response;

use crate::{
    upstream::{Upstream, one},
    world::World,
};

const GET: &str = "/ordermesh.orders.v1.OrdersService/GetOrder";

async fn orders() -> Upstream {
    Upstream::start(async |_| one(&Order { id: "7".into(), ..Order::default() })).await
}

fn frame() -> Vec<u8> {
    let message = GetOrderRequest { order_id: "7".into() }.encode_to_vec();
    [&[0, 0, 0, 0, u8::try_from(message.len()).expect("a short message")], &message[..]].concat()
}

async fn call(world: &World, content_type: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response {
    let request = world.request("POST", GET).header("content-type", content_type);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.timeout(Duration::from_secs(60)).body(body).send().await.expect("the edge answers")
}

#[tokio::test]
async fn headers_of_the_connection_end_with_it() {
    let upstream = orders().await;
    let world = World::of(&upstream).await;
    let hops: [&[(&str, &str)]; 4] = [
        &[("proxy-connection", "keep-alive")],
        &[("connection", "x-mine, close"), ("x-mine", "a")],
        &[("connection", "x-mine"), ("connection", "X-Other"), ("x-mine", "a"), ("x-other", "b")],
        &[("proxy-authorization", "Basic x"), ("trailer", "x"), ("te", "gzip")],
    ];
    for headers in hops {
        let response = call(&world, "application/grpc-web+proto", headers, frame()).await;
        assert_eq!(
            (response.status(), response.headers().get("grpc-status")),
            (StatusCode::OK, None),
            "{headers:?}"
        );
        let seen = upstream.calls().last().expect("a call").metadata.clone();
        for name in ["proxy-connection", "connection", "x-mine", "x-other", "proxy-authorization", "trailer"]
        {
            assert!(!seen.contains_key(name), "{name} after {headers:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_no_base64_is_its_clients_error_and_counts_against_nobody() {
    let upstream = orders().await;
    let world = World::of(&upstream).await;
    let text = BASE64_STANDARD.encode(frame());
    let broken =
        [b"!!!!".to_vec(), text.as_bytes()[..text.len() - 2].to_vec(), [text.as_bytes(), b"=!=!"].concat()];
    for body in &broken {
        for _ in 0..4 {
            let response = call(&world, "application/grpc-web-text", &[], body.clone()).await;
            let status =
                response.headers().get("grpc-status").map(|status| status.to_str().expect("text").to_owned());
            assert_eq!(status.as_deref(), Some("3"), "{:?}", String::from_utf8_lossy(body));
        }
    }
    let reads = join_all((0..60).map(|_| world.get("/gateway/orders/7"))).await;
    assert!(reads.iter().all(|read| read.status() == StatusCode::OK), "others are answered");
}
