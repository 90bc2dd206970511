//! What a request of Connect means beside its message, and how it is refused: as a route refuses the same, in the protocol's form.

use std::num::NonZeroU32;

use axum::body::Body;
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use chassis::status::{Fault, Reason};
use futures_util::{StreamExt as _, stream};
use gateway::{Config, Upstreams};
use http::StatusCode;
use prost::Message as _;
use reqwest::Response;
use serde_json::{Value, json as value};
use tonic::{Status, metadata::MetadataValue};
use tonic_types::pb;
use world::Issuer;

use crate::{
    connect::{envelope, envelopes},
    foreign::{compiled, encoded},
    identity::verifier,
    upstream::{Reply, Upstream, echo},
    world::{World, json},
};

const CONTRACT: &str = r#"
    syntax = "proto3";
    package calls.v1;
    import "google/api/annotations.proto";
    message M { string text = 1; string request_id = 2; string etag = 3; M inner_part = 4; }
    message Bare { string text = 1; }
    service Calls {
      rpc Write(M) returns (M) { option (google.api.http) = {post: "/v1/write" body: "*"}; }
      rpc Plain(Bare) returns (Bare);
      rpc Read(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; }
      rpc Watch(M) returns (stream M);
      rpc Upload(stream M) returns (M);
    }"#;

/// The message of [`CONTRACT`].
#[derive(Clone, PartialEq, prost::Message)]
struct M {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(string, tag = "2")]
    request_id: String,
    #[prost(string, tag = "3")]
    etag: String,
}

/// The request again, or a failure that its text names.
pub(crate) async fn service() -> Upstream {
    Upstream::start(async |call| -> Reply {
        let text = M::decode(call.wire.clone()).expect("the contract's message").text;
        match text.as_str() {
            "wrong" => {
                Err(Fault::of_field(Reason::InvalidField, "inner_part.request_id", "must be short").into())
            }
            "fails" => {
                let mut failure = Status::not_found("nothing");
                failure.metadata_mut().insert("after", MetadataValue::from_static("t"));
                let mut reply = tonic::Response::new(stream::iter([Err(failure)]).boxed());
                reply.metadata_mut().insert("before", MetadataValue::from_static("h"));
                Ok(reply)
            }
            "late" => std::future::pending().await,
            "broken" => Ok(tonic::Response::new(stream::iter([Ok(Bytes::from_static(b"\x0a\xff"))]).boxed())),
            _ => {
                let mut reply = echo(&call)?;
                reply.metadata_mut().insert("content-encoding", MetadataValue::from_static("aws-chunked"));
                Ok(reply)
            }
        }
    })
    .await
}

pub(crate) fn config(upstream: &Upstream) -> Config {
    let set = encoded(compiled(&[("calls.proto", CONTRACT.to_owned())]).into_values());
    Config { descriptor_set: set, upstreams: Upstreams::One(upstream.url().into()), ..Config::default() }
}

pub(crate) async fn post(
    world: &World,
    method: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Response {
    call(world, "POST", &format!("/calls.v1.Calls/{method}"), headers, body).await
}

async fn call(
    world: &World,
    verb: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Response {
    let request = world.request(verb, path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let body = reqwest::Body::wrap_stream(body.into().into_data_stream());
    request.body(body).send().await.expect("the edge answers")
}

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const STREAM: (&str, &str) = ("content-type", "application/connect+json");
const PROTO: (&str, &str) = ("content-type", "application/proto");
const KEY: (&str, &str) = ("idempotency-key", "\"tuesday\"");
const CONDITION: (&str, &str) = ("if-match", "\"4\"");
const UNWANTED: (&str, &str) = ("if-none-match", "*");
const GZIP: (&str, &str) = ("connect-content-encoding", "gzip");

#[tokio::test]
async fn what_is_no_call_of_the_method_is_refused_for_what_it_is() {
    let world = World::with(config(&service().await)).await;
    let typed = |kind: &'static str| [("content-type", kind)];
    let unary = ("accept-post", "application/json, application/proto");
    let streams = ("accept-post", "application/connect+json, application/connect+proto");
    let (post, get) = (("allow", "POST"), ("allow", "GET, POST"));
    for (verb, path, headers, status, (name, expected)) in [
        ("POST", "Write", &typed("application/foo")[..], 415, unary),
        ("POST", "Write", &typed("image/jpeg"), 415, unary),
        ("POST", "Write", &typed("application/x-protobuf"), 415, unary),
        ("POST", "Write", &typed("application/json; charset=latin1"), 415, unary),
        ("POST", "Write", &[], 415, unary),
        ("POST", "Write", &typed("application/connect+json"), 415, unary),
        ("POST", "Watch", &typed("application/connect+foo"), 415, streams),
        ("POST", "Watch", &typed("application/json"), 415, streams),
        ("GET", "Read?encoding=foo&message=%7B%7D", &[], 415, unary),
        ("GET", "Read?message=%7B%7D", &[], 415, unary),
        ("GET", "Write", &[], 405, post),
        ("GET", "Write?encoding=json&message=%7B%7D", &[], 405, post),
        ("PUT", "Write", &typed("application/proto"), 405, post),
        ("DELETE", "Read", &[JSON], 405, get),
        ("PATCH", "Read", &[JSON], 405, get),
        ("GET", "Watch?encoding=json&message=%7B%7D", &[], 405, post),
    ] {
        let response = call(&world, verb, &format!("/calls.v1.Calls/{path}"), headers, Body::empty()).await;
        assert_eq!(
            (response.status().as_u16(), response.headers().get(name).map(|value| value.as_bytes())),
            (status, Some(expected.as_bytes())),
            "{verb} {path} {headers:?}"
        );
        let error: Value = response.json().await.expect("an error of Connect");
        assert!(error["code"].is_string() && error["message"].is_string(), "{verb} {path}: {error}");
    }
    let head = call(&world, "HEAD", "/calls.v1.Calls/Read", &[], Body::empty()).await;
    assert_eq!((head.status().as_u16(), head.headers()["allow"].as_bytes()), (405, &b"GET, POST"[..]));
}

#[tokio::test]
async fn a_message_that_is_not_taken_has_the_code_of_the_protocol() {
    let upstream = service().await;
    let world = World::with(Config { max_body_bytes: 1_000, ..config(&upstream) }).await;
    let large = format!(r#"{{"text": "{}"}}"#, "x".repeat(2_000));
    let (coded, twice) = (("content-encoding", "gzip, gzip"), ("connect-timeout-ms", "5"));
    for (what, headers, body, status, code, text) in [
        ("coding", &[JSON, ("content-encoding", "foo")][..], "{}", 501, "unimplemented", "gzip, br, zstd"),
        ("codings", &[JSON, coded], "{}", 501, "unimplemented", "gzip, br, zstd"),
        ("size", &[JSON], &large, 429, "resource_exhausted", "1000 bytes"),
        ("nothing", &[JSON], "", 400, "invalid_argument", "empty"),
        ("deadlines", &[JSON, twice, twice], "{}", 400, "invalid_argument", "more than once"),
    ] {
        let response = post(&world, "Write", headers, body.to_owned()).await;
        assert_eq!(response.status().as_u16(), status, "{what}");
        let error: Value = response.json().await.expect("an error of Connect");
        assert!(
            error["code"] == code && error["message"].as_str().expect("a text").contains(text),
            "{error}"
        );
    }
    for (query, status, code) in [
        ("encoding=json&message=%7B%7D&compression=foo", 501, "unimplemented"),
        ("encoding=json&message=%7B%7D&message=%7B%7D", 400, "invalid_argument"),
        ("encoding=json&message=", 400, "invalid_argument"),
    ] {
        let response = world.get(&format!("/calls.v1.Calls/Read?{query}")).await;
        assert_eq!(response.status().as_u16(), status, "{query}");
        assert_eq!(response.json::<Value>().await.expect("an error of Connect")["code"], code, "{query}");
    }
    for method in ["Watch", "Upload"] {
        for (what, headers, body, code) in [
            ("size", &[STREAM][..], envelope(0, large.as_bytes()), "resource_exhausted"),
            ("no coding", &[STREAM], envelope(1, b"what"), "internal"),
            ("flags", &[STREAM], envelope(4, b"{}"), "invalid_argument"),
            ("no JSON", &[STREAM], envelope(0, b"{"), "invalid_argument"),
            ("coding", &[STREAM, ("connect-content-encoding", "foo")], envelope(0, b"{}"), "unimplemented"),
        ] {
            let answer = post(&world, method, headers, body).await;
            let found = envelopes(&answer.bytes().await.expect("a body"));
            let [(2, end)] = found.as_slice() else { panic!("{found:?}") };
            let end: Value = serde_json::from_slice(end).expect("JSON");
            assert_eq!(end["error"]["code"], code, "{method} {what}: {end}");
        }
    }
    assert!(upstream.calls().is_empty(), "{:?}", upstream.calls());
}

#[tokio::test]
async fn headers_of_http_do_not_describe_a_message_that_they_do_not_belong_to() {
    let upstream = service().await;
    let world = World::with(config(&upstream)).await;
    let asked = "/calls.v1.Calls/Read?encoding=json&message=%7B%22text%22%3A%22a%22%7D";
    let headers = [("content-encoding", "gzip"), ("grpc-timeout", "1n"), ("grpc-accept-encoding", "gzip")];
    let response = call(&world, "GET", asked, &headers, Body::empty()).await;
    assert!(!response.headers().contains_key("content-encoding"), "{response:?}");
    assert_eq!(json(response, StatusCode::OK).await, value!({"text": "a"}));
    assert_eq!(upstream.call().metadata.get("grpc-timeout").expect("a time"), "15000m");
    // Nothing in gzip is nothing: it is not unpacked.
    let headers = [("content-type", "application/connect+proto"), GZIP];
    let found =
        envelopes(&post(&world, "Watch", &headers, envelope(1, b"")).await.bytes().await.expect("a body"));
    let [(0, message), (2, end)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((message.as_slice(), end.as_slice()), (&b""[..], &b"{}"[..]));
}

#[tokio::test]
async fn a_key_and_a_condition_mean_what_they_mean_for_routes() {
    let upstream = service().await;
    let world = World::with(config(&upstream)).await;
    let text = |request_id: &str, etag: &str| M {
        text: "a".into(),
        request_id: request_id.into(),
        etag: etag.into(),
    };
    let wire = |request_id: &str| text(request_id, "").encode_to_vec();
    for (method, headers, body, expected) in [
        ("Write", &[JSON, KEY][..], br#"{"text":"a"}"#.to_vec(), text("tuesday", "")),
        ("Write", &[JSON, KEY, CONDITION], br#"{"text":"a"}"#.to_vec(), text("tuesday", "\"4\"")),
        ("Write", &[JSON, KEY], br#"{"text":"a","requestId":"tuesday"}"#.to_vec(), text("tuesday", "")),
        ("Write", &[PROTO, KEY, CONDITION], wire(""), text("tuesday", "\"4\"")),
        ("Write", &[PROTO, KEY], wire("tuesday"), text("tuesday", "")),
        // A condition on what only reads is no condition on a write, and who has no such field knows no key.
        ("Read", &[JSON, CONDITION], br#"{"text":"a"}"#.to_vec(), text("", "")),
        ("Plain", &[JSON, KEY], br#"{"text":"a"}"#.to_vec(), text("", "")),
        ("Watch", &[STREAM, KEY, CONDITION], envelope(0, br#"{"text":"a"}"#), text("tuesday", "\"4\"")),
    ] {
        let response = post(&world, method, headers, body).await;
        assert_eq!(response.status(), StatusCode::OK, "{method} {headers:?}");
        let call = upstream.calls().pop().expect("a call");
        assert_eq!(M::decode(call.wire).expect("a message"), expected, "{method} {headers:?}");
    }
}

#[tokio::test]
async fn a_key_or_a_condition_that_a_route_refuses_is_refused() {
    let upstream = service().await;
    let world = World::with(config(&upstream)).await;
    let keyed = M { request_id: "tuesday".into(), ..M::default() }.encode_to_vec();
    let other = ("idempotency-key", "friday");
    for (method, headers, body, code, reason) in [
        (
            "Write",
            &[JSON, other][..],
            br#"{"requestId":"tuesday"}"#.to_vec(),
            "invalid_argument",
            "INVALID_FIELD",
        ),
        ("Write", &[PROTO, other], keyed, "invalid_argument", "INVALID_FIELD"),
        ("Write", &[JSON, KEY, other], b"{}".to_vec(), "invalid_argument", "MALFORMED_REQUEST"),
        (
            "Write",
            &[JSON, ("idempotency-key", "\"x")],
            b"{}".to_vec(),
            "invalid_argument",
            "MALFORMED_REQUEST",
        ),
        ("Plain", &[JSON, CONDITION], b"{}".to_vec(), "failed_precondition", "PRECONDITION_UNSUPPORTED"),
        ("Write", &[JSON, UNWANTED], b"{}".to_vec(), "failed_precondition", "PRECONDITION_UNSUPPORTED"),
        ("Write", &[PROTO, ("if-match", "")], Vec::new(), "invalid_argument", "MALFORMED_REQUEST"),
        (
            "Write",
            &[JSON, ("if-unmodified-since", "Mon, 30 Nov 2026 08:00:00 GMT")],
            b"{}".to_vec(),
            "failed_precondition",
            "PRECONDITION_UNSUPPORTED",
        ),
    ] {
        let response = post(&world, method, headers, body).await;
        let error = json(response, StatusCode::BAD_REQUEST).await;
        let info =
            pb::ErrorInfo::decode(detail(&error, "google.rpc.ErrorInfo").as_slice()).expect("a detail");
        assert_eq!((&error["code"], info.reason.as_str()), (&value!(code), reason), "{headers:?}");
    }
    for condition in [CONDITION, UNWANTED] {
        let refused = post(&world, "Upload", &[STREAM, condition], envelope(0, b"{}")).await;
        let found = envelopes(&refused.bytes().await.expect("a body"));
        assert!(String::from_utf8_lossy(&found[0].1).contains("failed_precondition"), "{found:?}");
    }
    assert!(upstream.calls().is_empty(), "{:?}", upstream.calls());
}

/// The detail of this type.
fn detail(error: &Value, name: &str) -> Vec<u8> {
    let details = error["details"].as_array().expect("details");
    let found = details.iter().find(|detail| detail["type"] == name).expect(name);
    BASE64_STANDARD_NO_PAD.decode(found["value"].as_str().expect("text")).expect("base64")
}

#[tokio::test]
async fn a_failure_has_its_metadata_and_names_fields_as_the_request_does() {
    let world = World::with(config(&service().await)).await;
    for (path, kind) in [("Write", "application/json"), ("Write", "application/proto")] {
        let body = match kind {
            "application/json" => br#"{"text": "fails"}"#.to_vec(),
            _ => M { text: "fails".into(), ..M::default() }.encode_to_vec(),
        };
        let response = post(&world, path, &[("content-type", kind)], body).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            (&response.headers()["before"], &response.headers()["trailer-after"]),
            (&"h".parse().expect("a value"), &"t".parse().expect("a value"))
        );
    }
    let wrong = M { text: "wrong".into(), ..M::default() }.encode_to_vec();
    for (kind, body, field) in [
        ("application/json", br#"{"text": "wrong"}"#.to_vec(), "innerPart.requestId"),
        ("application/proto", wrong, "inner_part.request_id"),
    ] {
        let error =
            json(post(&world, "Write", &[("content-type", kind)], body).await, StatusCode::BAD_REQUEST).await;
        let bad =
            pb::BadRequest::decode(detail(&error, "google.rpc.BadRequest").as_slice()).expect("a detail");
        assert_eq!(bad.field_violations[0].field, field, "{kind}");
    }
    let answer = post(&world, "Watch", &[STREAM], envelope(0, br#"{"text": "wrong"}"#)).await;
    let found = envelopes(&answer.bytes().await.expect("a body"));
    let end: Value = serde_json::from_slice(&found[0].1).expect("JSON");
    let bad =
        pb::BadRequest::decode(detail(&end["error"], "google.rpc.BadRequest").as_slice()).expect("a detail");
    assert_eq!(bad.field_violations[0].field, "innerPart.requestId");
}

#[tokio::test]
async fn a_caller_who_is_not_let_in_gets_what_http_has_for_that() {
    let (issuer, upstream) = (Issuer::start().await.expect("an issuer"), service().await);
    let world = World::with(Config { issuer: Some(verifier(&issuer)), ..config(&upstream) }).await;
    let refused = post(&world, "Write", &[JSON], "{}").await;
    assert_eq!(
        (refused.status().as_u16(), refused.headers()["www-authenticate"].as_bytes()),
        (401, &b"Bearer"[..])
    );
    assert_eq!(refused.json::<Value>().await.expect("an error")["code"], "unauthenticated");
    let world = World::with(Config { rate_limit: NonZeroU32::new(1), ..config(&upstream) }).await;
    let refused = loop {
        let response = post(&world, "Write", &[JSON], "{}").await;
        assert!(response.headers().contains_key("ratelimit"), "{response:?}");
        if response.status() != StatusCode::OK {
            break response;
        }
    };
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
        assert!(refused.headers().contains_key(name), "{name}: {refused:?}");
    }
}
