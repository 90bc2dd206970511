//! The peer of the conformance runner, asked as the runner asks.

use std::{
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Value, json};

const TESTED: &str = "protobuf_test_messages.proto3.TestAllTypesProto3";

/// Built together with the tests, next to their folder.
fn peer() -> PathBuf {
    let tests = std::env::current_exe().expect("a test has a path");
    let profile = tests.ancestors().nth(2).expect("the folder of the profile");
    profile.join("examples/conformance")
}

/// The answers to these requests, which are JSON for brevity.
fn answers(requests: &[Value]) -> Vec<Value> {
    let protos = format!("{}/tests/proto", env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([protos]).expect("the folder is there");
    let files = ["conformance.proto", "test_messages.proto"];
    compiler.include_imports(true).open_files(files).expect("valid contracts");
    let set = compiler.encode_file_descriptor_set();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("set.binpb");
    std::fs::write(&file, &set).expect("a file");
    let pool = DescriptorPool::decode(set.as_slice()).expect("a complete set");
    let named = |name| pool.get_message_by_name(name).expect("it is in the set");
    let mut child = Command::new(peer())
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the peer starts");
    let (mut input, mut output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let ask = |request: &Value| {
        let request = DynamicMessage::deserialize(named("conformance.ConformanceRequest"), request);
        let request = request.expect("fits the contract").encode_to_vec();
        let length = u32::try_from(request.len()).expect("short");
        input.write_all(&length.to_le_bytes()).expect("the peer reads");
        input.write_all(&request).expect("the peer reads");
        let mut length = [0; 4];
        output.read_exact(&mut length).expect("the peer answers");
        let mut answer = vec![0; u32::from_le_bytes(length) as usize];
        output.read_exact(&mut answer).expect("the peer answers");
        let answer = DynamicMessage::decode(named("conformance.ConformanceResponse"), answer.as_slice());
        let options = SerializeOptions::new();
        answer
            .expect("a response")
            .serialize_with_options(serde_json::value::Serializer, &options)
            .expect("JSON")
    };
    let answers = requests.iter().map(ask).collect();
    drop(input);
    assert!(child.wait().expect("the peer ends").success());
    answers
}

#[test]
fn the_peer_answers_as_the_runner_expects() {
    let json = |text: &str, to: &str, category: &str| json!({ "jsonPayload": text, "requestedOutputFormat": to, "messageType": TESTED, "testCategory": category });
    // -1 s and 1 ns.
    let odd = "6hINCP///////////wEQAQ==";
    let answers = answers(&[
        json!({ "messageType": "conformance.FailureSet" }),
        json(r#"{"optionalInt32": "1e5"}"#, "JSON", "JSON_TEST"),
        json(r#"{"optional_int32": 1}"#, "PROTOBUF", "JSON_TEST"),
        json(r#"{"nope": 1, "repeatedString": ["a"]}"#, "JSON", "JSON_TEST"),
        json(r#"{"nope": 1, "repeatedString": ["a"]}"#, "JSON", "JSON_IGNORE_UNKNOWN_PARSING_TEST"),
        json!({ "protobufPayload": "CAE=", "requestedOutputFormat": "JSON", "messageType": TESTED }),
        json!({ "protobufPayload": "/w==", "requestedOutputFormat": "JSON", "messageType": TESTED }),
        json!({ "protobufPayload": odd, "requestedOutputFormat": "JSON", "messageType": TESTED }),
        json!({ "protobufPayload": "CAE=", "requestedOutputFormat": "TEXT_FORMAT", "messageType": TESTED }),
        json!({ "protobufPayload": "CAE=", "messageType": "protobuf_test_messages.proto2.TestAllTypesProto2" }),
    ]);
    let kinds: Vec<&str> = answers
        .iter()
        .map(|answer| answer.as_object().and_then(|o| o.keys().next()).map_or("", |key| key))
        .collect();
    assert_eq!(
        kinds,
        [
            "protobufPayload",
            "jsonPayload",
            "protobufPayload",
            "parseError",
            "jsonPayload",
            "jsonPayload",
            "parseError",
            "serializeError",
            "skipped",
            "skipped",
        ],
        "{answers:?}"
    );
    assert_eq!(answers[1]["jsonPayload"], r#"{"optionalInt32":100000}"#);
    assert_eq!(answers[2]["protobufPayload"], "CAE=");
    assert_eq!(answers[4]["jsonPayload"], r#"{"repeatedString":["a"]}"#);
    assert_eq!(answers[5]["jsonPayload"], r#"{"optionalInt32":1}"#);
}
