//! What Connect's own conformance suite asks of servers (<https://github.com/connectrpc/conformance>, `testsuites/data`), as a table of ours: its
//! runner is in no registry of packages. Cases have the names that they have there; those of unexpected requests that are not here are in
//! `connect_calls.rs`, and those of GET in `connect.rs`.

use std::{future::pending, io::Write as _};

use ::world::{PATIENCE, Raw};
use axum::extract::Request;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use gateway::{Config, Upstreams};
use http::HeaderMap;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{
    Code, Response, Status, Streaming,
    metadata::MetadataMap,
    server::{Grpc, StreamingService},
    service::Routes,
    transport::Server,
};

use crate::{
    connect::{envelope, envelopes},
    foreign::{compiled, contract, encoded},
    upstream::{Messages, Reply},
    world::World,
};

const KINDS: [&str; 4] = ["Unary", "Server", "Client", "Bidi"];
const CODECS: [&str; 2] = ["json", "proto"];

/// The longest message that the edge takes, in bytes.
const LIMIT: usize = 1_000;

/// The message of the contract. Its text may say that the call fails, as `fail CODE TEXT`.
#[derive(Clone, PartialEq, prost::Message)]
struct M {
    #[prost(string, tag = "1")]
    a: String,
    #[prost(string, repeated, tag = "2")]
    many: Vec<String>,
}

fn m(a: &str) -> M {
    M { a: a.to_owned(), ..M::default() }
}

fn of(many: &[&str]) -> M {
    M { many: many.iter().map(|text| (*text).to_owned()).collect(), ..M::default() }
}

/// A service with a method of each kind, which says what it was asked in the metadata of its answer.
struct Service {
    kind: String,
}

impl StreamingService<Bytes> for Service {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = BoxFuture<'static, Reply>;

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        let kind = self.kind.clone();
        async move {
            let asked = request.metadata().clone();
            if asked.contains_key("x-late") {
                pending::<()>().await;
            }
            let (answers, answered) = mpsc::unbounded_channel();
            tokio::spawn(answer(kind, request.into_inner(), asked.clone(), answers));
            let mut response = Response::new(UnboundedReceiverStream::new(answered).boxed());
            for (name, from) in [("x-lead", "x-lead"), ("x-time", "grpc-timeout")] {
                for value in asked.get_all(from).iter() {
                    response.metadata_mut().append(name, value.clone());
                }
            }
            Ok(response)
        }
        .boxed()
    }
}

async fn answer(
    kind: String,
    mut messages: Streaming<Bytes>,
    asked: MetadataMap,
    answers: mpsc::UnboundedSender<Result<Bytes, Status>>,
) {
    // Who has gone gets none.
    let send = |message: M| drop(answers.send(Ok(message.encode_to_vec().into())));
    let (mut all, mut end) = (Vec::new(), Status::new(Code::Ok, ""));
    while let Ok(Some(wire)) = messages.message().await {
        let message = M::decode(wire).expect("the contract's message");
        if let Some(failure) = message.a.strip_prefix("fail ") {
            let (code, text) = failure.split_once(' ').expect("a code and a text");
            end = Status::new(Code::from_i32(code.parse().expect("a number")), text);
        }
        match kind.as_str() {
            "Server" => message.many.iter().for_each(|text| send(m(text))),
            "Bidi" if end.code() == Code::Ok => send(message),
            _ => all.push(message),
        }
        if end.code() != Code::Ok {
            break;
        }
    }
    match (kind.as_str(), end.code()) {
        ("Unary", Code::Ok) => all.into_iter().for_each(send),
        ("Client", Code::Ok) => {
            send(M { many: all.into_iter().map(|message| message.a).collect(), ..M::default() });
        }
        _ => {}
    }
    for value in asked.get_all("x-trail").iter() {
        end.metadata_mut().append("x-trail", value.clone());
    }
    drop(answers.send(Err(end)));
}

async fn world() -> World {
    let methods = "service S {
        rpc Unary(M) returns (M) { option (google.api.http) = { post: \"/unary\" body: \"*\" }; }
        rpc Server(M) returns (stream M);
        rpc Client(stream M) returns (M);
        rpc Bidi(stream M) returns (stream M); }";
    let files = compiled(&[("suite.proto", contract("suite.v1", "", methods))]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    let router = Routes::default().into_axum_router().fallback(async |request: Request| {
        let kind = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        Grpc::new(Raw).streaming(Service { kind }, request).await
    });
    let server = Server::builder().add_routes(Routes::from(router));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    World::with(Config {
        descriptor_set: encoded(files.into_values()),
        upstreams: Upstreams::One(format!("http://{address}").into()),
        max_body_bytes: LIMIT,
        ..Config::default()
    })
    .await
}

fn written(codec: &str, message: &M) -> Vec<u8> {
    match codec {
        "json" => json!({ "a": message.a, "many": message.many }).to_string().into_bytes(),
        _ => message.encode_to_vec(),
    }
}

fn read(codec: &str, bytes: &[u8]) -> M {
    if codec == "proto" {
        return M::decode(bytes).expect("the contract's message");
    }
    let json: Value = serde_json::from_slice(bytes).expect("JSON");
    M { a: json["a"].as_str().unwrap_or_default().to_owned(), many: texts(&json["many"]) }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().expect("text").to_owned()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// What became of a call.
#[derive(Debug)]
struct Outcome {
    status: u16,
    headers: HeaderMap,
    messages: Vec<M>,
    error: Value,
    trailers: Vec<String>,
}

type Headers<'h> = &'h [(&'h str, &'h str)];

/// Calls a method with these messages, in a codec, and each compressed or not.
async fn call(world: &World, kind: &str, form: (&str, &str), headers: Headers<'_>, sent: &[M]) -> Outcome {
    let (codec, coding) = form;
    let coded = |message: &M| match (coding, written(codec, message)) {
        ("gzip", bytes) => gzip(&bytes),
        (_, bytes) => bytes,
    };
    let flags = u8::from(coding == "gzip");
    let enveloped = |message: Vec<u8>| if kind == "Unary" { message } else { envelope(flags, &message) };
    let body = sent.iter().map(coded).map(enveloped).collect::<Vec<_>>().concat();
    called(world, kind, form, headers, body).await
}

/// The same with a body as it is.
async fn called(
    world: &World,
    kind: &str,
    (codec, coding): (&str, &str),
    headers: Headers<'_>,
    body: Vec<u8>,
) -> Outcome {
    let (infix, name) =
        if kind == "Unary" { ("", "content-encoding") } else { ("connect+", "connect-content-encoding") };
    let request = world.request("POST", &format!("/suite.v1.S/{kind}")).header(name, coding);
    let request = request.header("content-type", format!("application/{infix}{codec}"));
    let request = request.header("connect-protocol-version", "1");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.body(body).send().await.expect("the edge answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await.expect("a body");
    if kind != "Unary" {
        let mut found = envelopes(&body);
        let (flags, end) = found.pop().expect("an end");
        let end: Value = serde_json::from_slice(&end).expect("JSON");
        assert!(flags == 2 && found.iter().all(|(flags, _)| *flags == 0), "{found:?} {end}");
        let messages = found.iter().map(|(_, message)| read(codec, message)).collect();
        let (error, trailers) = (end["error"].clone(), texts(&end["metadata"]["x-trail"]));
        return Outcome { status, headers, messages, error, trailers };
    }
    let trailers = values(&headers, "trailer-x-trail");
    if status == 200 {
        return Outcome { status, headers, messages: vec![read(codec, &body)], error: Value::Null, trailers };
    }
    let error = serde_json::from_slice(&body).expect("JSON");
    Outcome { status, headers, messages: Vec::new(), error, trailers }
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().expect("text").to_owned()).collect()
}

/// Basic, and Server Empty Requests.
#[tokio::test]
async fn messages_go_and_come_in_every_codec_and_coding() {
    let world = world().await;
    for (case, kind, sent, answered) in [
        ("unary/success", "Unary", vec![m("x")], vec![m("x")]),
        ("unary/empty-request", "Unary", vec![m("")], vec![m("")]),
        ("client-stream/success", "Client", vec![m("x"), m("y")], vec![of(&["x", "y"])]),
        ("client-stream/empty-request", "Client", vec![m("")], vec![of(&[""])]),
        ("client-stream/no-requests", "Client", vec![], vec![m("")]),
        ("server-stream/success", "Server", vec![of(&["x", "y"])], vec![m("x"), m("y")]),
        ("server-stream/no-responses", "Server", vec![m("")], vec![]),
        ("bidi-stream/half-duplex/success", "Bidi", vec![m("x"), m("y")], vec![m("x"), m("y")]),
        ("bidi-stream/half-duplex/empty-request", "Bidi", vec![m("")], vec![m("")]),
        ("bidi-stream/half-duplex/no-requests", "Bidi", vec![], vec![]),
    ] {
        for codec in CODECS {
            for coding in ["identity", "gzip"] {
                let outcome = call(&world, kind, (codec, coding), &[], &sent).await;
                assert_eq!((outcome.status, &outcome.error), (200, &Value::Null), "{case}: {outcome:?}");
                assert_eq!(outcome.messages, answered, "{case} {codec} {coding}");
            }
        }
    }
}

/// Basic, bidi-stream/full-duplex/success.
#[tokio::test]
async fn an_answer_comes_before_the_next_message() {
    let world = world().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let (messages, sent) = mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
    let request = client.post(format!("{}/suite.v1.S/Bidi", world.url));
    let request = request.header("content-type", "application/connect+proto");
    let body = reqwest::Body::wrap_stream(UnboundedReceiverStream::new(sent));
    // An edge that keeps answers until the last message would wait for this client as it does for the edge.
    let request = request.timeout(PATIENCE).body(body);
    let mut answer = request.send().await.expect("an answer");
    for text in ["x", "y", "z"] {
        let message = envelope(0, &m(text).encode_to_vec());
        messages.send(Ok(message.clone().into())).expect("it is read");
        assert_eq!(answer.chunk().await.expect("an answer").as_deref(), Some(&message[..]));
    }
    drop(messages);
    let end = answer.chunk().await.expect("an answer").expect("an end");
    assert_eq!(envelopes(&end), [(2, b"{}".to_vec())]);
}

/// Errors, and Connect to HTTP Code Mapping (<https://connectrpc.com/docs/protocol#error-codes>).
#[tokio::test]
async fn every_code_has_its_name_and_its_status() {
    const CODES: [(&str, u16); 16] = [
        ("canceled", 499),
        ("unknown", 500),
        ("invalid_argument", 400),
        ("deadline_exceeded", 504),
        ("not_found", 404),
        ("already_exists", 409),
        ("permission_denied", 403),
        ("resource_exhausted", 429),
        ("failed_precondition", 400),
        ("aborted", 409),
        ("out_of_range", 400),
        ("unimplemented", 501),
        ("internal", 500),
        ("unavailable", 503),
        ("data_loss", 500),
        ("unauthenticated", 401),
    ];
    // unary/unicode-error-message
    const TEXT: &str = "\u{e4}\u{4e16}\u{754c}\u{1f600} 100 %";
    let world = world().await;
    for (number, (code, status)) in CODES.into_iter().enumerate() {
        let failure = m(&format!("fail {} {TEXT}", number + 1));
        for kind in KINDS {
            for codec in CODECS {
                // error-with-responses, and error-multiple-requests
                let (sent, answered) = match kind {
                    "Server" => (vec![M { a: failure.a.clone(), ..of(&["x"]) }], vec![m("x")]),
                    "Bidi" => (vec![m("x"), failure.clone()], vec![m("x")]),
                    "Client" => (vec![m("x"), failure.clone()], vec![]),
                    _ => (vec![failure.clone()], vec![]),
                };
                let outcome = call(&world, kind, (codec, "identity"), &[], &sent).await;
                let status = if kind == "Unary" { status } else { 200 };
                assert_eq!(
                    (outcome.status, &outcome.error["code"]),
                    (status, &json!(code)),
                    "{kind} {codec}"
                );
                assert_eq!((&outcome.error["message"], outcome.messages), (&json!(TEXT), answered), "{kind}");
            }
        }
    }
}

/// Duplicate Metadata, and error-with-metadata of Errors.
#[tokio::test]
async fn each_value_of_metadata_goes_and_comes() {
    let world = world().await;
    let headers = [("x-lead", "a"), ("x-lead", "b"), ("x-trail", "c"), ("x-trail", "d")];
    for kind in KINDS {
        for (text, code) in [("x", Value::Null), ("fail 5 none", json!("not_found"))] {
            let outcome = call(&world, kind, ("proto", "identity"), &headers, &[m(text)]).await;
            assert_eq!(outcome.error["code"], code, "{kind}: {outcome:?}");
            assert_eq!(values(&outcome.headers, "x-lead"), ["a", "b"], "{kind} {text}");
            assert_eq!(outcome.trailers, ["c", "d"], "{kind} {text}");
        }
    }
}

/// Deadline Propagation, and Timeouts.
#[tokio::test]
async fn the_time_of_a_call_is_its_services_and_ends_it() {
    let world = world().await;
    for kind in KINDS {
        let outcome =
            call(&world, kind, ("proto", "identity"), &[("connect-timeout-ms", "30000")], &[m("x")]).await;
        assert_eq!(values(&outcome.headers, "x-time"), ["30000m"], "{kind}: {outcome:?}");
        let late = [("connect-timeout-ms", "200"), ("x-late", "yes")];
        let outcome = call(&world, kind, ("proto", "identity"), &late, &[m("x")]).await;
        let status = if kind == "Unary" { 504 } else { 200 };
        assert_eq!((outcome.status, &outcome.error["code"]), (status, &json!("deadline_exceeded")), "{kind}");
    }
}

/// Server Message Size, and the streams of Connect Unexpected Requests.
#[tokio::test]
async fn what_is_too_much_or_too_little_is_refused() {
    let world = world().await;
    for (kind, codec) in KINDS.into_iter().flat_map(|kind| CODECS.map(|codec| (kind, codec))) {
        let long = |size: usize| {
            let of_size = |message: &M| written(codec, message).len() == size;
            (0..size).map(|length| m(&"x".repeat(length))).find(of_size).expect("there is one")
        };
        let form = (codec, "identity");
        let outcome = call(&world, kind, form, &[], &[long(LIMIT)]).await;
        assert_eq!((outcome.status, &outcome.error), (200, &Value::Null), "{kind} {codec}: {outcome:?}");
        // all-requests-equal, first-request-exceeds, subsequent-request-exceeds
        let mut exceeding = vec![vec![long(LIMIT + 1)]];
        if ["Client", "Bidi"].contains(&kind) {
            exceeding.push(vec![long(LIMIT), long(LIMIT + 1)]);
        }
        for sent in exceeding {
            let outcome = call(&world, kind, form, &[], &sent).await;
            let status = if kind == "Unary" { 429 } else { 200 };
            let found = (outcome.status, &outcome.error["code"]);
            assert_eq!(found, (status, &json!("resource_exhausted")), "{kind} {codec}");
        }
    }
    let one = envelope(0, &m("x").encode_to_vec());
    for (case, body, code) in [
        ("server-stream/no-request", Vec::new(), "unimplemented"),
        ("server-stream/multiple-requests", [one.clone(), one].concat(), "unimplemented"),
        ("unexpected-compressed-message", envelope(1, &gzip(b"")), "internal"),
    ] {
        let outcome = called(&world, "Server", ("proto", "identity"), &[], body).await;
        assert_eq!(outcome.error["code"], code, "{case}: {outcome:?}");
    }
}
