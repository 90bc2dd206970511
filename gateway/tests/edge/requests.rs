//! Requests that never reach the service: what the edge itself refuses.

use http::StatusCode;
use ordermesh::orders::v1::{CancelOrderRequest, Order};
use prost::Message as _;
use serde_json::json;

use crate::{
    upstream::{Upstream, echo, one},
    world::{World, json, reason, shapes},
};

async fn world() -> (Upstream, World) {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    (upstream, world)
}

#[tokio::test]
async fn whatever_cannot_be_read_is_a_bad_request() {
    let (upstream, world) = world().await;
    for body in [
        "{",
        "[]",
        "\"text\"",
        "{}{}",
        "{\"nope\": 1}",
        "{\"i32\": \"x\"}",
        "{\"i64\": 9223372036854775808}",
        "{\"i64\": 123456789012345678901234567890123456789012345678901234567890}",
        "{\"double\": 1e999}",
        "{\"data\": \"\\ud800\"}",
        "{\"text\": 1}",
        &"[".repeat(10_000),
        &"{\"nested\":{\"deeper\":".repeat(10_000),
        &format!("{{\"object\":{}1{}}}", "{\"a\":".repeat(10_000), "}".repeat(10_000)),
    ] {
        let error = json(world.send("POST", "/v1/shapes/a", body).await, StatusCode::BAD_REQUEST).await;
        assert_eq!(reason(&error), "MALFORMED_REQUEST", "{body}");
    }
    assert!(upstream.calls().is_empty());
}

#[tokio::test]
async fn what_is_nested_as_deep_as_allowed_is_passed_on() {
    let (_upstream, world) = world().await;
    // 31 objects of the struct in that of the request: 94 messages on the wire.
    let body = format!("{{\"object\":{}1{}}}", "{\"a\":".repeat(31), "}".repeat(31));
    let echoed = json(world.send("POST", "/v1/shapes/a", &body).await, StatusCode::OK).await;
    assert_eq!(echoed["text"], "a");
}

#[tokio::test]
async fn path_query_and_body_are_reported_at_once() {
    let (_upstream, world) = world().await;
    let response = world.send("PATCH", "/v1/shapes/%ff?i32=x&nope=1", "{\"number\": true}").await;
    assert_eq!(
        json(response, StatusCode::BAD_REQUEST).await,
        json!({"error": {
            "code": 400,
            "status": "INVALID_ARGUMENT",
            "message": "nested.number: must be a 32-bit integer",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "MALFORMED_REQUEST", "domain": "ordermesh", "metadata": {}},
                {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [
                    {"field": "nested.number", "description": "must be a 32-bit integer"},
                    {"field": "i32", "description": "must be a 32-bit integer"},
                    {"field": "nope", "description": "is not a query parameter of this route"},
                    {"field": "text", "description": "is not UTF-8"},
                ]},
            ],
        }})
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let (upstream, world) = world().await;
    let large = |bytes: usize| format!("{{\"words\": [\"{}\"]}}", "x".repeat(bytes));
    let error =
        json(world.send("POST", "/v1/shapes/a", &large(2 << 20)).await, StatusCode::PAYLOAD_TOO_LARGE).await;
    assert_eq!((reason(&error), upstream.calls().len()), ("BODY_TOO_LARGE", 0));
    json(world.send("POST", "/v1/shapes/a", &large((1 << 20) - 100)).await, StatusCode::OK).await;
}

#[tokio::test]
async fn only_json_is_read() {
    let (_upstream, world) = world().await;
    let send = async |headers: &[(&'static str, &'static str)], body: &'static str| {
        let request = world.request("POST", "/v1/shapes/a").body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.expect("the edge answers")
    };
    for (headers, body) in [
        (&[("content-type", "text/plain")][..], "{}"),
        (&[("content-type", "application/x-www-form-urlencoded")], ""),
        (&[("content-type", "application/json; charset=latin1")], "{}"),
        (&[("content-type", "application/json"), ("content-encoding", "compress")], "{}"),
        (&[], "{}"),
    ] {
        let error = json(send(headers, body).await, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
        assert_eq!(reason(&error), "UNSUPPORTED_MEDIA_TYPE");
    }
    json(send(&[], "").await, StatusCode::OK).await;
    // What a body that is not there would be does not matter.
    let request = world.request("GET", "/v1/shapes").header("content-type", "text/plain");
    json(request.send().await.expect("the edge answers"), StatusCode::OK).await;
    json(send(&[("content-type", "application/json; charset=utf-8")], "{}").await, StatusCode::OK).await;
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_distinguished() {
    let (_upstream, world) = world().await;
    for path in ["/v1", "/v1/shapes/", "/errors/NOPE", "/shapes.v1.Shapes/Absent"] {
        let error = json(world.get(path).await, StatusCode::NOT_FOUND).await;
        assert_eq!(reason(&error), "ROUTE_NOT_FOUND", "{path}");
    }
    for (method, path, allow) in [
        ("DELETE", "/v1/shapes", "GET, HEAD, OPTIONS"),
        ("GET", "/v1/shapes/a", "OPTIONS, PATCH, POST"),
        ("POST", "/v1/shapes:watch", "GET, OPTIONS"),
        ("HEAD", "/v1/shapes:watch", "GET, OPTIONS"),
        ("GET", "/v1/shapes:report", "OPTIONS, REPORT"),
    ] {
        let response = world.send(method, path, "").await;
        assert_eq!(
            (response.status(), &response.headers()["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &allow.parse().expect("a value")),
            "{method} {path}"
        );
        if method != "HEAD" {
            assert_eq!(reason(&json(response, StatusCode::METHOD_NOT_ALLOWED).await), "METHOD_NOT_ALLOWED");
        }
    }
    let options = world.send("OPTIONS", "/v1/shapes", "").await;
    assert_eq!(
        (options.status(), &options.headers()["allow"]),
        (StatusCode::NO_CONTENT, &"GET, HEAD, OPTIONS".parse().expect("a value"))
    );
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let (_upstream, world) = world().await;
    let head = world.send("HEAD", "/v1/shapes?text=a", "").await;
    assert_eq!(
        (head.status(), &head.headers()["content-length"]),
        (StatusCode::OK, &"12".parse().expect("a value"))
    );
    assert_eq!(head.text().await.expect("no body"), "");
}

#[tokio::test]
async fn a_lenient_edge_names_what_it_passed_over() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::with(gateway::Config { lenient: true, ..shapes(&upstream.url()) }).await;
    let response = world.send("PATCH", "/v1/shapes/a?nope=1", "{\"number\": 1, \"nöpe\": {}}").await;
    assert_eq!(response.headers()["x-ordermesh-ignored"], "nested.n?pe, nope");
    assert_eq!(json(response, StatusCode::OK).await, json!({"text": "a", "nested": {"number": 1}}));
}

#[tokio::test]
async fn a_condition_on_a_write_is_refused_and_nothing_is_done() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let tag = world.get("/v1/shapes?text=a").await.headers()["etag"].clone();
    let date = "Sat, 28 Nov 2026 23:00:00 GMT".parse().expect("a value");
    let any: http::HeaderValue = "*".parse().expect("a value");
    let empty = http::HeaderValue::from_static("");
    for (name, value) in [
        ("if-match", tag.clone()),
        ("if-match", any.clone()),
        ("if-match", empty.clone()),
        ("if-none-match", tag),
        ("if-none-match", any),
        ("if-none-match", empty),
        ("if-unmodified-since", date),
    ] {
        let request = world.request("POST", "/v1/shapes/a").header("content-type", "application/json");
        let response = request.header(name, value).body("{}").send().await.expect("the edge answers");
        assert_eq!(
            reason(&json(response, StatusCode::PRECONDITION_FAILED).await),
            "PRECONDITION_UNSUPPORTED"
        );
    }
    assert_eq!(upstream.calls().len(), 1, "the read alone");
}

#[tokio::test]
async fn a_condition_goes_to_a_method_that_compares_it() {
    let upstream = Upstream::start(async |call| match call.path.ends_with("GetOrder") {
        true => one(&Order { id: "7".into(), version: 300, ..Order::default() }),
        false => echo(&call),
    })
    .await;
    let world = World::of(&upstream).await;
    let tag = world.get("/gateway/orders/7").await.headers()["etag"].clone();
    assert!(tag.to_str().expect("text").starts_with("W/\"300-"), "{tag:?}");
    let cancel = async |name: &'static str, value: &str| {
        let request =
            world.request("POST", "/gateway/orders/7:cancel").header("content-type", "application/json");
        request.header(name, value).body("{\"etag\":\"1\"}").send().await.expect("the edge answers")
    };
    for value in [tag.to_str().expect("text"), "*", "\"300\", \"301\""] {
        cancel("if-match", value).await;
        let call = upstream.calls().pop().expect("a call");
        let request = CancelOrderRequest::decode(call.wire).expect("the contract's message");
        assert_eq!((request.order_id.as_str(), request.etag.as_str()), ("7", value));
    }
    let calls = upstream.calls().len();
    for value in ["", " ", ", ,"] {
        let error = json(cancel("if-match", value).await, StatusCode::BAD_REQUEST).await;
        assert_eq!((reason(&error), upstream.calls().len()), ("MALFORMED_REQUEST", calls), "{value:?}");
    }
    let unwanted = json(cancel("if-none-match", "*").await, StatusCode::PRECONDITION_FAILED).await;
    assert_eq!((reason(&unwanted), upstream.calls().len()), ("PRECONDITION_UNSUPPORTED", calls));
    let since = cancel("if-unmodified-since", "Sat, 28 Nov 2026 23:00:00 GMT").await;
    let error = json(since, StatusCode::PRECONDITION_FAILED).await;
    assert_eq!((reason(&error), upstream.calls().len()), ("PRECONDITION_UNSUPPORTED", calls));
}
