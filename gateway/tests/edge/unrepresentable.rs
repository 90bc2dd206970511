//! Answers that have no form in JSON: the call took effect, and the error says so, in every protocol that is JSON.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use prost::Message;
use prost_types::{Any, Duration, FieldMask, Timestamp, Value, value::Kind};
use serde_json::json;

use crate::{
    upstream::Upstream,
    world::{World, json as body, reason},
};

/// A message as a field of `shapes.v1.Shape`.
fn field(number: u32, message: &impl Message) -> Bytes {
    let mut wire = Vec::new();
    prost::encoding::message::encode(number, message, &mut wire);
    wire.into()
}

/// A service whose every answer is this message.
async fn answering(wire: Bytes) -> (World, Upstream) {
    let upstream = Upstream::start(move |_| {
        let answer = stream::iter([Ok(wire.clone())]).boxed();
        async { Ok(tonic::Response::new(answer)) }
    })
    .await;
    (World::of_shapes(&upstream).await, upstream)
}

fn unrepresentable() -> [(&'static str, Bytes); 7] {
    let mask = |path: &str| field(21, &FieldMask { paths: vec![path.to_owned()] });
    [
        ("a path of a FieldMask", mask("address_line_1")),
        ("a path of a FieldMask", mask("fooBar")),
        (
            "a Timestamp or a Duration is out of range",
            field(19, &Timestamp { seconds: 253_402_300_800, nanos: 0 }),
        ),
        ("a Timestamp or a Duration is out of range", field(20, &Duration { seconds: 1, nanos: -1 })),
        ("NaN or an infinity", field(26, &Value { kind: Some(Kind::NumberValue(f64::NAN)) })),
        (
            "the type of an Any is not known",
            field(27, &Any { type_url: "type.googleapis.com/nope.v1.Nope".to_owned(), value: vec![8, 1] }),
        ),
        ("no message of the contract", Bytes::from_static(b"\xff\xff")),
    ]
}

#[tokio::test]
async fn an_answer_without_a_form_in_json_says_that_its_call_took_effect() {
    for (why, wire) in unrepresentable() {
        let (world, upstream) = answering(wire).await;
        let request =
            world.request("POST", "/v1/shapes/a").header("idempotency-key", "monday").json(&json!({}));
        let response = request.send().await.expect("an answer");
        assert!(!response.headers().contains_key("retry-after"), "{why}");
        let error = body(response, StatusCode::INTERNAL_SERVER_ERROR).await;
        let message = error["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(reason(&error), "ANSWER_NOT_REPRESENTABLE", "{error}");
        assert!(message.contains("took effect") && message.contains(why), "{why}: {message}");
        assert!(!error.to_string().contains("RetryInfo"), "{error}");
        // The same over Connect.
        let answer = world.send("POST", "/shapes.v1.Shapes/Whole", "{}").await;
        let error = body(answer, StatusCode::INTERNAL_SERVER_ERROR).await;
        let message = error["message"].as_str().unwrap_or_default();
        assert!(error["code"] == "internal" && message.contains("took effect"), "{error}");
        assert_eq!(upstream.calls().len(), 2, "the edge repeats neither");
    }
}

#[tokio::test]
async fn so_does_a_message_of_a_stream() {
    let (world, _upstream) = answering(Bytes::from_static(b"\xff\xff")).await;
    let events = world.get("/v1/shapes:watch").await.text().await.expect("a stream");
    assert!(events.contains("event: error") && events.contains("ANSWER_NOT_REPRESENTABLE"), "{events}");
}

/// What a newer service knows is passed on as it is.
#[tokio::test]
async fn a_number_without_a_name_is_representable() {
    let (world, _upstream) = answering(Bytes::from_static(&[12 << 3, 77])).await;
    let answer = body(world.send("POST", "/v1/shapes/a", "{}").await, StatusCode::OK).await;
    assert_eq!(answer, json!({ "color": 77 }));
}

/// Programs find there whether to repeat such a call.
#[tokio::test]
async fn the_catalogue_says_not_to_repeat_it() {
    let (world, _upstream) = answering(Bytes::new()).await;
    let request =
        world.request("GET", "/errors/ANSWER_NOT_REPRESENTABLE").header("accept", "application/json");
    let entry = body(request.send().await.expect("an answer"), StatusCode::OK).await;
    assert_eq!((&entry["retry"], &entry["http"]), (&json!("never"), &json!(500)));
    assert!(entry["cause"].as_str().unwrap_or_default().contains("took effect"), "{entry}");
}
