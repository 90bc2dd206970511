//! Requests as clients of other edges spell them, and what they are answered.

use gateway::Config;
use http::StatusCode;
use ordermesh::orders::v1::{
    CancelOrderRequest, CreateOrderRequest, GetOrderRequest, ListOrdersRequest, Order,
};
use prost::Message as _;
use reqwest::Response;
use serde_json::json as value;
use tonic::{Code, Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    upstream::{Upstream, echo, one},
    world::{World, json, reason, shapes},
};

async fn echoing() -> (Upstream, World) {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    (upstream, world)
}

#[tokio::test]
async fn what_is_no_integer_places_no_order() {
    let upstream = Upstream::start(async |_| one(&Order::default())).await;
    let world = World::of(&upstream).await;
    for amount in ["999999999999.00001", "0.99999999999999999999", "\"1.5\""] {
        let body = format!(r#"{{"userId": "alice", "amount": {amount}}}"#);
        let error = json(world.send("POST", "/gateway/orders", &body).await, StatusCode::BAD_REQUEST).await;
        assert_eq!(error["error"]["details"][1]["fieldViolations"][0]["field"], "order.amount", "{error}");
    }
    assert!(upstream.calls().is_empty());
    let body = r#"{"userId": "alice", "amount": 1e3}"#;
    json(world.send("POST", "/gateway/orders", body).await, StatusCode::OK).await;
    let sent = CreateOrderRequest::decode(upstream.call().wire).expect("the contract's message");
    assert_eq!(sent.order.expect("an order").amount, 1_000);
}

#[tokio::test]
async fn an_encoded_colon_begins_a_verb_where_there_is_no_other_route() {
    let upstream = Upstream::start(async |_| one(&Order::default())).await;
    let world = World::of(&upstream).await;
    json(world.send("POST", "/gateway/orders/7%3Acancel", "{}").await, StatusCode::OK).await;
    let cancel = CancelOrderRequest::decode(upstream.call().wire).expect("the contract's message");
    assert_eq!(cancel.order_id, "7");
    json(world.get("/gateway/orders/7:cancel").await, StatusCode::OK).await;
    let get = GetOrderRequest::decode(upstream.calls()[1].wire.clone()).expect("the contract's message");
    assert_eq!(get.order_id, "7:cancel");
    assert_eq!(
        world.send("PUT", "/gateway/orders/7:cancel", "{}").await.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn googles_clients_are_understood() {
    let upstream = Upstream::start(async |_| one(&Order::default())).await;
    let world = World::of(&upstream).await;
    let query =
        "orderBy=createTime%20desc,amount&$alt=json%3Benum-encoding%3Dint&prettyPrint=false&key=k&alt=json";
    json(world.get(&format!("/gateway/orders?{query}")).await, StatusCode::OK).await;
    let list = ListOrdersRequest::decode(upstream.call().wire).expect("the contract's message");
    assert_eq!(list.order_by, "create_time desc,amount");
}

#[tokio::test]
async fn every_type_that_is_json_is_read() {
    let (_upstream, world) = echoing().await;
    let post = async |kind: &str| {
        let request =
            world.request("POST", "/v1/shapes/a").header("content-type", kind).body(r#"{"i32": 1}"#);
        request.send().await.expect("the edge answers").status()
    };
    for kind in
        ["application/merge-patch+json", "application/vnd.shop.v1+json", "application/json; charset=utf8"]
    {
        assert_eq!(post(kind).await, StatusCode::OK, "{kind}");
    }
    for kind in ["application/json-patch+json", "text/json", "application/json; charset=latin1"] {
        assert_eq!(post(kind).await, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
}

#[tokio::test]
async fn the_weights_of_accept_count() {
    let (_upstream, world) = echoing().await;
    for (accept, framing) in [
        ("text/event-stream, application/x-ndjson;q=0.5", "text/event-stream"),
        ("text/event-stream;q=0.5, application/x-ndjson", "application/x-ndjson"),
    ] {
        let request = world.request("GET", "/v1/shapes:watch?script=x").header("accept", accept);
        let response = request.send().await.expect("the edge answers");
        assert_eq!(response.headers()["content-type"], framing, "{accept}");
    }
    for (accept, kind) in [
        ("application/json, application/problem+json;q=0.5", "application/json"),
        ("application/json;q=0.5, application/problem+json", "application/problem+json"),
    ] {
        let request = world.request("GET", "/v1/shapes?nope=1").header("accept", accept);
        let response = request.send().await.expect("the edge answers");
        assert_eq!(
            (response.status(), &response.headers()["content-type"]),
            (StatusCode::BAD_REQUEST, &kind.parse().expect("a value"))
        );
    }
}

#[tokio::test]
async fn violations_are_named_as_in_json() {
    let upstream = Upstream::start(async |_| {
        let mut details = ErrorDetails::with_error_info("INVALID", "shop.example", []);
        details.add_bad_request_violation("order.user_id", "must be there");
        Err(Status::with_error_details(Code::InvalidArgument, "invalid", details))
    })
    .await;
    let world = World::of(&upstream).await;
    let body = r#"{"userId": "alice", "amount": 1}"#;
    let error = json(world.send("POST", "/gateway/orders", body).await, StatusCode::BAD_REQUEST).await;
    let violation =
        |error: &serde_json::Value| error["error"]["details"][1]["fieldViolations"][0]["field"].clone();
    assert_eq!(violation(&error), "order.userId");
    let body = r#"{"user_id": 1, "amount": 1}"#;
    let error = json(world.send("POST", "/gateway/orders", body).await, StatusCode::BAD_REQUEST).await;
    assert_eq!((reason(&error), violation(&error)), ("MALFORMED_REQUEST", "order.userId".into()));
}

async fn asked(world: &World, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = world.request(method, path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("the edge answers")
}

#[tokio::test]
async fn a_head_has_the_headers_of_its_get() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    for compress in [false, true] {
        let world = World::with(Config { compress, ..shapes(&upstream.url()) }).await;
        for path in ["/v1/shapes?text=short".to_owned(), format!("/v1/shapes?left={}", "a".repeat(2_000))] {
            let gzip = [("accept-encoding", "gzip")];
            let (get, head) =
                (asked(&world, "GET", &path, &gzip).await, asked(&world, "HEAD", &path, &gzip).await);
            for name in ["content-type", "content-encoding", "content-length", "vary", "etag"] {
                assert_eq!(head.headers().get(name), get.headers().get(name), "{compress} {path} {name}");
            }
            let tag = get.headers()["etag"].to_str().expect("text").to_owned();
            let known = [("if-none-match", tag.as_str())];
            for method in ["GET", "HEAD"] {
                let response = asked(&world, method, &path, &known).await;
                assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
                assert_eq!(response.headers().get("content-length"), None, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn chosen_headers_become_metadata_and_chosen_metadata_headers() {
    let upstream = Upstream::start(async |call| {
        let mut reply = echo(&call)?;
        reply.metadata_mut().insert("location", MetadataValue::from_static("/v1/shapes/a"));
        reply.metadata_mut().insert("cache-control", MetadataValue::from_static("max-age=5"));
        reply.metadata_mut().insert("secret", MetadataValue::from_static("s"));
        Ok(reply)
    })
    .await;
    let names =
        |names: &[&'static str]| names.iter().map(|name| http::HeaderName::from_static(name)).collect();
    let config = Config {
        forward_headers: names(&["x-tenant-id", "accept-language"]),
        return_metadata: names(&["location", "cache-control"]),
        ..shapes(&upstream.url())
    };
    let world = World::with(config).await;
    let given = [("x-tenant-id", "t"), ("accept-language", "de"), ("x-other", "o")];
    let response = asked(&world, "GET", "/v1/shapes", &given).await;
    assert_eq!(
        (&response.headers()["location"], &response.headers()["cache-control"]),
        (&"/v1/shapes/a".parse().expect("a value"), &"max-age=5".parse().expect("a value"))
    );
    assert!(!response.headers().contains_key("secret"));
    let metadata = upstream.call().metadata;
    assert_eq!(metadata.get("x-tenant-id").expect("it travels"), "t");
    assert_eq!(metadata.get("accept-language").expect("it travels"), "de");
    assert!(metadata.get("x-other").is_none());
    let echoed = World::of_shapes(&upstream).await;
    let plain = asked(&echoed, "GET", "/v1/shapes", &given).await;
    assert_eq!(plain.headers()["cache-control"], "no-cache");
    assert!(upstream.calls()[1].metadata.get("x-tenant-id").is_none());
    assert_eq!(json(plain, StatusCode::OK).await, value!({}));
}
