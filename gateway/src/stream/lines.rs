//! The messages of a client that streams: a line of JSON each (NDJSON), as they come.

use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use chassis::status::{Fault, Reason};
use http::{HeaderMap, header, request::Parts};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use transcode::{Encoded, Input, RequestError, Route};

use super::framing::NDJSON;
use crate::{
    admit::Permit,
    answer::problem::Problem,
    aside,
    contract::{Captures, Served},
    messages::envelope::enveloped,
    metrics::{limit, refused},
    request::{
        body::{self, BodyLimit, Received},
        headers,
    },
};

/// A body as lines.
#[derive(Debug)]
pub(in crate::stream) struct Lines {
    body: Body,
    /// What has come of the lines to follow.
    rest: BytesMut,
    /// Bytes before this place of it are no end of a line.
    looked: usize,
    most: usize,
    /// What `rest` takes.
    permit: Permit,
    /// Whether each part of the body is a message by itself.
    is_raw: bool,
    is_over: bool,
}

impl Lines {
    /// Lines of at most so many bytes; `raw` for parts of any length as they come.
    pub(in crate::stream) fn of(body: Body, limit: &BodyLimit, raw: bool) -> Self {
        let (most, permit) = (limit.each, limit.account.nothing());
        Self { body, rest: BytesMut::new(), looked: 0, most, permit, is_raw: raw, is_over: false }
    }

    /// The next line that is not empty; `None` after the last one.
    ///
    /// # Errors
    /// BODY_TOO_LARGE for a line that is; MALFORMED_REQUEST for a body that breaks off; RATE_LIMITED when there is no room for it.
    pub(in crate::stream) async fn next(&mut self) -> Result<Option<Received>, Problem> {
        loop {
            if self.is_raw && !self.rest.is_empty() {
                return Ok(Some(self.give(self.rest.len())));
            }
            let line = match self.rest[self.looked..].iter().position(|byte| *byte == b'\n') {
                Some(end) => self.give(self.looked + end + 1),
                None if self.is_over && self.rest.is_empty() => return Ok(None),
                // The last one may do without its end.
                None if self.is_over => self.give(self.rest.len()),
                None => {
                    self.looked = self.rest.len();
                    self.fill().await?;
                    continue;
                }
            };
            if !line.bytes.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    fn give(&mut self, bytes: usize) -> Received {
        self.looked = 0;
        Received::of(self.rest.split_to(bytes).freeze(), self.permit.split(bytes))
    }

    async fn fill(&mut self) -> Result<(), Problem> {
        let broken = |_| Fault::new(Reason::MalformedRequest, "the body broke off");
        match self.body.frame().await.transpose().map_err(broken)? {
            None => self.is_over = true,
            Some(frame) => {
                if let Ok(data) = frame.into_data() {
                    self.permit.grow(data.len())?;
                    self.rest.extend_from_slice(&data);
                }
            }
        }
        if !self.is_raw && self.rest.len() > self.most && !self.rest[self.looked..].contains(&b'\n') {
            refused(limit::BODY_BYTES);
            let problem = format!("a line is larger than {} bytes", self.most);
            return Err(Fault::new(Reason::BodyTooLarge, problem).into());
        }
        Ok(())
    }
}

/// Makes messages of JSON. What path and query bind is in the first one.
#[derive(Debug)]
pub(crate) struct Encoder {
    served: Arc<Served>,
    first: Option<(Captures, String)>,
    /// That of the body, where it is no JSON.
    content_type: String,
    lenient: bool,
}

impl Encoder {
    pub(in crate::stream) fn new(
        served: &Arc<Served>,
        captures: Captures,
        parts: &Parts,
        lenient: bool,
    ) -> Self {
        let first = Some((captures, parts.uri.query().unwrap_or_default().to_owned()));
        let content_type = headers::content_type(&parts.headers).to_owned();
        Self { served: Arc::clone(served), first, content_type, lenient }
    }

    /// # Errors
    /// Whatever is wrong with the message.
    pub(in crate::stream) async fn message(&mut self, json: &Bytes) -> Result<Bytes, Problem> {
        let (first, lenient) = (self.first.take().unwrap_or_default(), self.lenient);
        let encoded = if aside::is_long(json.len()) {
            let (served, json) = (Arc::clone(&self.served), json.clone());
            let content_type = self.content_type.clone();
            aside::run(move || encode(&served.route, first, &content_type, &json, lenient)).await?
        } else {
            encode(&self.served.route, first, &self.content_type, json, lenient)
        };
        Ok(encoded?.wire)
    }
}

fn encode(
    route: &Route,
    (captures, query): (Captures, String),
    content_type: &str,
    body: &[u8],
    lenient: bool,
) -> Result<Encoded, RequestError> {
    let input = Input { captures, query: &query, body, content_type, ..Input::default() };
    transcode::request_from_json(route, &input, lenient)
}

/// Hands on each line as a message in its envelope, which counts until the service takes it, to the end of the body, or until nobody takes them
/// any more.
///
/// # Errors
/// What is wrong with the body or with a message.
pub(in crate::stream) async fn feed(
    mut lines: Lines,
    mut encoder: Encoder,
    messages: mpsc::Sender<Bytes>,
) -> Result<(), Problem> {
    while let Some(line) = lines.next().await? {
        let envelope = enveloped(0, &encoder.message(&line.bytes).await?);
        let message = line.becomes(envelope)?;
        if messages.send(message.until_taken()).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Refuses a body that is not declared as lines of JSON; a `raw` one may be of any type, but is not unpacked either.
///
/// # Errors
/// UNSUPPORTED_MEDIA_TYPE.
pub(in crate::stream) fn check(headers: &HeaderMap, raw: bool) -> Result<(), Box<Problem>> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !raw && !kind.eq_ignore_ascii_case(NDJSON) {
        let problem = "the body must be application/x-ndjson, a message in each line";
        return Err(Box::new(Fault::new(Reason::UnsupportedMediaType, problem).into()));
    }
    if body::is_coded(headers) {
        return Err(Box::new(Problem::unsupported_coding("identity")));
    }
    Ok(())
}
