//! Writes whose answers are lost: whether they took effect is not known, and no answer says otherwise.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use ::world::Raw;
use bytes::Bytes;
use chassis::status::{Fault, Reason as Why};
use h2::{Reason, server::Builder};
use http::{Response, StatusCode};
use tonic::{Code, Status, client::Grpc, transport::Channel};

use super::{After, FRAME, head, send, world};
use crate::world::{World, json, reason};

/// How the answer to a write is lost.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Connection,
    Reset,
    CutOff,
    Proxy,
}

/// What the edge answers to a write with this key, if any, whose answer is lost; and how often it was called.
async fn lost(loss: Loss, key: Option<&str>) -> (reqwest::Response, usize) {
    let (world, calls) = losing(loss).await;
    let mut request = world.request("POST", "/v1/shapes/a").json(&serde_json::json!({}));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let response = request.send().await.expect("the edge answers");
    (response, calls.load(Relaxed))
}

/// The code of gRPC that a call through the edge ends with when its answer is lost.
async fn code_of_lost(loss: Loss, method: &str) -> String {
    let (world, _) = losing(loss).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let call = client.post(format!("{}/shapes.v1.Shapes/{method}", world.url));
    let call = call.header("content-type", "application/grpc").header("te", "trailers").body(FRAME);
    let response = call.send().await.expect("the edge answers");
    response.headers()["grpc-status"].to_str().expect("a number").to_owned()
}

/// An edge in front of a service that loses its answers, and how often that was called.
async fn losing(loss: Loss) -> (World, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let world = world(Builder::new(), move |_, mut request, mut respond| {
        let counter = Arc::clone(&counter);
        async move {
            // Only the whole request can take effect.
            while let Some(data) = request.body_mut().data().await {
                data.expect("the edge sends all of it");
            }
            counter.fetch_add(1, Relaxed);
            match loss {
                Loss::Connection => {
                    // Dropped, it would reset the call.
                    std::mem::forget(respond);
                    return After::Breaks;
                }
                Loss::Reset => respond.send_reset(Reason::INTERNAL_ERROR),
                Loss::CutOff => send(respond, head(), &[FRAME], None),
                Loss::Proxy => {
                    let head = Response::builder().status(504).body(()).expect("a head");
                    send(respond, head, &[b"<html>"], None);
                }
            }
            After::Stays
        }
    })
    .await;
    (world, calls)
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_said_to_have_an_unknown_outcome() {
    for loss in [Loss::Connection, Loss::Reset, Loss::CutOff, Loss::Proxy] {
        let (response, calls) = lost(loss, None).await;
        assert!(!response.headers().contains_key("retry-after"), "{loss:?} invites a second effect");
        let error = json(response, StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!((reason(&error), calls), ("OUTCOME_UNKNOWN", 1), "{loss:?}");
        assert!(!error.to_string().contains("RetryInfo"), "{error}");

        let (response, calls) = lost(loss, Some("k")).await;
        assert!(response.headers().contains_key("retry-after"), "{loss:?}");
        let error = json(response, StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(reason(&error), "OUTCOME_UNKNOWN", "{loss:?}");
        assert!(error["error"]["message"].as_str().is_some_and(|text| text.contains("same Idempotency-Key")));
        // A connection that breaks is tried again with the key.
        assert_eq!(calls, if matches!(loss, Loss::Connection | Loss::Proxy) { 3 } else { 1 }, "{loss:?}");
    }
}

#[tokio::test]
async fn a_write_that_nobody_began_may_be_tried_again() {
    let world = world(Builder::new(), |_, _, mut respond| {
        respond.send_reset(Reason::REFUSED_STREAM);
        async { After::Stays }
    });
    let response = world.await.send("POST", "/v1/shapes/a", "{}").await;
    assert!(response.headers().contains_key("retry-after"));
    let error = json(response, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(reason(&error), "UPSTREAM_UNAVAILABLE");
}

#[tokio::test]
async fn grpc_calls_are_answered_by_the_same_rule() {
    for loss in [Loss::Connection, Loss::Reset] {
        // UNKNOWN of a write, because clients repeat UNAVAILABLE by themselves; UNAVAILABLE of a read.
        assert_eq!(code_of_lost(loss, "Whole").await, "2", "{loss:?}");
        assert_eq!(code_of_lost(loss, "Query").await, "14", "{loss:?}");
    }
}

#[tokio::test]
async fn a_call_of_grpc_without_a_status_gets_one_with_a_reason() {
    for loss in [Loss::CutOff, Loss::Proxy, Loss::Connection, Loss::Reset] {
        for (method, code, why) in [
            ("Whole", Code::Unknown, Why::OutcomeUnknown),
            ("Query", Code::Unavailable, Why::UpstreamUnavailable),
            // It has no route, and says itself that it changes nothing.
            ("Hidden", Code::Unavailable, Why::UpstreamUnavailable),
        ] {
            let (world, _) = losing(loss).await;
            let endpoint = Channel::from_shared(world.url.clone()).expect("a URL");
            let mut grpc = Grpc::new(endpoint.connect().await.expect("the edge listens"));
            grpc.ready().await.expect("it is connected");
            let path = format!("/shapes.v1.Shapes/{method}").parse().expect("a path");
            let request = tonic::Request::new(Bytes::from_static(&FRAME[5..]));
            let outcome: Result<tonic::Response<Bytes>, Status> = grpc.unary(request, path, Raw).await;
            let status = outcome.expect_err("its answer is lost");
            let reason = Fault::from_status(&status).map(|fault| fault.reason);
            assert_eq!((status.code(), reason), (code, Some(why)), "{loss:?} of {method}");
        }
    }
}
