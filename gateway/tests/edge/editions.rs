//! Contracts that use editions: the edge makes of messages what protobuf for Python makes of them.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use gateway::{Config, Upstreams};
use http::StatusCode;
use serde_json::{Value, json};
use tonic::Response;

use crate::{
    upstream::{Upstream, echo},
    world::{World, json as body},
};

const PATH: &str = "/v1/everything";

/// The descriptors that protoc makes of the contracts, and what protobuf for Python says of each case.
fn oracle(cases: &Value) -> (Bytes, Vec<Value>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../target/tools/python/bin/python");
    assert!(python.is_file(), "{} is missing: run scripts/setup", python.display());
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("set.binpb");
    let mut oracle = Command::new(python)
        .arg(root.join("tests/edge/editions.py"))
        .arg(&out)
        .args([root.join("../transcode/tests/proto/editions"), root.join("../proto")])
        .args(["editions2023.proto", "editions.v1.Everything"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = oracle.stdin.take().expect("piped");
    input.write_all(cases.to_string().as_bytes()).expect("it reads");
    drop(input);
    let outcome = oracle.wait_with_output().expect("it ends");
    assert!(outcome.status.success(), "{outcome:?}");
    let answers = serde_json::from_slice(&outcome.stdout).expect("a list");
    (std::fs::read(out).expect("the descriptors").into(), answers)
}

fn config(descriptor_set: Bytes, upstream: &Upstream) -> Config {
    Config {
        descriptor_set,
        foreign: Some(Vec::new()),
        upstreams: Upstreams::One(upstream.url().into()),
        ..Config::builtin("http://unused", "http://unused")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn requests_become_what_protoc_means() {
    let cases = json!([
        // Presence: a default that is set is there, without presence it is not.
        { "json": { "explicitText": "", "implicitText": "", "requiredNumber": 0, "withDefault": 42 } },
        { "json": { "withDefault": 0, "flag": false, "explicitText": "a" } },
        { "json": { "imported": { "text": "", "number": "0", "explicitText": "" } } },
        // Packing.
        { "json": { "packed": [1, 2], "expanded": [3, 4], "openList": ["OPEN_ONE", 9] } },
        { "json": { "imported": { "numbers": [1, -1] } } },
        // Groups, in lists and in maps too.
        { "json": { "delimited": { "text": "a", "inner": { "inner": { "text": "b" } } }, "prefixed": { "inner": {} } } },
        { "json": { "delimitedList": [{}, { "text": "x" }], "inners": { "k": { "inner": { "text": "y" } } } } },
        { "json": { "imported": { "inner": { "inner": { "text": "z" } }, "byName": { "n": { "text": "v" } } } } },
        // Enums, closed and open, nested and imported.
        { "json": { "closed": "CLOSED_EIGHT", "closedList": [7, "CLOSED_SEVEN"], "nested": "NESTED_ONE" } },
        { "json": { "colour": "COLOUR_RED", "imported": { "colour": 4 }, "closedByName": { "a": "CLOSED_NINE" } } },
        { "json": { "open": 77 } },
        { "json": { "closed": 9 } },
        { "json": { "closedList": [7, 9] } },
        { "json": { "nested": 0 } },
        { "json": { "imported": { "colour": 1 } } },
        // What is of every syntax.
        { "json": { "textChoice": "" } },
        { "json": { "numberChoice": 0 } },
        { "json": { "unknown": 1 } },
    ]);
    let (set, answers) = oracle(&cases);
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::with(config(set, &upstream)).await;
    let mut refused = 0;
    for (case, answer) in cases.as_array().expect("a list").iter().zip(answers) {
        let calls = upstream.calls().len();
        let response = world.send("POST", PATH, &case["json"].to_string()).await;
        if answer == json!({}) {
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{case}");
            refused += 1;
            continue;
        }
        assert_eq!(body(response, StatusCode::OK).await, answer["json"], "{case}");
        assert_eq!(hex(&upstream.calls()[calls].wire), answer["wire"], "{case}");
    }
    assert_eq!(refused, 5, "closed enums and names are not checked");
}

#[tokio::test]
async fn responses_become_what_protoc_means() {
    let cases = json!([
        // Numbers that closed enums do not know, alone and among others, and one that an open enum does not.
        { "wire": "48094807" }, { "wire": "4807" }, { "wire": "50095007" }, { "wire": "584d" },
        { "wire": "6000" }, { "wire": "6002" },
        { "wire": "820105" .to_owned() + "0a0161" + "1009" }, { "wire": "820105".to_owned() + "0a0161" + "1008" },
        // Packed where it should not be, and the other way round.
        { "wire": "20012002" }, { "wire": "2a020304" },
        // Defaults that are there.
        { "wire": "0a00" }, { "wire": "1200" }, { "wire": "1800" }, { "wire": "900100" }, { "wire": "7a021000" },
        // Groups, and messages that are not.
        { "wire": "330a016134" }, { "wire": "3a030a0161" }, { "wire": "8b010a01618c01" }, { "wire": "7a071b0a01781c2001" },
    ]);
    let (set, answers) = oracle(&cases);
    let next = Arc::new(Mutex::new(Bytes::new()));
    let script = Arc::clone(&next);
    let upstream = Upstream::start(move |_| {
        let wire = script.lock().expect("no test panics with it").clone();
        async move { Ok(Response::new(stream::iter([Ok(wire)]).boxed())) }
    })
    .await;
    let world = World::with(config(set, &upstream)).await;
    for (case, answer) in cases.as_array().expect("a list").iter().zip(answers) {
        let wire = case["wire"].as_str().expect("a text").as_bytes();
        let digit = |digit: u8| char::from(digit).to_digit(16).expect("a digit") as u8;
        let wire: Vec<u8> = wire.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
        *next.lock().expect("no test panics with it") = wire.into();
        let response = world.send("POST", PATH, "{}").await;
        assert_ne!(answer, json!({}), "{case} is no message");
        assert_eq!(body(response, StatusCode::OK).await, answer["json"], "{case}");
    }
}
