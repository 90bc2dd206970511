//! Bounds by who calls: the subject of a token wherever it comes from, and an address where nobody is named.

use std::{net::Ipv4Addr, num::NonZeroU32, time::Duration};

use futures_util::StreamExt as _;
use gateway::Config;
use http::StatusCode;
use reqwest::{Client, Response};
use tokio::time::timeout;
use tonic::{Code, Request};
use world::{Issuer, claims};

use crate::{
    identity::verifier,
    upstream::{Upstream, echo},
    world::{World, json, reason, shapes},
};

const READ: &str = "/v1/shapes?text=a";
const QUERY: &str = "shapes.v1.Shapes/Query";
/// A bucket fills again while a test looks: often enough it does not.
const ATTEMPTS: usize = 50;

fn at(address: [u8; 4]) -> Client {
    Client::builder().local_address(Some(Ipv4Addr::from(address).into())).build().expect("a client")
}

struct Callers {
    world: World,
    _upstream: Upstream,
    issuer: Issuer,
    here: Client,
    elsewhere: Client,
}

impl Callers {
    async fn of(config: impl FnOnce(Config) -> Config) -> Self {
        let issuer = Issuer::start().await.expect("an issuer");
        let upstream = Upstream::start(async |call| echo(&call)).await;
        let issued = Config { issuer: Some(verifier(&issuer)), ..shapes(&upstream.url()) };
        let world = World::with(config(issued)).await;
        let (here, elsewhere) = (at([127, 0, 0, 1]), at([127, 0, 0, 2]));
        Self { world, _upstream: upstream, issuer, here, elsewhere }
    }

    async fn token(&self, user: &str) -> String {
        self.issuer.token("first", &claims(user, "orders:read", 600)).await.expect("a token")
    }

    async fn get(&self, client: &Client, path: &str, token: &str) -> Response {
        let request = client.get(format!("{}{path}", self.world.url)).bearer_auth(token);
        request.send().await.expect("the edge answers")
    }

    /// Asks until it is refused.
    async fn exhaust(&self, client: &Client, token: &str) -> Response {
        loop {
            let response = self.get(client, READ, token).await;
            if response.status() == StatusCode::TOO_MANY_REQUESTS {
                return response;
            }
        }
    }
}

#[tokio::test]
async fn a_subject_has_one_share_wherever_it_comes_from_and_no_other_has_it() {
    let callers = Callers::of(|config| Config { rate_limit: NonZeroU32::new(2), ..config }).await;
    let (alice, bob) = (callers.token("alice").await, callers.token("bob").await);
    let first = callers.get(&callers.here, READ, &alice).await;
    assert_eq!(first.headers()["ratelimit-policy"], "\"caller\";q=2;w=1");
    assert_eq!(first.headers()["ratelimit"], "\"caller\";r=1;t=1");
    let refused = callers.exhaust(&callers.here, &alice).await;
    assert_eq!(refused.headers()["ratelimit"], "\"caller\";r=0;t=1");
    assert_eq!(refused.headers()["retry-after"], "1");
    let error = json(refused, StatusCode::TOO_MANY_REQUESTS).await;
    let message = error["error"]["message"].as_str().expect("a message");
    assert!(reason(&error) == "RATE_LIMITED" && message.contains("this subject (--rate-limit)"), "{message}");
    assert!(error["error"]["details"][1]["retryDelay"].is_string(), "{error}");
    // A token of its own makes no other subject, and neither does another address.
    let again = callers.token("alice").await;
    let mut is_refused = false;
    for _ in 0..ATTEMPTS {
        callers.exhaust(&callers.here, &alice).await;
        let elsewhere = callers.get(&callers.elsewhere, READ, &again).await;
        is_refused |= elsewhere.status() == StatusCode::TOO_MANY_REQUESTS;
    }
    assert!(is_refused, "each time there was a share left");
    assert_eq!(callers.get(&callers.here, READ, &bob).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn what_no_valid_token_comes_with_counts_for_its_address() {
    let callers = Callers::of(|config| Config { rate_limit: NonZeroU32::new(2), ..config }).await;
    let alice = callers.token("alice").await;
    let first = callers.get(&callers.here, READ, "what").await;
    assert_eq!(reason(&json(first, StatusCode::UNAUTHORIZED).await), "UNAUTHENTICATED");
    let refused = callers.exhaust(&callers.here, "what").await;
    let error = json(refused, StatusCode::TOO_MANY_REQUESTS).await;
    assert!(error["error"]["message"].as_str().expect("a message").contains("this address"), "{error}");
    assert_eq!(
        callers.get(&callers.here, READ, &alice).await.status(),
        StatusCode::OK,
        "she is somebody else"
    );
    assert_eq!(callers.get(&callers.elsewhere, READ, "what").await.status(), StatusCode::UNAUTHORIZED);
    for path in ["/v1/nothing", "/openapi.json", "/swagger/index.html"] {
        let mut is_refused = false;
        for _ in 0..ATTEMPTS {
            let response = callers.get(&callers.here, path, &alice).await;
            assert_eq!(response.headers()["ratelimit-policy"], "\"caller\";q=2;w=1", "{path}");
            assert!(response.headers().contains_key("ratelimit"), "{path}");
            is_refused |= response.status() == StatusCode::TOO_MANY_REQUESTS;
        }
        assert!(is_refused, "{path} is not counted");
    }
}

#[tokio::test]
async fn a_method_has_a_bound_of_its_own_however_it_is_called() {
    let one = NonZeroU32::MIN;
    let callers =
        Callers::of(|config| Config { method_limits: [(QUERY.to_owned(), one)].into(), ..config }).await;
    let alice = callers.token("alice").await;
    let refused = callers.exhaust(&callers.here, &alice).await;
    assert_eq!(refused.headers()["ratelimit-policy"], "\"method\";q=1;w=1");
    let error = json(refused, StatusCode::TOO_MANY_REQUESTS).await;
    assert!(error["error"]["message"].as_str().expect("a message").contains("--method-limit"), "{error}");
    let path = http::uri::PathAndQuery::try_from(format!("/{QUERY}")).expect("a path");
    let mut refusal = None;
    for _ in 0..ATTEMPTS {
        callers.exhaust(&callers.here, &alice).await;
        let channel = tonic::transport::Endpoint::from_shared(callers.world.url.clone()).expect("a URL");
        let mut grpc = tonic::client::Grpc::new(channel.connect().await.expect("the edge listens"));
        grpc.ready().await.expect("a connection");
        let mut request = Request::new(());
        let bearer = format!("Bearer {alice}").parse().expect("text");
        request.metadata_mut().insert("authorization", bearer);
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        refusal = refusal.or(grpc.unary(request, path.clone(), codec).await.err());
    }
    let status = refusal.expect("each time there was a share left");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let fault = chassis::status::Fault::from_status(&status).expect("a reason");
    assert!(fault.retry_after.is_some(), "{fault:?}");
    // Another method is not bounded, and says so.
    for _ in 0..10 {
        let other = callers.get(&callers.here, "/v1/nothing", &alice).await;
        assert!(other.status() == StatusCode::NOT_FOUND && !other.headers().contains_key("ratelimit"));
    }
}

#[tokio::test]
async fn a_subject_has_so_many_streams_and_so_many_of_a_method() {
    let issuer = Issuer::start().await.expect("an issuer");
    let upstream = Upstream::start(async |_call| {
        let forever: crate::upstream::Messages = futures_util::stream::pending().boxed();
        Ok(tonic::Response::new(forever))
    })
    .await;
    let config = Config {
        issuer: Some(verifier(&issuer)),
        max_streams_per_client: 2,
        method_streams: [("ordermesh.orders.v1.OrdersService/WatchOrders".to_owned(), 1)].into(),
        ..Config::builtin(upstream.url(), upstream.url())
    };
    let world = World::with(config).await;
    let (here, elsewhere) = (at([127, 0, 0, 1]), at([127, 0, 0, 2]));
    let token = async |user| issuer.token("first", &claims(user, "orders:read", 600)).await.expect("a token");
    let (alice, bob) = (token("alice").await, token("bob").await);
    let watch = async |client: &Client, path: &str, token: &str| {
        let request = client.get(format!("{}{path}", world.url)).bearer_auth(token);
        request.send().await.expect("the edge answers")
    };
    let (board, order) = ("/gateway/orders:watch", "/gateway/orders/7:watch");
    let open = watch(&here, board, &alice).await;
    assert_eq!(open.status(), StatusCode::OK);
    let refused = async |client: &Client, path: &str, flag: &str| {
        let error = json(watch(client, path, &alice).await, StatusCode::TOO_MANY_REQUESTS).await;
        let message = error["error"]["message"].as_str().expect("a message");
        assert!(message.starts_with("this subject has") && message.contains(flag), "{message}");
    };
    refused(&elsewhere, board, "1 open streams, as many as may be (--method-streams)").await;
    let second = watch(&elsewhere, order, &alice).await;
    assert_eq!(second.status(), StatusCode::OK);
    refused(&here, order, "2 open streams, as many as may be (--max-streams-per-client)").await;
    assert_eq!(watch(&here, board, &bob).await.status(), StatusCode::OK, "nobody takes his");
    drop(open);
    let again = async { while watch(&here, board, &alice).await.status() != StatusCode::OK {} };
    timeout(Duration::from_secs(20), again).await.expect("its place is free again");
}

/// Whether clients that a header names have a share each.
async fn are_distinguished(trusted: &[&str]) -> bool {
    let trusted_proxies = trusted.iter().map(|network| network.parse().expect("a network")).collect();
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let config = Config { rate_limit: NonZeroU32::new(2), trusted_proxies, ..shapes(&upstream.url()) };
    let world = World::with(config).await;
    let ask = async |client: &str| {
        let request = world.request("GET", READ).header("x-forwarded-for", format!("203.0.113.9, {client}"));
        request.send().await.expect("the edge answers").status()
    };
    for number in 0..ATTEMPTS {
        while ask("198.51.100.7").await != StatusCode::TOO_MANY_REQUESTS {}
        // One that has asked for nothing before.
        if ask(&format!("198.51.100.{}", 10 + number)).await == StatusCode::TOO_MANY_REQUESTS {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn a_proxy_names_its_clients_only_if_it_is_trusted() {
    assert!(are_distinguished(&["127.0.0.0/8"]).await);
    assert!(!are_distinguished(&["10.0.0.0/8"]).await);
    assert!(!are_distinguished(&[]).await);
}
