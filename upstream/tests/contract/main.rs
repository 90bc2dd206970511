//! A service in the same process and the same behind HTTP/2: whoever calls them sees no difference.

mod service;

use std::{future::pending, sync::Arc, time::Duration};

use bytes::Bytes;
use chassis::tls::ClientTls;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, uri::PathAndQuery};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message as _;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status, Streaming, body::Body as GrpcBody, service::Routes, transport::Server};
use upstream::{
    Answer, Call, Local, Location, Resolver, SystemResolver, TransportError, Tried, Trust, Upstream,
    is_unknown,
};

use self::service::{Handlers, refusal};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The service, one way or the other.
struct Way {
    name: &'static str,
    upstream: Upstream,
    reports: mpsc::UnboundedReceiver<String>,
    _stop: DropGuard,
}

/// Both ways.
async fn ways() -> [Way; 2] {
    let stop = CancellationToken::new();
    let (reports, remote_reports) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound listener"));
    let served = Server::builder()
        .add_service(Handlers { reports })
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
    tokio::spawn(served.map(|outcome| outcome.expect("the listener works")));
    let (reports, local_reports) = mpsc::unbounded_channel();
    let local = Local::new(Routes::new(Handlers { reports }).prepare());
    let way = |name, location, reports| {
        let resolver: Arc<dyn Resolver> = Arc::new(SystemResolver);
        let trust = Trust { tls: &ClientTls::default(), resolver: &resolver };
        let upstream = Upstream::of(&location, trust).expect("a location");
        Way { name, upstream, reports, _stop: stop.clone().drop_guard() }
    };
    [way("remote", Location::Url(url), remote_reports), way("local", Location::Local(local), local_reports)]
}

fn metadata(headers: &HeaderMap, _further: &[HeaderName]) -> HeaderMap {
    headers.clone()
}

fn path(method: &str) -> PathAndQuery {
    format!("/contract.v1.Contract/{method}").parse().expect("a path")
}

fn wire(message: &str) -> Bytes {
    message.to_owned().encode_to_vec().into()
}

fn text(wire: Bytes) -> String {
    String::decode(wire).expect("a message")
}

/// What a call is made with besides its method and its request.
#[derive(Default)]
struct With {
    headers: HeaderMap,
    time: Option<Duration>,
}

impl Way {
    async fn unary(&self, method: &str, request: &str, with: &With) -> Result<Answer<Bytes>, Status> {
        let (path, tried) = (path(method), Tried::default());
        self.call(&path, &tried, wire(request), with, false).unary().await
    }

    async fn stream(&self, method: &str, request: &str) -> Result<Streaming<Bytes>, Status> {
        let (path, tried) = (path(method), Tried::default());
        let answer = self.call(&path, &tried, wire(request), &With::default(), true).streaming().await;
        answer.map(|answer| answer.body)
    }

    fn call<'a>(
        &'a self,
        path: &'a PathAndQuery,
        tried: &'a Tried,
        wire: Bytes,
        with: &'a With,
        streams: bool,
    ) -> Call<'a> {
        let deadline = with.time.map(|time| Instant::now() + time);
        Call {
            upstream: &self.upstream,
            tried,
            path,
            streams,
            wire,
            headers: &with.headers,
            metadata,
            further: &[],
            deadline,
        }
    }

    /// Waits until a handler has reported this.
    async fn has_reported(&mut self, expected: &str) {
        let found = async { while self.reports.recv().await.expect("the service lives") != expected {} };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{}: not {expected}", self.name));
    }
}

#[tokio::test]
async fn a_call_carries_its_message_and_its_metadata() {
    for mut way in ways().await {
        let headers =
            HeaderMap::from_iter([("x-request-id".parse().expect("a name"), HeaderValue::from_static("7"))]);
        let with = With { headers, time: Some(Duration::from_secs(9)) };
        let answer = way.unary("Echo", "héllo", &with).await.expect("an answer");
        assert_eq!((text(answer.body).as_str(), answer.replayed), ("héllo", false), "{}", way.name);
        for reports in ["x-request-id: 7", "te: trailers", "content-type: application/grpc"] {
            way.has_reported(reports).await;
        }
        let answer = way.unary("Replayed", "", &With::default()).await.expect("an answer");
        assert!(answer.replayed, "{}", way.name);
    }
}

#[tokio::test]
async fn an_error_keeps_its_code_its_text_and_its_details() {
    for way in ways().await {
        let status = way.unary("Refuse", "", &With::default()).await.expect_err("refused");
        let (code, message, details) = (status.code(), status.message(), status.details());
        let expected = refusal();
        assert_eq!(
            (code, message, details),
            (expected.code(), expected.message(), expected.details()),
            "{}",
            way.name
        );
        assert_eq!(TransportError::of(&status), None, "{}", way.name);
        let status = way.unary("Nothing", "", &With::default()).await.expect_err("no method");
        assert_eq!((status.code(), status.message()), (Code::Unimplemented, "Nothing"), "{}", way.name);
        let (path, tried) = ("/other.v1.Service/Method".parse().expect("a path"), Tried::default());
        let call = way.call(&path, &tried, Bytes::new(), &WITHOUT, false).unary().await;
        assert_eq!(call.expect_err("no service").code(), Code::Unimplemented, "{}", way.name);
    }
}

static WITHOUT: std::sync::LazyLock<With> = std::sync::LazyLock::new(With::default);

#[tokio::test]
async fn a_stream_ends_with_its_status() {
    for way in ways().await {
        let mut messages = way.stream("List", "a b c").await.expect("a stream");
        let mut found = Vec::new();
        let end = loop {
            match messages.message().await {
                Ok(Some(message)) => found.push(text(message)),
                Ok(None) => break None,
                Err(status) => break Some(status),
            }
        };
        assert_eq!(found, ["a", "b", "c"], "{}", way.name);
        let end = end.expect("an error");
        assert_eq!((end.code(), end.details()), (refusal().code(), refusal().details()), "{}", way.name);
    }
}

#[tokio::test]
async fn a_client_streams() {
    for way in ways().await {
        let (path, tried) = (path("Count"), Tried::default());
        let envelope = |message: Bytes| {
            let length = u32::try_from(message.len()).expect("short").to_be_bytes();
            Bytes::from([&[0][..], &length, &message].concat())
        };
        let messages = stream::iter(["a", "b", "c"].map(wire).map(envelope));
        let call = way.call(&path, &tried, Bytes::new(), &WITHOUT, true).both(messages).await;
        let answer = call.expect("an answer").body.message().await.expect("no error").expect("a message");
        assert_eq!(text(answer), "a+b+c", "{}", way.name);
    }
}

#[tokio::test]
async fn a_deadline_ends_the_call_and_its_handler() {
    for mut way in ways().await {
        let with = With { time: Some(Duration::from_millis(200)), ..With::default() };
        let status = timeout(PATIENCE, way.unary("Never", "", &with)).await.expect("in time");
        let status = status.expect_err("no answer");
        assert_eq!((status.code(), status.message()), (Code::Cancelled, "Timeout expired"), "{}", way.name);
        way.has_reported("dropped").await;
    }
}

#[tokio::test]
async fn a_client_that_goes_takes_the_handler_with_it() {
    for mut way in ways().await {
        // Long enough for the call to have come to its handler.
        let gone = timeout(Duration::from_secs(1), way.unary("Never", "", &WITHOUT)).await;
        assert!(gone.is_err(), "{}", way.name);
        way.has_reported("dropped").await;
        let mut messages = way.stream("Endless", "a").await.expect("a stream");
        assert_eq!(
            messages.message().await.expect("no error").map(text).as_deref(),
            Some("a"),
            "{}",
            way.name
        );
        drop(messages);
        way.has_reported("dropped").await;
    }
}

#[tokio::test]
async fn large_messages_pass_up_to_the_limit() {
    for way in ways().await {
        let answer = way.unary("Repeat", "15", &WITHOUT).await.expect("an answer");
        assert_eq!(text(answer.body).len(), 15 << 20, "{}", way.name);
        let status = way.unary("Repeat", "17", &WITHOUT).await.expect_err("too large");
        assert!(status.message().contains("larger than the 16 MiB"), "{}: {status}", way.name);
        let request = "x".repeat(3 << 20);
        let answer = way.unary("Echo", &request, &WITHOUT).await.expect("an answer");
        assert_eq!(answer.body.len(), wire(&request).len(), "{}", way.name);
        // The limit of tonic's services for requests.
        let status = way.unary("Echo", &"x".repeat(5 << 20), &WITHOUT).await.expect_err("too large");
        assert_eq!(status.code(), Code::OutOfRange, "{}: {status}", way.name);
    }
}

#[tokio::test]
async fn metadata_that_no_service_takes_is_refused() {
    for way in ways().await {
        let headers = HeaderMap::from_iter([(
            "x-request-id".parse().expect("a name"),
            "x".repeat(13 << 10).parse().expect("a value"),
        )]);
        let with = With { headers, time: None };
        let status = way.unary("Echo", "", &with).await.expect_err("too long");
        assert_eq!(status.code(), Code::InvalidArgument, "{}", way.name);
    }
}

/// A message in its frame, and then what the client's connection did.
fn broken_off() -> GrpcBody {
    let frame = [&[0, 0, 0, 0, 3][..], b"\x0a\x01a"].concat();
    let frames =
        stream::iter([Ok(Frame::data(Bytes::from(frame))), Err(Status::unknown("the client is gone"))]);
    GrpcBody::new(StreamBody::new(frames.chain(stream::once(pending()))))
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_fault_of_the_service() {
    for way in ways().await {
        let mut request = Request::new(broken_off());
        *request.uri_mut() = path("Count").into();
        let response = timeout(PATIENCE, way.upstream.pass(request, true)).await.expect("in time");
        let status = match response {
            Err(status) => status,
            Ok(response) => response.into_body().collect().await.expect_err("it breaks off"),
        };
        assert_eq!(TransportError::of(&status), Some(TransportError::Body), "{}: {status:?}", way.name);
        assert!(!is_unknown(&status), "{}", way.name);
    }
}

#[tokio::test]
async fn a_passing_call_keeps_its_frames_and_trailers() {
    for way in ways().await {
        let frame = [&[0, 0, 0, 0, 5][..], b"\x0a\x03a b"].concat();
        let mut request = Request::new(GrpcBody::new(http_body_util::Full::new(Bytes::from(frame))));
        *request.uri_mut() = path("List").into();
        let response = way.upstream.pass(request, true).await.expect("a head");
        let body = response.into_body().collect().await.expect("a body");
        let trailers = body.trailers().expect("trailers").clone();
        let status = Status::from_header_map(&trailers).expect("a status");
        assert_eq!(
            (status.code(), status.details()),
            (refusal().code(), refusal().details()),
            "{}",
            way.name
        );
        let frames = [&[0, 0, 0, 0, 3][..], b"\x0a\x01a", &[0, 0, 0, 0, 3], b"\x0a\x01b"].concat();
        assert_eq!(body.to_bytes(), frames, "{}", way.name);
    }
}
