//! Tests of responses: canonical ProtoJSON, response_body and versions.

use prost::Message as _;
use prost_reflect::Value;
use serde_json::{Value as Json, json};

use super::*;
use crate::fixture;

fn wire(route: &Route, json: &Json) -> Bytes {
    let message = DynamicMessage::deserialize(route.rpc.output.clone(), json).expect("fits the contract");
    message.encode_to_vec().into()
}

fn translated(method: &str, path: &str, response: &Json) -> (Json, Option<i64>) {
    let (route, _) = fixture::route(method, path);
    let decoded = response_to_json(&route, wire(&route, response)).expect("has a JSON form");
    (serde_json::from_slice(&decoded.json).expect("is JSON"), decoded.version)
}

#[test]
fn responses_are_canonical() {
    let response = json!({"snake_case_name": "x", "i64": 5, "i32": 0, "maybe": 0, "color": 1, "words": [], "data": "_-8"});
    let canonical = json!({"snakeCaseName": "x", "i64": "5", "maybe": 0, "color": "RED", "data": "/+8="});
    assert_eq!(translated("GET", "/v1/shapes", &response), (canonical, None));
}

#[test]
fn one_field_can_be_the_response() {
    assert_eq!(translated("PUT", "/v1/lists", &json!({"text": "a", "numbers": [1, 2]})).0, json!(["1", "2"]));
    assert_eq!(translated("PUT", "/v1/lists", &json!({"text": "a"})).0, json!([]));
    assert_eq!(
        translated("REPORT", "/v1/shapes:report", &json!({"nested": {"number": 1}})).0,
        json!({"number": 1})
    );
    assert_eq!(translated("REPORT", "/v1/shapes:report", &json!({"nested": {}})).0, json!({}));
    assert_eq!(translated("REPORT", "/v1/shapes:report", &json!({})).0, json!(null));
}

#[test]
fn the_version_is_that_of_the_message_or_of_the_first_in_it() {
    let event = json!({"subject": {"text": "a", "version": "7"}});
    assert_eq!(translated("GET", "/v1/shapes:watch", &event), (event.clone(), Some(7)));
    assert_eq!(translated("GET", "/v1/shapes:watch", &json!({})).1, None);
}

#[test]
fn a_response_of_another_contract_is_an_error() {
    let (route, _) = fixture::route("GET", "/v1/shapes");
    let error = response_to_json(&route, Bytes::from_static(b"\xff\xff")).expect_err("not a message");
    assert!(matches!(error, ResponseError::Decode(_)), "{error}");
    let mut message = DynamicMessage::new(route.rpc.output.clone());
    let mut at = message.get_field_by_name("at").expect("a field").into_owned();
    at.as_message_mut().expect("a message").set_field_by_name("seconds", Value::I64(i64::MAX));
    message.set_field_by_name("at", at);
    let error = response_to_json(&route, message.encode_to_vec().into()).expect_err("no such year");
    assert!(matches!(error, ResponseError::Encode(_)), "{error}");
}

#[test]
fn what_would_become_too_long_is_not_made() {
    let (route, _) = fixture::route("GET", "/v1/shapes");
    let (lists, _) = fixture::route("PUT", "/v1/lists");
    let many = |item: Json| Json::Array(vec![item; 1_000]);
    let entries: serde_json::Map<_, _> = (0..1_000).map(|key| (key.to_string(), json!(0))).collect();
    for response in [
        json!({ "text": "\u{1}".repeat(1_000) }),
        json!({ "wrappedText": "\"".repeat(1_000) }),
        json!({ "data": "AAAA".repeat(1_000) }),
        json!({ "words": many(json!("")) }),
        json!({ "numbers": many(json!("0")) }),
        json!({ "items": many(json!({})) }),
        json!({ "nested": { "colors": many(json!("RED")) } }),
        json!({ "counts": entries }),
        json!({ "object": { "list": many(json!(null)) } }),
        json!({ "anything": "\u{1}".repeat(1_000) }),
    ] {
        let wire = wire(&route, &response);
        let whole = response_to_json(&route, wire.clone()).expect("has a JSON form").json.len();
        let (plans, message) = (&route.rpc.plans, route.rpc.plans.message(route.rpc.output_place));
        for most in [whole / 2, whole - 1, whole] {
            let direct = rendered(plans, message, &wire, most).map(|json| json.expect("no rare shape"));
            let reflected = response_by_reflection(&route, wire.clone(), most).map(|decoded| decoded.json);
            for made in [direct, reflected] {
                match made {
                    // What ends an object is let out.
                    Ok(json) => assert!(most + 2 >= whole, "{most}: {}", String::from_utf8_lossy(&json)),
                    Err(error) => assert!(most < whole && matches!(error, ResponseError::TooLong), "{error}"),
                }
            }
        }
        if response.get("numbers").is_some() {
            let made = response_by_reflection(&lists, wire, whole / 2);
            assert!(matches!(made, Err(ResponseError::TooLong)), "{made:?}");
        }
    }
}
