//! The Connect protocol through the edge: by hand, by `buf curl`, and by connect-es.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use chassis::status::{Fault, Reason};
use flate2::{Compression, write::GzEncoder};
use futures_util::{StreamExt as _, stream};
use gateway::Config;
use http::StatusCode;
use ordermesh::orders::v1::{CancelOrderRequest, GetOrderRequest, Order, OrderEvent, WatchOrderRequest};
use prost::Message as _;
use reqwest::Response;
use serde_json::{Value, json as value};
use tokio::process::Command;
use tonic::metadata::MetadataValue;

use crate::{
    upstream::{Reply, Upstream, one},
    world::{World, json},
};

const GET: &str = "/ordermesh.orders.v1.OrdersService/GetOrder";
const CANCEL: &str = "/ordermesh.orders.v1.OrdersService/CancelOrder";
const WATCH: &str = "/ordermesh.orders.v1.OrdersService/WatchOrder";

/// An order with the id that was asked for, or the failure that the id names; a watch of it has two events.
async fn orders() -> Upstream {
    Upstream::start(async |call| -> Reply {
        let missing = || tonic::Status::from(Fault::new(Reason::OrderNotFound, "no such order"));
        if call.path == WATCH {
            let id = WatchOrderRequest::decode(call.wire).expect("the contract's message").order_id;
            let event =
                |version| OrderEvent { order: Some(Order { id: "7".into(), version, ..Order::default() }) };
            let events = [1, 2].map(|version| Ok(bytes::Bytes::from(event(version).encode_to_vec())));
            let events = stream::iter(events).chain(stream::iter((id == "none").then(|| Err(missing()))));
            return Ok(tonic::Response::new(events.boxed()));
        }
        let id = match call.path.as_str() {
            GET => GetOrderRequest::decode(call.wire).expect("the contract's message").order_id,
            _ => CancelOrderRequest::decode(call.wire).expect("the contract's message").order_id,
        };
        match id.as_str() {
            "none" => return Err(missing()),
            "late" => std::future::pending().await,
            _ => {}
        }
        // Long enough to be compressed.
        let description = if id == "long" { "a".repeat(2_000) } else { String::new() };
        let mut reply = one(&Order { id, description, amount: 9_007_199_254_740_993, ..Order::default() })?;
        reply.metadata_mut().insert("mine", MetadataValue::from_static("b"));
        Ok(reply)
    })
    .await
}

async fn post(
    world: &World,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Response {
    let request = world.request("POST", path).header("connect-protocol-version", "1");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body).send().await.expect("the edge answers")
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_unary_call_is_answered_in_its_form() {
    let upstream = orders().await;
    let world = World::of(&upstream).await;
    let headers = [JSON, ("connect-timeout-ms", "5000"), ("mine", "a")];
    let response = post(&world, GET, &headers, r#"{"orderId": "7"}"#).await;
    assert_eq!(
        (&response.headers()["content-type"], &response.headers()["mine"]),
        (&"application/json".parse().expect("a value"), &"b".parse().expect("a value"))
    );
    assert_eq!(json(response, StatusCode::OK).await, value!({"id": "7", "amount": "9007199254740993"}));
    let metadata = upstream.call().metadata;
    assert_eq!(metadata.get("grpc-timeout").expect("a time"), "5000m");
    assert_eq!(metadata.get("mine").expect("it travels"), "a");
    assert!(metadata.get("connect-timeout-ms").is_none());

    let request = GetOrderRequest { order_id: "8".into() }.encode_to_vec();
    let response = post(&world, GET, &[("content-type", "application/proto")], request).await;
    assert_eq!(response.headers()["content-type"], "application/proto");
    assert_eq!(Order::decode(response.bytes().await.expect("a body")).expect("an order").id, "8");

    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(br#"{"orderId": "9"}"#).expect("memory");
    let response =
        post(&world, GET, &[JSON, ("content-encoding", "gzip")], gzip.finish().expect("memory")).await;
    assert_eq!(json(response, StatusCode::OK).await["id"], "9");
}

#[tokio::test]
async fn what_changes_nothing_is_called_by_get() {
    let world = World::of(&orders().await).await;
    let message = "%7B%22orderId%22%3A%227%22%7D";
    let response = world.get(&format!("{GET}?connect=v1&encoding=json&message={message}")).await;
    assert_eq!(json(response, StatusCode::OK).await["id"], "7");
    let coded = BASE64_STANDARD_NO_PAD.encode(GetOrderRequest { order_id: "7".into() }.encode_to_vec());
    let response = world.get(&format!("{GET}?connect=v1&encoding=proto&base64=1&message={coded}")).await;
    assert_eq!(Order::decode(response.bytes().await.expect("a body")).expect("an order").id, "7");
    let response = world.get(&format!("{CANCEL}?connect=v1&encoding=json&message={message}")).await;
    assert_eq!(
        (response.status(), &response.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().expect("a value"))
    );
}

#[tokio::test]
async fn an_error_has_its_code_and_its_details() {
    let world = World::of(&orders().await).await;
    let error = json(post(&world, GET, &[JSON], r#"{"orderId": "none"}"#).await, StatusCode::NOT_FOUND).await;
    assert_eq!((&error["code"], &error["message"]), (&value!("not_found"), &value!("no such order")));
    assert_eq!(error["details"][0]["type"], "google.rpc.ErrorInfo");
    let detail =
        BASE64_STANDARD_NO_PAD.decode(error["details"][0]["value"].as_str().expect("text")).expect("base64");
    assert!(String::from_utf8_lossy(&detail).contains("ORDER_NOT_FOUND"));
    for (headers, body) in [
        (&[JSON][..], r#"{"nope": 1}"#),
        (&[JSON], "{"),
        (&[JSON, ("connect-timeout-ms", "1s")], "{}"),
        (&[JSON, ("connect-protocol-version", "2")], "{}"),
    ] {
        let response = match headers.last() {
            Some(("connect-protocol-version", _)) => {
                let request = world.request("POST", GET).header("connect-protocol-version", "2");
                request.header(JSON.0, JSON.1).body(body).send().await.expect("the edge answers")
            }
            _ => post(&world, GET, headers, body).await,
        };
        assert_eq!(json(response, StatusCode::BAD_REQUEST).await["code"], "invalid_argument", "{body}");
    }
    for (path, kind) in [(GET, "application/connect+json"), (WATCH, "application/json")] {
        let response = post(&world, path, &[("content-type", kind)], "{}").await;
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
        assert!(response.headers().contains_key("accept-post"));
    }
    let unknown = post(&world, "/ordermesh.orders.v1.OrdersService/Nothing", &[JSON], "{}").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}

pub(crate) fn envelope(flags: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[flags], &length[..], message].concat()
}

/// The envelopes of an answer: their flags and what is in them.
pub(crate) fn envelopes(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((prefix, rest)) = body.split_first_chunk::<5>() {
        let [flags, length @ ..] = *prefix;
        let (message, rest) = rest.split_at(u32::from_be_bytes(length) as usize);
        found.push((flags, message.to_vec()));
        body = rest;
    }
    found
}

#[tokio::test]
async fn a_stream_has_its_messages_and_its_end_in_envelopes() {
    let world = World::of(&orders().await).await;
    for (kind, id) in [("json", "7"), ("json", "none"), ("proto", "7")] {
        let request = match kind {
            "json" => format!(r#"{{"orderId": "{id}"}}"#).into_bytes(),
            _ => WatchOrderRequest { order_id: id.into(), after_version: 0 }.encode_to_vec(),
        };
        let kind_of = format!("application/connect+{kind}");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&request).expect("memory");
        let coded = envelope(1, &gzip.finish().expect("memory"));
        for (body, coding) in [(envelope(0, &request), "identity"), (coded, "gzip")] {
            let headers = [("content-type", kind_of.as_str()), ("connect-content-encoding", coding)];
            let response = post(&world, WATCH, &headers, body).await;
            assert_eq!(
                (response.status(), &response.headers()["content-type"]),
                (StatusCode::OK, &kind_of.parse().expect("a value"))
            );
            let found = envelopes(&response.bytes().await.expect("a body"));
            let [(0, first), (0, _), (2, end)] = found.as_slice() else { panic!("{found:?}") };
            match kind {
                "json" => {
                    assert_eq!(serde_json::from_slice::<Value>(first).expect("JSON")["order"]["version"], "1")
                }
                _ => assert_eq!(
                    OrderEvent::decode(&first[..]).expect("an event").order.expect("an order").version,
                    1
                ),
            }
            let end: Value = serde_json::from_slice(end).expect("JSON");
            let code = if id == "none" { value!("not_found") } else { Value::Null };
            assert_eq!(end["error"]["code"], code, "{end}");
        }
    }
    for body in [envelope(0, b"{"), envelope(4, b"{}"), envelope(1, b"no gzip"), b"\0\0".to_vec()] {
        let headers = [("content-type", "application/connect+json"), ("connect-content-encoding", "gzip")];
        let found = envelopes(&post(&world, WATCH, &headers, body).await.bytes().await.expect("a body"));
        let [(2, end)] = found.as_slice() else { panic!("{found:?}") };
        let end: Value = serde_json::from_slice(end).expect("JSON");
        assert_eq!(end["error"]["code"], "invalid_argument", "{end}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn packages() -> PathBuf {
    let packages = root().join("target/tools/typescript/node_modules");
    assert!(packages.is_dir(), "{} is missing: run scripts/setup", packages.display());
    packages
}

#[tokio::test]
async fn buf_curl_calls_as_it_is() {
    let world = World::of(&orders().await).await;
    let cache = tempfile::tempdir().expect("a folder");
    let curl = async |path: &str, id: &str| {
        let mut buf = Command::new(packages().join(".bin/buf"));
        let url = format!("{}{path}", world.url);
        buf.args(["curl", "--schema", "proto", "-d", &format!(r#"{{"orderId": "{id}"}}"#), &url]);
        buf.current_dir(root()).env("BUF_CACHE_DIR", cache.path()).output().await.expect("it starts")
    };
    let answered = curl(GET, "7").await;
    let order: Value = serde_json::from_slice(&answered.stdout).unwrap_or_else(|_| panic!("{answered:?}"));
    assert_eq!(order, value!({"id": "7", "amount": "9007199254740993"}));
    let watched = curl(WATCH, "7").await;
    assert_eq!(String::from_utf8_lossy(&watched.stdout).matches("\"version\"").count(), 2, "{watched:?}");
    let failed = curl(GET, "none").await;
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("not_found") && said.contains("google.rpc.ErrorInfo"), "{said}");
}

/// What a script of Node.js finds out about an edge, with the packages of these folders.
async fn said(script: &str, folders: &[PathBuf], world: &World) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let set = folder.path().join("set.binpb");
    std::fs::write(&set, ordermesh::DESCRIPTOR_SET).expect("a file");
    let mut node = Command::new("node");
    node.arg(root().join("gateway/tests/edge").join(script)).args(folders).arg(&set).arg(&world.url);
    let said = node.stdout(Stdio::piped()).stderr(Stdio::piped()).output().await.expect("it starts");
    serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"))
}

/// Where the packages of connect-es are.
fn clients() -> PathBuf {
    packages().parent().expect("a folder").to_owned()
}

#[tokio::test]
async fn connect_es_calls_as_it_is() {
    let upstream = orders().await;
    let config = Config::builtin(upstream.url(), upstream.url());
    let world = World::with(Config { compress: true, ..config }).await;
    let answers = said("connect.cjs", &[clients()], &world).await;
    for form in ["json", "proto"] {
        let expected = value!({
            "id": "7", "amount": "9007199254740993", "metadata": "b", "by get": "8", "by gRPC-Web": "9", "versions": ["1", "2"],
            "compressed": 2_000, "versions compressed": ["1", "2"],
            "code": "NotFound", "reason": "ORDER_NOT_FOUND", "stream": "NotFound", "late": "DeadlineExceeded",
        });
        assert_eq!(answers[form], expected, "{form}");
    }
}

#[tokio::test]
async fn connect_web_calls_from_a_page() {
    let world = World::of(&orders().await).await;
    let browser = root().join("target/tools/console");
    let answers = said("connect_page.mjs", &[browser, clients()], &world).await;
    for form in ["json", "proto"] {
        let expected = value!({
            "id": "7", "amount": "9007199254740993", "metadata": "b", "by get": "8", "by gRPC-Web": "9", "versions": ["1", "2"],
            "versions by gRPC-Web": ["1", "2"], "code": "NotFound", "reason": "ORDER_NOT_FOUND", "stream": "NotFound",
            "late": "DeadlineExceeded",
        });
        assert_eq!(answers[form], expected, "{form}");
    }
}
