//! Clients and services that take all that there is: they take their own share, and nobody else's.

use std::{future::pending, net::Ipv4Addr, path::Path, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::join_all, stream};
use gateway::{Config, Upstreams};
use http::StatusCode;
use ordermesh::{
    orders::v1::{GetOrderRequest, orders_service_client::OrdersServiceClient},
    payments::v1::{GetAccountRequest, payments_service_client::PaymentsServiceClient},
};
use prost::Message as _;
use reqwest::Response;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};
use world::{PATIENCE, Process, Program, eventually};

use super::NEVER;
use crate::{
    foreign::{compiled, encoded},
    upstream::{Upstream, echo},
    world::{World, json, reason},
};

/// An edge as a process before orders, of which the one [`NEVER`] has no answer, and payments.
struct Edge {
    process: Process,
    url: String,
    orders: Upstream,
    _payments: Upstream,
}

impl Edge {
    async fn with(flags: &[&str]) -> Self {
        let orders = Upstream::start(async |call| {
            let id = GetOrderRequest::decode(call.wire.clone()).map(|request| request.order_id);
            if id.is_ok_and(|id| id == NEVER) { pending().await } else { echo(&call) }
        });
        let payments = Upstream::start(async |call| echo(&call));
        let (orders, payments) = (orders.await, payments.await);
        let program = Program::at(Path::new(env!("CARGO_BIN_EXE_gateway")))
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--orders-url", &orders.url(), "--payments-url", &payments.url()])
            .args(flags.iter().copied())
            .env("RUST_LOG", "warn");
        let mut process = program.start().expect("the edge starts");
        let url = format!("http://{}", process.address("http").await.expect("the edge listens"));
        Self { process, url, orders, _payments: payments }
    }

    async fn get(&self, client: &reqwest::Client, path: &str) -> Response {
        client.get(format!("{}{path}", self.url)).send().await.expect("an answer")
    }

    /// So many requests without an answer, of which all but some are refused by this limit.
    async fn stand_still(
        &self,
        client: &reqwest::Client,
        requests: usize,
        held: usize,
        limit: &str,
    ) -> JoinSet<Response> {
        let before = self.orders.calls().len();
        let mut standing = JoinSet::new();
        for _ in 0..requests {
            let request = client.get(format!("{}/gateway/orders/{NEVER}", self.url)).send();
            standing.spawn(request.map(|response| response.expect("an answer")));
        }
        for _ in held..requests {
            let refused = timeout(PATIENCE, standing.join_next()).await.expect("a refusal");
            let refused = refused.expect("a request").expect("no panic");
            assert_eq!(refused.headers()["retry-after"], "1");
            let error = json(refused, StatusCode::TOO_MANY_REQUESTS).await;
            let message = error["error"]["message"].as_str().expect("a message");
            assert!(reason(&error) == "RATE_LIMITED" && message.contains(limit), "{message}");
        }
        eventually("the calls", PATIENCE, async || {
            let calls = self.orders.calls().len() - before;
            if calls == held { Ok(()) } else { Err(format!("{calls} calls")) }
        })
        .await
        .expect("the others have a slot each");
        standing
    }

    async fn counted(&mut self, limit: &str) -> u64 {
        let admin = self.process.address("admin").await.expect("it listens");
        let metrics = reqwest::get(format!("http://{admin}/metrics")).await.expect("an answer");
        let metrics = metrics.text().await.expect("a body");
        let name = format!("http_server_refused_requests_total{{limit=\"{limit}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name)).expect("it is counted");
        count.parse().expect("a number")
    }
}

fn client_at(address: [u8; 4]) -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().local_address(Some(Ipv4Addr::from(address).into()));
    builder.build().expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stands_still_leaves_slots_to_the_others() {
    let mut edge = Edge::with(&["--max-requests", "16", "--max-requests-per-client", "16"]).await;
    let client = client_at([127, 0, 0, 1]);
    // Three quarters of all, and three of what is left.
    let standing = edge.stand_still(&client, 40, 12, "(--max-requests)").await;
    for answer in join_all((0..3).map(|_| edge.get(&client, "/gateway/payments/alice"))).await {
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let mut grpc = PaymentsServiceClient::connect(edge.url.clone()).await.expect("the edge listens");
    grpc.get_account(GetAccountRequest::default()).await.expect("an answer");
    assert_eq!(edge.counted("--max-requests").await, 28);
    drop(standing);
    let again = async { while edge.get(&client, "/gateway/orders/7").await.status() != StatusCode::OK {} };
    timeout(PATIENCE, again).await.expect("the slots of who has left are free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_in_one_place_have_their_slots_too() {
    const CONTRACT: &str = r#"
        syntax = "proto3";
        package two.v1;
        import "google/api/annotations.proto";
        message M {}
        service Slow { rpc Get(M) returns (M) { option (google.api.http) = {get: "/slow"}; } }
        service Fast { rpc Get(M) returns (M) { option (google.api.http) = {get: "/fast"}; } }"#;
    let upstream =
        Upstream::start(
            async |call| {
                if call.path.starts_with("/two.v1.Slow/") { pending().await } else { echo(&call) }
            },
        );
    let upstream = upstream.await;
    let world = World::with(Config {
        descriptor_set: encoded(compiled(&[("two.proto", CONTRACT.to_owned())]).into_values()),
        upstreams: Upstreams::One(upstream.url().into()),
        max_requests: 16,
        max_requests_per_client: Some(16),
        ..Config::default()
    });
    let world = world.await;
    let mut standing = JoinSet::new();
    for _ in 0..40 {
        standing.spawn(world.request("GET", "/slow").send().map(|response| response.expect("an answer")));
    }
    for _ in 12..40 {
        let refused = timeout(PATIENCE, standing.join_next()).await.expect("a refusal");
        let refused = refused.expect("a request").expect("no panic");
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(world.get("/fast").await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_their_service_take_no_room_of_answers() {
    const ORDER: &str = "/ordermesh.orders.v1.OrdersService/GetOrder";
    // An address has 1 MiB: less than sixteen windows of 64 KiB.
    let edge = Edge::with(&["--max-buffered-bytes", "4194304"]).await;
    let grpc = OrdersServiceClient::connect(edge.url.clone()).await.expect("the edge listens");
    let client = client_at([127, 0, 0, 1]);
    let mut standing = JoinSet::new();
    for _ in 0..20 {
        let mut grpc = grpc.clone();
        standing.spawn(async move {
            grpc.get_order(GetOrderRequest { order_id: NEVER.into() }).await.expect("no end");
        });
        let connect = client.post(format!("{}{ORDER}", edge.url)).header("content-type", "application/json");
        let connect = connect.body(format!(r#"{{"orderId": "{NEVER}"}}"#)).send();
        standing.spawn(connect.map(|response| drop(response.expect("no end"))));
    }
    eventually("the calls", PATIENCE, async || match edge.orders.calls().len() {
        40 => Ok(()),
        calls => Err(format!("{calls} calls")),
    })
    .await
    .expect("each of them is made");
    assert_eq!(edge.get(&client, "/gateway/payments/alice").await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_for_all_leaves_slots_of_the_same_service_to_others() {
    let mut edge = Edge::with(&["--max-requests", "16"]).await;
    let (one, other) = (client_at([127, 0, 0, 1]), client_at([127, 0, 0, 2]));
    let _standing = edge.stand_still(&one, 40, 8, "(--max-requests-per-client)").await;
    let of_one = edge.get(&one, "/gateway/payments/alice").await;
    assert_eq!(of_one.status(), StatusCode::TOO_MANY_REQUESTS, "it counts wherever it asks");
    let mut grpc = PaymentsServiceClient::connect(edge.url.clone()).await.expect("the edge listens");
    let status = grpc.get_account(GetAccountRequest::default()).await.expect_err("and in every protocol");
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert_eq!(edge.get(&other, "/gateway/orders/7").await.status(), StatusCode::OK);
    assert_eq!(edge.counted("--max-requests-per-client").await, 34);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_a_trusted_proxy_have_a_share_each() {
    let trusted = ["--max-requests", "16", "--max-requests-per-client", "2"];
    let trusted = [&trusted[..], &["--trusted-proxies", "127.0.0.1", "--max-connections-per-client", "1"]];
    let edge = Edge::with(&trusted.concat()).await;
    let behind = |client: &str| {
        let forwarded = [("x-forwarded-for".parse().expect("a name"), client.parse().expect("a value"))];
        let headers = forwarded.into_iter().collect();
        reqwest::Client::builder().no_proxy().default_headers(headers).build().expect("a client")
    };
    let (one, other) = (behind("192.0.2.1"), behind("192.0.2.2"));
    // The connections of a proxy are those of many.
    let _standing = edge.stand_still(&one, 6, 2, "(--max-requests-per-client)").await;
    let _others = edge.stand_still(&other, 6, 2, "(--max-requests-per-client)").await;
    assert_eq!(edge.get(&behind("192.0.2.3"), "/gateway/orders/7").await.status(), StatusCode::OK);
}

/// A connection on which something was answered; `None` when it was closed before.
async fn connection(edge: &Edge, from: [u8; 4]) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::from(from), 0).into()).expect("an address");
    let address = edge.url.trim_start_matches("http://").parse().expect("an address");
    let mut stream = socket.connect(address).await.expect("the edge listens");
    let _closed = stream.write_all(b"GET /gateway/orders/7 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut status = [0; 12];
    let answered = timeout(PATIENCE, stream.read_exact(&mut status)).await.expect("an answer, or an end");
    answered.is_ok().then_some(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_address_leave_some_to_others() {
    let mut edge = Edge::with(&["--max-connections", "40"]).await;
    let all = stream::iter(0..60).then(|_| connection(&edge, [127, 0, 0, 1])).collect::<Vec<_>>().await;
    let open: Vec<TcpStream> = all.into_iter().flatten().collect();
    // Three quarters; the others were closed, and did not wait.
    assert_eq!(open.len(), 30);
    for _ in 0..10 {
        assert!(connection(&edge, [127, 0, 0, 2]).await.is_some(), "another address has its own");
    }
    assert_eq!(edge.counted("--max-connections-per-client").await, 30);
    drop(open);
    let again = async { while connection(&edge, [127, 0, 0, 1]).await.is_none() {} };
    timeout(Duration::from_secs(30), again).await.expect("what was closed counts no more");
}

/// Whoever looks at the numbers reads there which flag to raise.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_limit_refuses_is_counted_by_its_flag() {
    let service = "ordermesh.orders.v1.OrdersService";
    let (get, watch) = ("/gateway/orders/7", format!("/gateway/orders/{NEVER}:watch"));
    for (flag, value, path) in [
        ("--rate-limit", "1".to_owned(), get),
        ("--method-limit", format!("{service}/GetOrder=1"), get),
        ("--max-streams", "0".to_owned(), watch.as_str()),
        ("--method-streams", format!("{service}/WatchOrder=0"), watch.as_str()),
    ] {
        let mut edge = Edge::with(&[flag, value.as_str()]).await;
        let client = client_at([127, 0, 0, 1]);
        assert_eq!(edge.counted(flag).await, 0, "{flag}");
        let refused = async {
            loop {
                let answer = edge.get(&client, path).await;
                if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                    return answer;
                }
            }
        };
        let refused = timeout(PATIENCE, refused).await.expect("a refusal");
        let error = json(refused, StatusCode::TOO_MANY_REQUESTS).await;
        let message = error["error"]["message"].as_str().expect("a message");
        assert!(message.contains(flag), "{flag}: {message}");
        assert_eq!(edge.counted(flag).await, 1, "{flag}");
    }
}
