//! Server streams over HTTP: server-sent events, newline-delimited JSON or a WebSocket, with errors that cannot be overlooked.

mod raw;
mod socket;
mod lines;
pub(crate) mod talk;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, header};
use prost_reflect::DescriptorPool;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use tracing::{Instrument as _, Span};
use transcode::{Decoded, Route};
use upstream::too_large;

pub(crate) use self::socket::{Asked, asked};
use crate::{
    admit::{Account, Open},
    contract::Served,
    edge::Edge,
    headers,
    problem::{Problem, Style},
};

/// Proxies cut connections on which nothing moves, often after 30 s or 60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(crate) const NDJSON: &str = "application/x-ndjson";

/// How the messages of a stream are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events (WHATWG HTML, section 9.2): a message is the data of an event whose id is its version. An event
    /// `error` holds the error that ended the stream; an event `end` says that there is no more to come, so that a browser
    /// need not reconnect. A comment every 15 s shows that the connection lives.
    Sse,
    /// Bytes that are no JSON, one after the other; an error breaks them off.
    Raw,
    /// A message a line. A last line `{"error": …}` holds the error that ended the stream.
    Ndjson,
}

impl Framing {
    /// The framing that `Accept` asks for: server-sent events unless it names `application/x-ndjson`. Raw bytes have no other.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap, route: &Route) -> Self {
        match (route.raw_response, headers::accepts(headers, NDJSON)) {
            (true, _) => Self::Raw,
            (false, true) => Self::Ndjson,
            (false, false) => Self::Sse,
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Sse => "text/event-stream",
            Self::Raw => "application/octet-stream",
            Self::Ndjson => NDJSON,
        })
    }

    fn message(self, Decoded { json, version }: Decoded) -> Bytes {
        let mut frame = Vec::with_capacity(json.len() + 32);
        match (self, version) {
            (Self::Sse, Some(version)) => frame.extend(format!("id: {version}\ndata: ").into_bytes()),
            (Self::Sse, None) => frame.extend(b"data: "),
            (Self::Ndjson | Self::Raw, _) => {}
        }
        frame.extend(json);
        frame.extend(self.terminator());
        frame.into()
    }

    fn error(self, problem: &Problem, style: &Style) -> Bytes {
        match self {
            Self::Sse => format!("event: error\ndata: {}\n\n", problem.json(style)).into(),
            Self::Ndjson | Self::Raw => format!("{}\n", error_line(problem, style)).into(),
        }
    }

    fn end(self) -> Bytes {
        match self {
            Self::Sse => Bytes::from_static(b"event: end\ndata: {}\n\n"),
            Self::Ndjson | Self::Raw => Bytes::new(),
        }
    }

    fn heartbeat(self) -> Bytes {
        match self {
            Self::Sse => Bytes::from_static(b": heartbeat\n\n"),
            // Readers may pass over an empty line, and some do not.
            Self::Ndjson | Self::Raw => Bytes::new(),
        }
    }

    fn terminator(self) -> &'static [u8] {
        match self {
            Self::Sse => b"\n\n",
            Self::Ndjson | Self::Raw => b"\n",
        }
    }
}

/// An error among messages: an object whose only member is `error`.
fn error_line(problem: &Problem, style: &Style) -> String {
    let json = problem.json(style);
    // Problem details have no member that distinguishes them from a message.
    if style.is_problem_details() { format!("{{\"error\":{json}}}") } else { json.to_string() }
}

/// A stream on its way to a client. Dropping it, as a disconnect does, drops the call.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) served: Arc<Served>,
    pub(crate) messages: Streaming<Bytes>,
    /// What the client sends meanwhile.
    pub(crate) feeding: talk::Feeding,
    pub(crate) framing: Framing,
    pub(crate) style: Style,
    /// When the client stops waiting, if it said so.
    pub(crate) until: Option<Instant>,
    pub(crate) stopping: CancellationToken,
    /// What its client may make the edge keep.
    pub(crate) account: Arc<Account>,
    /// Its place among the streams.
    pub(crate) _open: Option<Open>,
}

enum Step {
    Message(Bytes),
    Silence,
    End,
    Failed(Problem),
}

impl Feed {
    /// The answer. Raw bytes have their type with the first message, so it waits for that one.
    ///
    /// # Errors
    /// What ends such a stream before its first message.
    pub(crate) async fn into_response(self) -> Result<Response, Problem> {
        if self.framing == Framing::Raw { raw::response(self).await } else { Ok(self.into_frames()) }
    }

    /// The answer to a client that wants a WebSocket.
    pub(crate) fn into_socket(self, edge: &Edge, asked: Asked) -> Response {
        socket::response(self, edge, asked)
    }

    fn into_frames(self) -> Response {
        let content_type = self.framing.content_type();
        // The request's: what goes wrong is logged with its id.
        let span = Span::current();
        let frames = stream::unfold(Some(self), move |feed| {
            let next = async {
                let mut feed = feed?;
                let (mut frame, mut goes_on) = feed.frame().await;
                // An empty chunk would end a chunked body.
                while frame.is_empty() && goes_on {
                    (frame, goes_on) = feed.frame().await;
                }
                (!frame.is_empty()).then(|| (Ok::<_, Infallible>(frame), goes_on.then_some(feed)))
            };
            next.instrument(span.clone())
        });
        let mut response = Response::new(Body::from_stream(frames));
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// The next frame, and whether others follow.
    async fn frame(&mut self) -> (Bytes, bool) {
        match self.step().await {
            Step::Message(wire) => match self.decoded(wire) {
                Ok(decoded) => (self.framing.message(decoded), true),
                Err(problem) => (self.framing.error(&problem, &self.style), false),
            },
            Step::Silence => (self.framing.heartbeat(), true),
            Step::End => (self.framing.end(), false),
            Step::Failed(problem) => (self.framing.error(&problem, &self.style), false),
        }
    }

    fn decoded(&self, wire: Bytes) -> Result<Decoded, Box<Problem>> {
        let decoded = transcode::response_to_json(&self.served.route, wire);
        let decoded = decoded.map_err(|error| Problem::internal(&error))?;
        self.account.check(decoded.json.len()).map_err(Problem::from)?;
        Ok(decoded)
    }

    async fn step(&mut self) -> Step {
        let heartbeat = Instant::now() + HEARTBEAT;
        let over = self.until.filter(|until| *until <= heartbeat);
        loop {
            return tokio::select! {
                biased;
                () = self.stopping.cancelled() => Step::Failed(Problem::stopping()),
                // Before the messages: a stream that never rests ends in time too.
                () = sleep_until(over.unwrap_or(heartbeat)) => match over {
                    Some(_) => Step::Failed(Problem::deadline_exceeded()),
                    None => Step::Silence,
                },
                sent = self.feeding.end() => match sent {
                    Ok(()) => continue,
                    Err(problem) => Step::Failed(problem),
                },
                // `message` keeps what it has read in the stream: another branch loses nothing.
                message = self.messages.message() => received(message, self.served.route.types()),
            };
        }
    }
}

/// How tonic says that a message is longer than it may be: it has no error of its own for that.
const TOO_LONG: &str = "Error, decoded message length too large";

fn received(message: Result<Option<Bytes>, Status>, types: &DescriptorPool) -> Step {
    match message {
        Ok(Some(wire)) => Step::Message(wire),
        Ok(None) => Step::End,
        Err(status) if status.code() == Code::OutOfRange && status.message().starts_with(TOO_LONG) => {
            Step::Failed(too_large().into())
        }
        Err(status) => Step::Failed(Problem::from_status(&status, types)),
    }
}
