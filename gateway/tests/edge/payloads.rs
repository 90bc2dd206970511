//! Bodies that are no JSON, and masks that a body means.

use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use prost::Message;
use serde_json::json;
use tonic::{Response, Status};

use crate::{
    upstream::{Upstream, echo},
    world::{World, json, reason},
};

/// `google.api.HttpBody`, as far as a service here needs it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct HttpBody {
    #[prost(string, tag = "1")]
    content_type: String,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

/// `shapes.v1.File`.
#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    body: Option<HttpBody>,
    #[prost(bool, tag = "3")]
    public: bool,
}

pub(crate) fn body(content_type: &str, data: &[u8]) -> HttpBody {
    HttpBody { content_type: content_type.to_owned(), data: data.to_vec() }
}

#[tokio::test]
async fn a_body_travels_as_it_is_with_its_type() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let bytes = b"\x89PNG\x00\xff{";
    let request = world.request("PUT", "/v1/files/logo?public=true").header("content-type", "image/png");
    let response = request.body(bytes.as_slice()).send().await.expect("an answer");
    assert_eq!(
        (response.status(), &response.headers()["content-type"]),
        (StatusCode::OK, &"image/png".parse().expect("a type"))
    );
    assert_eq!(response.bytes().await.expect("a body").as_ref(), bytes);
    let file = File::decode(upstream.call().wire).expect("the contract's message");
    assert_eq!(file, File { name: "logo".into(), body: Some(body("image/png", bytes)), public: true });
}

#[tokio::test]
async fn a_body_can_be_all_there_is() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let response = world.request("POST", "/v1/files:convert").body("plain").send().await.expect("an answer");
    // Nobody said of what type it is.
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    assert_eq!(response.text().await.expect("a body"), "plain");
    assert_eq!(HttpBody::decode(upstream.call().wire), Ok(body("", b"plain")));
    let large = vec![0; (1 << 20) + 1];
    let refused = world.request("POST", "/v1/files:convert").body(large).send().await.expect("an answer");
    assert_eq!(reason(&json(refused, StatusCode::PAYLOAD_TOO_LARGE).await), "BODY_TOO_LARGE");
}

#[tokio::test]
async fn a_stream_of_bodies_is_one_body() {
    let upstream = Upstream::start(async |_| {
        let parts = [body("text/csv", b"a,b\n"), body("", b""), body("text/html", b"1,2\n")];
        let parts = parts.map(|part| Ok(part.encode_to_vec().into()));
        Ok(Response::new(stream::iter(parts).boxed()))
    });
    let upstream = upstream.await;
    let world = World::of_shapes(&upstream).await;
    let response = world.get("/v1/files:download").await;
    assert_eq!(response.headers()["content-type"], "text/csv");
    assert_eq!(response.text().await.expect("a body"), "a,b\n1,2\n");
}

#[tokio::test]
async fn a_stream_of_bodies_that_fails_breaks_off() {
    let upstream = Upstream::start(async |call| {
        let failure = Err(Status::resource_exhausted("no more"));
        let first = Ok(body("text/plain", b"half").encode_to_vec().into());
        Ok(Response::new(if !call.wire.is_empty() {
            stream::iter([first, failure]).boxed()
        } else {
            stream::iter([failure]).boxed()
        }))
    });
    let upstream = upstream.await;
    let world = World::of_shapes(&upstream).await;
    // Before the first part there is room for an ordinary error.
    json(world.get("/v1/files:download").await, StatusCode::TOO_MANY_REQUESTS).await;
    // After it, whether the head was on its way by then or not, nobody takes what came for the whole.
    let begun = world.request("GET", "/v1/files:download?script=begin").send().await;
    let whole = async { begun?.text().await };
    whole.await.expect_err("the body is not whole");
}

#[tokio::test]
async fn a_patch_changes_what_its_body_names() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let change = r#"{"i32": 0, "snakeCaseName": "", "nested": {"text": "x", "deeper": {"number": 1}}, "words": [], "at": null, "mask": "a"}"#;
    let answer = json(world.send("PATCH", "/v1/changes/t", change).await, StatusCode::OK).await;
    let mask = answer["updateMask"].as_str().expect("a mask");
    let mut paths: Vec<&str> = mask.split(',').collect();
    paths.sort_unstable();
    assert_eq!(paths, ["at", "i32", "mask", "nested.deeper.number", "nested.text", "snakeCaseName", "words"]);
    let given = world.send("PATCH", "/v1/changes/t?updateMask=i64", r#"{"i32": 1}"#).await;
    assert_eq!(json(given, StatusCode::OK).await["updateMask"], json!("i64"));
    let put = world.send("PUT", "/v1/changes", r#"{"i32": 1}"#).await;
    assert_eq!(json(put, StatusCode::OK).await, json!({"shape": {"i32": 1}}));
    let mistaken = world.send("PATCH", "/v1/changes/t", r#"{"i32": "x"}"#).await;
    assert_eq!(reason(&json(mistaken, StatusCode::BAD_REQUEST).await), "MALFORMED_REQUEST");
}
