//! How the messages of a stream, its silence, its errors and its end are written.

use bytes::Bytes;
use chassis::media::prefers;
use http::{HeaderMap, HeaderValue};
use transcode::{Decoded, Route};

use crate::answer::problem::{EVENT_STREAM, Problem, Style};

pub(super) const NDJSON: &str = "application/x-ndjson";

/// How the messages of a stream are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events (WHATWG HTML, section 9.2): a message is the data of an event whose id is its version. An event
    /// `error` holds the error that ended the stream; an event `end` says that there is no more to come, so that a browser
    /// need not reconnect; both repeat the id of the last message. A comment at the start and every 15 s shows that the connection lives: it
    /// has no empty line behind it, which some readers take for an event.
    Sse,
    /// Bytes that are no JSON, one after the other; an error breaks them off.
    Raw,
    /// A message a line. A last line `{"error": …}` holds the error that ended the stream.
    Ndjson,
}

impl Framing {
    /// The framing that `Accept` asks for: server-sent events unless it names `application/x-ndjson`, with no lower weight. Raw bytes have no
    /// other.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap, route: &Route) -> Self {
        match (route.raw_response, prefers(headers, NDJSON, EVENT_STREAM)) {
            (true, _) => Self::Raw,
            (false, true) => Self::Ndjson,
            (false, false) => Self::Sse,
        }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Sse => "text/event-stream",
            Self::Raw => "application/octet-stream",
            Self::Ndjson => NDJSON,
        })
    }

    pub(super) fn message(self, Decoded { json, version }: Decoded) -> Bytes {
        let mut frame = Vec::with_capacity(json.len() + 32);
        match (self, version) {
            (Self::Sse, version) => frame.extend(format!("{}data: ", id(version)).into_bytes()),
            (Self::Ndjson | Self::Raw, _) => {}
        }
        frame.extend(json);
        frame.extend(self.terminator());
        frame.into()
    }

    /// What comes before everything else, so that proxies and pages see a stream that has begun.
    pub(super) fn begin(self) -> Bytes {
        match self {
            Self::Sse => Bytes::from_static(b": open\n"),
            Self::Ndjson | Self::Raw => Bytes::new(),
        }
    }

    pub(super) fn error(self, problem: &Problem, style: &Style, last: Option<i64>) -> Bytes {
        match self {
            Self::Sse => format!("{}{}", id(last), problem.event(style)).into(),
            Self::Ndjson | Self::Raw => format!("{}\n", error_line(problem, style)).into(),
        }
    }

    pub(super) fn end(self, last: Option<i64>) -> Bytes {
        match self {
            Self::Sse => format!("{}event: end\ndata: {{}}\n\n", id(last)).into(),
            Self::Ndjson | Self::Raw => Bytes::new(),
        }
    }

    pub(super) fn heartbeat(self) -> Bytes {
        match self {
            Self::Sse => Bytes::from_static(b": heartbeat\n"),
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

fn id(version: Option<i64>) -> String {
    version.map(|version| format!("id: {version}\n")).unwrap_or_default()
}

/// An error among messages: an object whose only member is `error`.
pub(super) fn error_line(problem: &Problem, style: &Style) -> String {
    let json = problem.json(style);
    // Problem details have no member that distinguishes them from a message.
    if style.is_problem_details() { format!("{{\"error\":{json}}}") } else { json.to_string() }
}
