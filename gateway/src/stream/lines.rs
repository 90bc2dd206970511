//! The messages of a client that streams: a line of JSON each (NDJSON), as they come.

use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use chassis::status::{Fault, Reason};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use transcode::{Input, RequestError};

use super::NDJSON;
use crate::{
    answer::Captures,
    edge::Served,
    headers,
    metrics::{limit, refused},
    problem::Problem,
};

/// A body as lines.
#[derive(Debug)]
pub(super) struct Lines {
    body: Body,
    /// What has come of the lines to follow.
    rest: BytesMut,
    /// Bytes before this place of it are no end of a line.
    looked: usize,
    most: usize,
    /// Whether each part of the body is a message by itself.
    is_raw: bool,
    is_over: bool,
}

impl Lines {
    /// Lines of at most so many bytes; `raw` for parts of any length as they come.
    pub(super) fn of(body: Body, most: usize, raw: bool) -> Self {
        Self { body, rest: BytesMut::new(), looked: 0, most, is_raw: raw, is_over: false }
    }

    /// The next line that is not empty; `None` after the last one.
    ///
    /// # Errors
    /// BODY_TOO_LARGE for a line that is; MALFORMED_REQUEST for a body that breaks off.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            if self.is_raw && !self.rest.is_empty() {
                return Ok(Some(self.rest.split().freeze()));
            }
            let line = match self.rest[self.looked..].iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    let line = self.rest.split_to(self.looked + end + 1).freeze();
                    self.looked = 0;
                    line
                }
                None if self.is_over && self.rest.is_empty() => return Ok(None),
                // The last one may do without its end.
                None if self.is_over => {
                    self.looked = 0;
                    self.rest.split().freeze()
                }
                None => {
                    self.looked = self.rest.len();
                    self.fill().await?;
                    continue;
                }
            };
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Problem> {
        let broken = |_| Fault::new(Reason::MalformedRequest, "the body broke off");
        match self.body.frame().await.transpose().map_err(broken)? {
            None => self.is_over = true,
            Some(frame) => {
                if let Ok(data) = frame.into_data() {
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
pub(super) struct Encoder {
    served: Arc<Served>,
    first: Option<(Captures, String)>,
    /// That of the body, where it is no JSON.
    content_type: String,
    lenient: bool,
}

impl Encoder {
    pub(super) fn new(served: &Arc<Served>, captures: Captures, parts: &Parts, lenient: bool) -> Self {
        let first = Some((captures, parts.uri.query().unwrap_or_default().to_owned()));
        let content_type = headers::content_type(&parts.headers).to_owned();
        Self { served: Arc::clone(served), first, content_type, lenient }
    }

    /// # Errors
    /// Whatever is wrong with the message.
    pub(super) fn message(&mut self, json: &[u8]) -> Result<Bytes, RequestError> {
        let (captures, query) = self.first.take().unwrap_or_default();
        let content_type = self.content_type.as_str();
        let input = Input { captures, query: &query, body: json, content_type, ..Input::default() };
        Ok(transcode::request_from_json(&self.served.route, &input, self.lenient)?.wire)
    }
}

/// Hands on each line as a message, to the end of the body, or until nobody takes them any more.
///
/// # Errors
/// What is wrong with the body or with a message.
pub(super) async fn feed(
    mut lines: Lines,
    mut encoder: Encoder,
    messages: mpsc::Sender<Bytes>,
) -> Result<(), Problem> {
    while let Some(line) = lines.next().await? {
        if messages.send(encoder.message(&line)?).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Refuses a body that is not declared as lines of JSON.
///
/// # Errors
/// UNSUPPORTED_MEDIA_TYPE.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Box<Problem>> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(NDJSON) {
        let problem = "the body must be application/x-ndjson, a message in each line";
        return Err(Box::new(Fault::new(Reason::UnsupportedMediaType, problem).into()));
    }
    let identity = HeaderValue::from_static("identity");
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coding != identity) {
        return Err(Box::new(Problem::unsupported_coding()));
    }
    Ok(())
}
