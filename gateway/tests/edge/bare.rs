//! Every refusal has the error object, also where no route of a service is asked for.

use http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    upstream::{Upstream, echo},
    world::{World, json, reason},
};

#[tokio::test]
async fn documents_that_are_not_there_have_an_error_object() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    for (method, path, status, why) in [
        ("GET", "/openapi/nope.json", StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"),
        ("GET", "/openapi/nope", StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"),
        ("GET", "/swagger/nope.css", StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"),
        ("GET", "/openapinope", StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"),
        ("POST", "/openapi.json", StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/openapi/shapes.json", StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        ("PUT", "/swagger/index.html", StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
    ] {
        let response = world.request(method, path).send().await.expect("the edge answers");
        let allow = response.headers().get("allow").cloned();
        assert_eq!(reason(&json(response, status).await), why, "{method} {path}");
        let expected =
            (status == StatusCode::METHOD_NOT_ALLOWED).then(|| "GET, HEAD".parse().expect("a value"));
        assert_eq!(allow, expected, "{method} {path}");
    }
    let request = world.request("GET", "/openapi/nope.json").header("accept", "application/problem+json");
    let response = request.send().await.expect("the edge answers");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn options_of_the_edge_itself_are_its_methods() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let mut stream =
        TcpStream::connect(world.url.trim_start_matches("http://")).await.expect("the edge listens");
    let ask = b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(ask).await.expect("the edge listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    assert!(answer.contains("allow: GET, HEAD, OPTIONS, PATCH, POST, PUT, REPORT\r\n"), "{answer}");
}
