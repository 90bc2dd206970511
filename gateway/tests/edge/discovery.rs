//! The binary `gateway` with nothing but `--upstream`: its routes are what the service describes.

use std::path::Path;

use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic_reflection::server::Builder;
use world::{Api, PATIENCE, Process, Program, eventually};

use crate::{
    upstream::{Upstream, echo},
    world::shapes,
};

#[derive(Debug, Clone, Copy)]
enum Version {
    V1,
    V1Alpha,
}

/// Starts the test service, which describes itself in this version.
async fn reflecting(listener: TcpListener, version: Version) -> Upstream {
    let set = shapes("http://unused").descriptor_set;
    let reflection = Builder::configure().register_encoded_file_descriptor_set(&set);
    let reflection = match version {
        Version::V1 => Routes::new(reflection.build_v1().expect("descriptors")),
        Version::V1Alpha => Routes::new(reflection.build_v1alpha().expect("descriptors")),
    };
    Upstream::beside(reflection, listener, async |call| echo(&call))
}

fn edge(url: &str) -> Process {
    let program = Program::at(Path::new(env!("CARGO_BIN_EXE_gateway")));
    let flags = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", url];
    program.args(flags).env("RUST_LOG", "info").start().expect("the edge starts")
}

async fn api(process: &mut Process, listener: &str) -> Api {
    Api::new(format!("http://{}", process.address(listener).await.expect("it listens"))).expect("a client")
}

#[tokio::test]
async fn a_service_that_describes_itself_needs_no_file() {
    for version in [Version::V1, Version::V1Alpha] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let upstream = reflecting(listener, version).await;
        let mut process = edge(&upstream.url());
        let api = api(&mut process, "http").await;
        let answer =
            api.get("/v1/nested/x?words=a&words=b&at=2020-01-01T00:00:00Z").await.expect("an answer");
        let expected = r#"{"nested":{"text":"x"},"words":["a","b"],"at":"2020-01-01T00:00:00Z"}"#;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, expected), "{version:?}");
        // All that the file would have had: the document shows every route.
        let document = api.get("/openapi.json").await.expect("an answer").body;
        let routes = transcode::Routes::compile(shapes("http://unused").descriptor_set);
        let routes = routes.expect("valid routes").list().len();
        let paths = document["paths"].as_object().expect("paths");
        let operations: usize =
            paths.values().map(|path| path.as_object().map_or(0, |path| path.len())).sum();
        assert!(operations + 1 >= routes && operations > 5, "{operations} operations of {routes} routes");
    }
}

#[tokio::test]
async fn an_edge_waits_for_a_service_that_starts_later() {
    // The port is taken by then, and nobody answers on it.
    let reserved = tokio::net::TcpSocket::new_v4().expect("a socket");
    reserved.set_reuseaddr(true).expect("a socket");
    reserved.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = reserved.local_addr().expect("bound");
    let mut process = edge(&format!("http://{address}"));
    let operator = api(&mut process, "admin").await;
    eventually("the first failure", PATIENCE, async || {
        let output = process.output();
        let logged = output.contains("the service has not described anything that can be served yet");
        if logged { Ok(()) } else { Err(output) }
    })
    .await
    .expect("it is logged");
    let ready = operator.get("/readyz").await.expect("an answer");
    assert_eq!(ready.status.as_u16(), 503, "{}", ready.text);
    let _upstream = reflecting(reserved.listen(16).expect("it listens"), Version::V1).await;
    let api = api(&mut process, "http").await;
    assert_eq!(api.get("/v1/shapes?text=now").await.expect("an answer").text, r#"{"text":"now"}"#);
    let ready = operator.get("/readyz").await.expect("an answer");
    assert_eq!(ready.status.as_u16(), 200, "{}", ready.text);
}

#[tokio::test]
async fn a_mistaken_url_stops_the_start() {
    let mut process = edge("nonsense");
    assert!(!process.wait(PATIENCE).await.expect("it ends").success());
    assert!(process.output().contains("--upstream: \"nonsense\" is not"), "{}", process.output());
}
