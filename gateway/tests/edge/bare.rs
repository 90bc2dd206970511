//! Every refusal has the error object, also where no route of a service is asked for.

use http::StatusCode;
use serde_json::{Value, json as value};
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
        ("GET", "/openapi/%ff.json", StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"),
        ("GET", "/swagger/%ff", StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"),
        ("GET", "/openapinope", StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"),
        ("POST", "/openapi.json", StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/openapi/shapes.json", StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        ("PUT", "/swagger/index.html", StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        ("POST", "/", StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        ("POST", "/errors/", StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/errors/RATE_LIMITED", StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        ("POST", "/openapi/nope.json", StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"),
        ("PUT", "/swagger/nope.css", StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"),
        ("POST", "/errors/NOPE", StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"),
        // Of others there are no events.
        ("POST", "/asyncapi.json", StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"),
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

/// The status and the body of what comes for these bytes.
async fn refused(world: &World, bytes: &[u8]) -> (u16, String, Value) {
    let mut stream =
        TcpStream::connect(world.url.trim_start_matches("http://")).await.expect("the edge listens");
    // It may refuse before it has read all.
    let _refused = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _closed_or_reset = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_ascii_lowercase(), serde_json::from_str(body).expect("an error object"))
}

#[tokio::test]
async fn heads_that_cannot_be_read_are_refused_with_an_error_object() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let fields: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    for (what, bytes, statuses) in [
        ("a long URI", format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(70_000)), vec![414, 431]),
        (
            "a long field",
            format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(70_000)),
            vec![431],
        ),
        ("many fields", format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}\r\n"), vec![431]),
        ("no field", "GET / HTTP/1.1\r\nhost x\r\n\r\n".to_owned(), vec![400]),
        ("no host", "GET /v1/shapes HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(), vec![400]),
        (
            "two hosts",
            "GET /v1/shapes HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n".to_owned(),
            vec![400],
        ),
        ("no method", "G@T / HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), vec![400]),
        ("no version", "GET / HTTP/9.1\r\nhost: x\r\n\r\n".to_owned(), vec![400]),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(),
            vec![400],
        ),
    ] {
        let (status, head, error) = refused(&world, bytes.as_bytes()).await;
        assert!(statuses.contains(&status), "{what}: {status}");
        let why = match status {
            400 => "MALFORMED_REQUEST",
            414 => "URI_TOO_LONG",
            _ => "HEADERS_TOO_LARGE",
        };
        assert_eq!((reason(&error), &error["error"]["code"]), (why, &value!(status)), "{what}");
        assert!(head.contains("content-type: application/json\r\n") && head.contains("date: "), "{head}");
    }
    // After an answer on the same connection, too.
    let mut stream =
        TcpStream::connect(world.url.trim_start_matches("http://")).await.expect("the edge listens");
    stream.write_all(b"GET /v1/shapes?text=a HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it reads");
    let mut part = [0; 4_096];
    let read = stream.read(&mut part).await.expect("an answer");
    assert!(part[..read].starts_with(b"HTTP/1.1 200 ") && part[..read].ends_with(b"}"));
    stream.write_all(b"nonsense\r\n\r\n").await.expect("it reads");
    let mut rest = String::new();
    let _closed = stream.read_to_string(&mut rest).await;
    assert!(rest.starts_with("HTTP/1.1 400 ") && rest.contains("MALFORMED_REQUEST"), "{rest}");
}

#[tokio::test]
async fn a_long_head_of_http2_is_refused_with_an_error_object() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let ask = |length: usize| {
        client.get(format!("{}/v1/shapes?text=a", world.url)).header("x-long", "x".repeat(length)).send()
    };
    assert_eq!(ask(30_000).await.expect("an answer").status(), StatusCode::OK);
    for length in [33_000, 60_000] {
        let response = ask(length).await.expect("an answer");
        let error = json(response, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).await;
        assert_eq!(reason(&error), "HEADERS_TOO_LARGE", "{length}");
    }
}

#[tokio::test]
async fn what_a_service_answers_is_not_taken_for_a_refusal() {
    // The bytes of a service that look like one.
    let text = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let upload = world.request("PUT", "/v1/files/a").header("content-type", "text/plain").body(text);
    let stored = upload.send().await.expect("the edge answers");
    assert_eq!(stored.text().await.expect("a body"), text);
}
