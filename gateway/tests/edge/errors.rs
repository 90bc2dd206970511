//! Errors of the service, as HTTP clients see them.

use std::time::Duration;

use bytes::Bytes;
use chassis::status::{Fault, Reason, Violation};
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::connect_async;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    upstream::{Upstream, echo},
    world::{World, json, reason, shapes},
};

async fn failing(status: impl Fn() -> Status + Send + Sync + Clone + 'static) -> World {
    let upstream = Upstream::start(move |_| {
        let status = status.clone();
        async move { Err(status()) }
    })
    .await;
    World::of_shapes(&upstream).await
}

fn fault() -> Status {
    let violation = Violation { field: "order.amount".into(), description: "must be positive".into() };
    let fault = Fault::new(Reason::IdempotencyKeyReused, "the key was used");
    Fault { violations: vec![violation], retry_after: Some(Duration::from_millis(1_500)), ..fault }.into()
}

#[tokio::test]
async fn a_fault_is_answered_as_aip_193() {
    let response = failing(fault).await.get("/v1/shapes").await;
    assert_eq!(
        (&response.headers()["content-type"], &response.headers()["retry-after"]),
        (&"application/json".parse().expect("a value"), &"2".parse().expect("a value"))
    );
    assert_eq!(
        json(response, StatusCode::UNPROCESSABLE_ENTITY).await,
        json!({"error": {
            "code": 422,
            "status": "FAILED_PRECONDITION",
            "message": "the key was used",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "IDEMPOTENCY_KEY_REUSED", "domain": "ordermesh", "metadata": {}},
                {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "order.amount", "description": "must be positive"}]},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.500s"},
            ],
        }})
    );
}

#[tokio::test]
async fn a_fault_is_answered_as_problem_details_on_request() {
    let world = failing(fault).await;
    let request = world.request("GET", "/v1/shapes?text=a").header("accept", "application/problem+json");
    let response = request.send().await.expect("the edge answers");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(
        json(response, StatusCode::UNPROCESSABLE_ENTITY).await,
        json!({
            "type": "/errors/IDEMPOTENCY_KEY_REUSED",
            "title": "Unprocessable Entity",
            "status": 422,
            "detail": "the key was used",
            "instance": "/v1/shapes",
            "reason": "IDEMPOTENCY_KEY_REUSED",
            "errors": [{"field": "order.amount", "detail": "must be positive"}],
            "details": [
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "IDEMPOTENCY_KEY_REUSED", "domain": "ordermesh", "metadata": {}},
                {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "order.amount", "description": "must be positive"}]},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.500s"},
            ],
        })
    );
}

#[tokio::test]
async fn every_reason_has_its_http_status() {
    for reason_of in Reason::ALL {
        let response =
            failing(|| Fault::new(*reason_of, "what happened").into()).await.get("/v1/shapes").await;
        assert_eq!(
            response.headers().contains_key("www-authenticate"),
            *reason_of == Reason::Unauthenticated
        );
        let error = json(response, reason_of.http()).await;
        assert_eq!(reason(&error), reason_of.as_str());
    }
}

#[tokio::test]
async fn codes_without_a_reason_have_the_usual_http_status() {
    for (code, status) in [
        (Code::InvalidArgument, 400),
        (Code::FailedPrecondition, 400),
        (Code::OutOfRange, 400),
        (Code::Unauthenticated, 401),
        (Code::PermissionDenied, 403),
        (Code::NotFound, 404),
        (Code::AlreadyExists, 409),
        (Code::Aborted, 409),
        (Code::ResourceExhausted, 429),
        (Code::Cancelled, 499),
        (Code::Unimplemented, 501),
    ] {
        let response = failing(move || Status::new(code, "what happened")).await.get("/v1/shapes").await;
        let error = json(response, StatusCode::from_u16(status).expect("a status")).await;
        assert_eq!(error["error"]["message"], "what happened");
    }
}

#[tokio::test]
async fn another_domains_details_are_passed_on() {
    let status = || {
        let mut details =
            ErrorDetails::with_error_info("QUOTA", "example.org", [("limit".to_owned(), "5".to_owned())]);
        details.add_bad_request_violation("name", "is taken");
        Status::with_error_details(Code::Unavailable, "come back", details)
    };
    let error = json(failing(status).await.get("/v1/shapes").await, StatusCode::SERVICE_UNAVAILABLE).await;
    let info = &error["error"]["details"][0];
    assert_eq!(
        (&info["reason"], &info["domain"], &info["metadata"]),
        (&json!("QUOTA"), &json!("example.org"), &json!({"limit": "5"}))
    );
    assert_eq!(error["error"]["details"][1]["fieldViolations"][0]["field"], "name");
}

#[tokio::test]
async fn a_services_inside_stays_inside() {
    for status in [
        || Status::internal("secret"),
        || Status::unknown("secret"),
        || Status::data_loss("secret"),
        || Fault::new(Reason::Internal, "secret").into(),
    ] {
        let error =
            json(failing(status).await.get("/v1/shapes").await, StatusCode::INTERNAL_SERVER_ERROR).await;
        assert_eq!((reason(&error), error.to_string().contains("secret")), ("INTERNAL", false));
    }
}

#[tokio::test]
async fn a_service_that_is_away_is_unavailable_until_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    drop(listener);
    let world = World::with(shapes(&format!("http://{address}"))).await;
    let away = async || {
        let response = world.get("/v1/shapes").await;
        assert!(response.headers().contains_key("retry-after"));
        let error = json(response, StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(reason(&error), "UPSTREAM_UNAVAILABLE");
    };
    for _ in 0..2 {
        away().await;
        let listener = TcpListener::bind(address).await.expect("the port is still free");
        let upstream = Upstream::start_on(listener, async |call| echo(&call));
        json(world.get("/v1/shapes").await, StatusCode::OK).await;
        upstream.end().await;
    }
    away().await;
}

#[tokio::test]
async fn a_response_of_another_contract_says_that_its_call_took_effect() {
    let upstream = Upstream::start(async |mut call| {
        call.wire = bytes::Bytes::from_static(b"\xff\xff");
        echo(&call)
    })
    .await;
    let world = World::of_shapes(&upstream).await;
    let error = json(world.get("/v1/shapes").await, StatusCode::INTERNAL_SERVER_ERROR).await;
    assert_eq!(reason(&error), "ANSWER_NOT_REPRESENTABLE");
}

/// A status with details of every kind: of google.rpc, of the service, and of nobody who is known.
fn detailed() -> Status {
    let mut details = ErrorDetails::new();
    details.set_retry_info(Some(Duration::from_secs(7))).add_help_link("a page", "https://example.test/help");
    details.set_localized_message("de", "Kein Platz").add_precondition_failure_violation("a", "b", "c");
    let status = Status::with_error_details(Code::Unavailable, "no space until tonight", details);
    let mut all = tonic_types::pb::Status::decode(status.details()).expect("details");
    for (name, value) in [
        ("shop.v1.Unknown", &b"\x08\x01"[..]),
        ("shapes.v1.Nested", b"\x0a\x01x"),
        ("google.protobuf.Timestamp", b"\x08\x01"),
        ("google.protobuf.Struct", b"\x0a\x09\x0a\x01k\x12\x04\x1a\x02ok"),
    ] {
        let (type_url, value) = (format!("type.googleapis.com/{name}"), value.to_vec());
        all.details.push(prost_types::Any { type_url, value });
    }
    Status::with_details(status.code(), status.message(), all.encode_to_vec().into())
}

#[tokio::test]
async fn every_detail_of_a_service_is_passed_on() {
    let world = failing(detailed).await;
    let response = world.send("POST", "/v1/shapes/a", "{}").await;
    assert_eq!(response.headers()["retry-after"], "7");
    let error = json(response, StatusCode::SERVICE_UNAVAILABLE).await;
    // For those who ask for problem details too.
    let asked = world.request("GET", "/v1/shapes").header("accept", "application/problem+json");
    let problem = json(asked.send().await.expect("the edge answers"), StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(problem["details"], error["error"]["details"]);
    assert_eq!(
        (reason(&error), &error["error"]["message"]),
        ("UPSTREAM_UNAVAILABLE", &json!("no space until tonight"))
    );
    for detail in [
        json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}),
        json!({"@type": "type.googleapis.com/google.rpc.Help", "links": [{"description": "a page", "url": "https://example.test/help"}]}),
        json!({"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "de", "message": "Kein Platz"}),
        json!({"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": [{"type": "a", "subject": "b", "description": "c"}]}),
        json!({"@type": "type.googleapis.com/shop.v1.Unknown", "value": "CAE="}),
        // A type that the service describes, and types with a JSON form of their own.
        json!({"@type": "type.googleapis.com/shapes.v1.Nested", "text": "x"}),
        json!({"@type": "type.googleapis.com/google.protobuf.Timestamp", "value": "1970-01-01T00:00:01Z"}),
        json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": {"k": "ok"}}),
    ] {
        assert!(
            error["error"]["details"].as_array().expect("a list").contains(&detail),
            "{detail} in {error}"
        );
    }
}

/// In the middle of a stream as well, whatever it is written as.
#[tokio::test]
async fn every_detail_is_passed_on_in_the_middle_of_a_stream() {
    let upstream = Upstream::start(async |call| {
        if !call.path.ends_with("/Watch") {
            return Err(detailed());
        }
        let messages = stream::iter([Ok(Bytes::new()), Err(detailed())]);
        Ok(tonic::Response::new(messages.boxed()))
    });
    let upstream = upstream.await;
    let world = World::of_shapes(&upstream).await;
    let alone = json(world.get("/v1/shapes").await, StatusCode::SERVICE_UNAVAILABLE).await;
    let expected = &alone["error"];
    assert!(expected["details"].as_array().expect("a list").len() > 7, "{alone}");
    let read = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
    let events = world.get("/v1/shapes:watch").await.text().await.expect("a stream");
    let (_, event) = events.split_once("event: error\ndata: ").expect("an error");
    assert_eq!(&read(event)["error"], expected, "{events}");
    let lines = world.request("GET", "/v1/shapes:watch").header("accept", "application/x-ndjson");
    let lines = lines.send().await.expect("the edge answers").text().await.expect("a stream");
    assert_eq!(&read(lines.lines().last().expect("a line"))["error"], expected, "{lines}");
    let url = format!("{}/v1/shapes:watch", world.url.replace("http", "ws"));
    let (mut socket, _) = connect_async(url.as_str()).await.expect("a WebSocket");
    socket.next().await.expect("a message").expect("a frame");
    let last = socket.next().await.expect("an error").expect("a frame");
    assert_eq!(&read(last.to_text().expect("text"))["error"], expected, "{last}");
}
