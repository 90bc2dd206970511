//! Services that break the rules of gRPC, or the connection: an upstream of which a test writes every frame.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Builder, SendResponse},
};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::{
    connect::envelope,
    world::{World, json, reason, shapes},
};

mod outcomes;

const READ: &str = "/v1/shapes?text=a";

/// The message `{"text": "a"}` as a frame of gRPC.
const FRAME: &[u8] = b"\0\0\0\0\x03\x0a\x01a";

/// How a call is answered, and what becomes of the connection then.
enum After {
    Stays,
    /// GOAWAY, as a service says that stops: what is under way is finished.
    Stops,
    Breaks,
}

/// An edge in front of such a service, which answers the call of each number, from 0 on.
async fn world<F: Future<Output = After> + Send + 'static>(
    builder: Builder,
    answer: impl Fn(usize, Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound listener"));
    let (answer, calls) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (builder, answer, calls) = (builder.clone(), Arc::clone(&answer), Arc::clone(&calls));
            tokio::spawn(async move {
                // What only looks whether the service is there says nothing more.
                let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
                let (done, mut after) = tokio::sync::mpsc::unbounded_channel();
                loop {
                    tokio::select! {
                        call = connection.accept() => {
                            let Some(Ok((request, respond))) = call else { return };
                            let answered = answer(calls.fetch_add(1, Relaxed), request, respond);
                            let done = done.clone();
                            tokio::spawn(async move { drop(done.send(answered.await)) });
                        }
                        Some(after) = after.recv() => match after {
                            After::Stays => {}
                            After::Stops => connection.graceful_shutdown(),
                            After::Breaks => return,
                        },
                    }
                }
            });
        }
    });
    World::with(shapes(&url)).await
}

fn head() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).expect("a head")
}

fn trailers(status: &str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), status.parse().expect("a value"))])
}

/// Answers with these parts of a body, and trailers if there are any.
fn send(mut respond: SendResponse<Bytes>, head: Response<()>, parts: &[&[u8]], end: Option<HeaderMap>) {
    let mut stream = respond.send_response(head, false).expect("the edge waits");
    for part in parts {
        stream.send_data(Bytes::copy_from_slice(part), false).expect("the edge waits");
    }
    match end {
        Some(trailers) => stream.send_trailers(trailers).expect("the edge waits"),
        None => stream.send_data(Bytes::new(), true).expect("the edge waits"),
    }
}

/// What the edge answers when every call is answered so.
async fn answer(
    head: impl Fn() -> Response<()> + Send + Sync + 'static,
    parts: &'static [&'static [u8]],
    status: Option<&'static str>,
) -> reqwest::Response {
    let world = world(Builder::new(), move |_, _, respond| {
        send(respond, head(), parts, status.map(trailers));
        async { After::Stays }
    });
    world.await.get(READ).await
}

/// What is wrong, and the answer in which it is: parts of the body, and the status.
type Case = (&'static str, &'static [&'static [u8]], Option<&'static str>);

#[tokio::test]
async fn what_is_no_response_of_grpc_is_an_internal_error() {
    let cases: [Case; 8] = [
        ("no trailers", &[FRAME], None),
        ("no message", &[], Some("0")),
        ("two messages", &[FRAME, FRAME], Some("0")),
        ("two messages in one frame", &[b"\0\0\0\0\x01\x0a\0\0\0\0\0"], Some("0")),
        ("a compressed message", &[b"\x01\0\0\0\x03\x0a\x01a"], Some("0")),
        ("a prefix that breaks off", &[b"\0\0\0"], Some("0")),
        ("a message that breaks off", &[b"\0\0\0\0\x03\x0a"], Some("0")),
        ("a status that is none", &[FRAME], Some("many")),
    ];
    for (name, parts, status) in cases {
        let response = answer(head, parts, status).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{name}");
        let error = json(response, StatusCode::INTERNAL_SERVER_ERROR).await;
        assert_eq!(
            (reason(&error), &error["error"]["message"]),
            ("INTERNAL", &"internal error".into()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_message_may_come_in_parts_and_a_status_alone() {
    let response = answer(head, &[b"", b"\0\0", b"\0\0\x03\x0a", b"\x01", b"a"], Some("0")).await;
    assert_eq!(json(response, StatusCode::OK).await["text"], "a");
    let early = || {
        let mut early = head();
        early.headers_mut().extend(trailers("5"));
        early
    };
    json(answer(early, &[], None).await, StatusCode::NOT_FOUND).await;
    // A status counts, whatever came before it.
    json(answer(head, &[FRAME], Some("5")).await, StatusCode::NOT_FOUND).await;
    json(answer(head, &[b"\0\0"], Some("5")).await, StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn what_nobody_asked_for_is_refused() {
    let coded = || {
        let mut coded = head();
        coded.headers_mut().insert("grpc-encoding", "gzip".parse().expect("a value"));
        coded
    };
    json(answer(coded, &[FRAME], Some("0")).await, StatusCode::NOT_IMPLEMENTED).await;
    // 16 MiB and a byte: refused before it comes.
    let large = answer(head, &[b"\0\x01\0\0\x01\x0a"], Some("0")).await;
    let error = json(large, StatusCode::BAD_GATEWAY).await;
    assert_eq!(reason(&error), "UPSTREAM_RESPONSE_TOO_LARGE");
}

#[tokio::test]
async fn a_message_of_a_stream_that_is_too_large_is_an_error() {
    let world = world(Builder::new(), |_, _, respond| async move {
        send(respond, head(), &[b"\0\x01\0\0\x01\x0a"], Some(trailers("0")));
        After::Stays
    });
    let text = world.await.get("/v1/shapes:watch").await.text().await.expect("a stream");
    assert!(
        text.starts_with(": open\nevent: error") && text.contains("UPSTREAM_RESPONSE_TOO_LARGE"),
        "{text}"
    );
}

/// What a call of Connect or gRPC-Web says in its end when it is answered so.
async fn translated(
    method: &str,
    kind: &str,
    parts: &'static [&'static [u8]],
    status: &'static str,
) -> String {
    let world = world(Builder::new(), move |_, _, respond| {
        send(respond, head(), parts, Some(trailers(status)));
        async { After::Stays }
    });
    let world = world.await;
    let body = if kind == "application/proto" { Vec::new() } else { envelope(0, b"") };
    let body = if kind.ends_with("json") { envelope(0, b"{}") } else { body };
    let request = world.request("POST", &format!("/shapes.v1.Shapes/{method}")).header("content-type", kind);
    request.body(body).send().await.expect("the edge answers").text().await.expect("text")
}

#[tokio::test]
async fn what_is_no_answer_is_not_translated_either() {
    let cases: [Case; 4] = [
        ("a compressed message", &[b"\x01\0\0\0\x03\x0a\x01a"], Some("0")),
        ("a message that breaks off", &[b"\0\0\0\0\x03\x0a"], Some("0")),
        ("half a message more", &[FRAME, b"\0\0\0"], Some("0")),
        ("two messages", &[FRAME, FRAME], Some("0")),
    ];
    for (name, parts, status) in cases {
        let status = status.expect("one");
        let unary = translated("Query", "application/proto", parts, status).await;
        assert!(unary.contains(r#""code":"internal""#), "{name}: {unary}");
        // A stream may have several.
        if name != "two messages" {
            let stream = translated("Watch", "application/connect+proto", parts, status).await;
            assert!(stream.contains(r#""code":"internal""#), "{name}: {stream}");
            let web = translated("Query", "application/grpc-web+json", parts, status).await;
            assert!(web.contains("grpc-status:13"), "{name}: {web}");
        }
    }
    // Why it failed is the service's to say, whatever came before.
    let failed = translated("Watch", "application/connect+proto", &[b"\0\0"], "5").await;
    assert!(failed.contains("not_found"), "{failed}");
}

#[tokio::test]
async fn an_answer_of_a_proxy_is_judged_by_its_http_status() {
    for (status, expected) in [(502_u16, 503_u16), (503, 503), (404, 501), (403, 403), (418, 500)] {
        let head = move || Response::builder().status(status).body(()).expect("a head");
        let response = answer(head, &[b"<html>"], None).await;
        assert_eq!(response.status(), expected, "{status}");
    }
}

#[tokio::test]
async fn a_call_that_is_refused_is_made_again_and_one_that_breaks_off_is_not() {
    for (reset, expected) in [(Reason::REFUSED_STREAM, 200_u16), (Reason::INTERNAL_ERROR, 503)] {
        let world = world(Builder::new(), move |number, _, mut respond| {
            if number == 0 {
                respond.send_reset(reset);
            } else {
                send(respond, head(), &[FRAME], Some(trailers("0")));
            }
            async { After::Stays }
        });
        assert_eq!(world.await.get(READ).await.status(), expected, "{reset:?}");
    }
}

#[tokio::test]
async fn a_reset_after_the_head_is_a_lost_answer() {
    let world = world(Builder::new(), |_, _, mut respond| {
        let mut stream = respond.send_response(head(), false).expect("the edge waits");
        stream.send_reset(Reason::INTERNAL_ERROR);
        async { After::Stays }
    });
    let error = json(world.await.get(READ).await, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(reason(&error), "UPSTREAM_UNAVAILABLE");
}

#[tokio::test]
async fn a_service_that_stops_finishes_its_calls_and_gets_no_more_on_the_connection() {
    let world = world(Builder::new(), |_, _, respond| async move {
        tokio::spawn(async move {
            // GOAWAY is there by then.
            tokio::time::sleep(Duration::from_millis(100)).await;
            send(respond, head(), &[FRAME], Some(trailers("0")));
        });
        After::Stops
    })
    .await;
    // A request that is not safe to repeat.
    for _ in 0..3 {
        json(world.send("POST", "/v1/shapes/a", "{}").await, StatusCode::OK).await;
    }
}

#[tokio::test]
async fn a_read_whose_connection_breaks_is_made_again_on_another() {
    let world = world(Builder::new(), |number, _, respond| async move {
        if number == 0 {
            // Dropped, it would reset the call.
            std::mem::forget(respond);
            return After::Breaks;
        }
        send(respond, head(), &[FRAME], Some(trailers("0")));
        After::Stays
    });
    json(world.await.get(READ).await, StatusCode::OK).await;
}

#[tokio::test]
async fn a_connection_that_broke_while_idle_fails_no_request() {
    let world = world(Builder::new(), |_, _, respond| async move {
        send(respond, head(), &[FRAME], Some(trailers("0")));
        // The answer goes out first.
        tokio::time::sleep(Duration::from_millis(50)).await;
        After::Breaks
    })
    .await;
    for _ in 0..3 {
        json(world.send("POST", "/v1/shapes/a", "{}").await, StatusCode::OK).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn no_more_calls_are_open_than_the_service_takes() {
    static OPEN: AtomicUsize = AtomicUsize::new(0);
    let mut builder = Builder::new();
    builder.max_concurrent_streams(2);
    let world = world(builder, |_, _, respond| async move {
        assert!(OPEN.fetch_add(1, Relaxed) < 2, "a call too many");
        tokio::time::sleep(Duration::from_millis(20)).await;
        OPEN.fetch_sub(1, Relaxed);
        send(respond, head(), &[FRAME], Some(trailers("0")));
        After::Stays
    })
    .await;
    // The edge knows the limit once it was announced.
    json(world.get(READ).await, StatusCode::OK).await;
    let answers = futures_util::future::join_all((0..10).map(|_| world.get(READ))).await;
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::OK));
}

#[tokio::test]
async fn a_client_that_leaves_ends_a_unary_call() {
    let ((begun, begins), (ended, ends)) = (oneshot::channel(), oneshot::channel());
    let both = std::sync::Mutex::new(Some((begun, ended)));
    let world = world(Builder::new(), move |_, _, mut respond| {
        let (begun, ended) = both.lock().expect("no panic").take().expect("one call");
        async move {
            begun.send(()).expect("the test waits");
            let reset = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            ended.send(reset.expect("the connection stays")).expect("the test waits");
            After::Stays
        }
    })
    .await;
    tokio::select! {
        answer = world.get(READ) => panic!("nothing answers: {answer:?}"),
        begun = begins => begun.expect("the service has the call"),
    }
    assert_eq!(ends.await.expect("the call ends"), Reason::CANCEL);
}

/// Nothing distinguishes it from one that is not there any more (docs/EDGE.md, "Clients").
#[tokio::test]
async fn a_client_that_closes_its_side_of_http_1_has_left() {
    let ((begun, begins), (ended, ends)) = (oneshot::channel(), oneshot::channel());
    let both = std::sync::Mutex::new(Some((begun, ended)));
    let world = world(Builder::new(), move |_, _, mut respond| {
        let (begun, ended) = both.lock().expect("no panic").take().expect("one call");
        async move {
            begun.send(()).expect("the test waits");
            let reset = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            ended.send(reset.expect("the connection stays")).expect("the test waits");
            After::Stays
        }
    })
    .await;
    let mut client = TcpStream::connect(world.url.trim_start_matches("http://")).await.expect("it listens");
    let request = format!("GET {READ} HTTP/1.1\r\nhost: x\r\n\r\n");
    client.write_all(request.as_bytes()).await.expect("it reads");
    begins.await.expect("the service has the call");
    client.shutdown().await.expect("a half-closed connection");
    assert_eq!(ends.await.expect("the call ends"), Reason::CANCEL);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("the end of the connection");
    assert_eq!(String::from_utf8_lossy(&answer), "");
}
