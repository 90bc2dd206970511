//! What a client sends in envelopes, as its service gets it.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use chassis::status::{Fault, Reason};
use futures_util::{Stream, stream};
use http::HeaderValue;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tonic::Status;

use super::envelope::{COMPRESSED, Envelopes, PREFIX, enveloped};
use crate::{
    admit::Permit,
    contract::{Called, Form},
    request::body::{BodyLimit, Received, too_large, unzipped},
};

/// What the client sends.
pub(crate) struct Sent {
    body: Body,
    envelopes: Envelopes,
    /// What has come and is no whole message yet.
    permit: Permit,
    limit: BodyLimit,
    called: Arc<Called>,
    form: Form,
    lenient: bool,
    /// Whether messages may be in gzip.
    in_gzip: bool,
}

impl Sent {
    /// What comes in this body, without a coding.
    pub(crate) fn of(body: Body, limit: BodyLimit, called: &Arc<Called>, form: Form, lenient: bool) -> Self {
        let (permit, called) = (limit.account.nothing(), Arc::clone(called));
        Self { body, envelopes: Envelopes::default(), permit, limit, called, form, lenient, in_gzip: false }
    }

    /// The same, where messages may have the coding that a header names.
    ///
    /// # Errors
    /// UNIMPLEMENTED for one that is not read.
    pub(crate) fn coded(self, coding: Option<&HeaderValue>) -> Result<Self, Fault> {
        let in_gzip = match coding.map(HeaderValue::as_bytes) {
            Some(b"gzip") => true,
            None | Some(b"identity") => false,
            Some(_) => {
                let problem = "messages are read in gzip or without a coding";
                return Err(Fault::new(Reason::Unimplemented, problem));
            }
        };
        Ok(Self { in_gzip, ..self })
    }

    /// The messages of a stream, each of which counts until the service takes it.
    pub(crate) fn messages(self) -> impl Stream<Item = Result<Frame<Bytes>, Status>> + Send {
        stream::try_unfold(self, |mut sent| async move {
            let Some(message) = sent.next().await? else { return Ok(None) };
            let envelope = enveloped(0, &message.bytes);
            Ok(Some((Frame::data(message.becomes(envelope)?.until_taken()), sent)))
        })
    }

    /// The one message of a call whose client sends no more.
    ///
    /// # Errors
    /// What is wrong with it; UNIMPLEMENTED for none, or several.
    pub(crate) async fn message(mut self) -> Result<Received, Fault> {
        let one = |problem| {
            Fault::new(Reason::Unimplemented, format!("the method takes one message, and {problem}"))
        };
        let message = self.next().await?.ok_or_else(|| one("none came"))?;
        // Whatever another one says: it is one too many.
        if self.envelope().await?.is_some() {
            return Err(one("several came"));
        }
        Ok(message)
    }

    /// The wire bytes of the next message.
    async fn next(&mut self) -> Result<Option<Received>, Fault> {
        let Some((flags, message)) = self.envelope().await? else { return Ok(None) };
        self.read(flags, message).await.map(Some)
    }

    /// The flags of the next message, and what came of it.
    async fn envelope(&mut self) -> Result<Option<(u8, Received)>, Fault> {
        let most = self.limit.each;
        loop {
            if let Some((flags, message)) = self.envelopes.next(most).map_err(|_| too_large(most))? {
                let kept = self.permit.split(PREFIX + message.len());
                return Ok(Some((flags, Received::of(message, kept))));
            }
            match self.body.frame().await {
                None if self.envelopes.is_empty() => return Ok(None),
                None | Some(Err(_)) => return Err(malformed("the body broke off")),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.permit.grow(data.len())?;
                        self.envelopes.push(&data);
                    }
                }
            }
        }
    }

    /// The wire bytes of a message in an envelope with these flags. Exclusive, as bodies are not shared between threads.
    async fn read(&mut self, flags: u8, message: Received) -> Result<Received, Fault> {
        let message = match flags {
            0 => message,
            COMPRESSED if !self.in_gzip => {
                let problem = "a message is compressed, and no header names its coding";
                return Err(Fault::new(Reason::Internal, problem));
            }
            // Of nothing there is nothing to unpack.
            COMPRESSED if message.bytes.is_empty() => message,
            COMPRESSED => unzipped(&message.bytes, &self.limit)?,
            _ => return Err(malformed("an envelope has flags that no message has")),
        };
        let wire = self.called.wire(self.form, &message.bytes, self.lenient).await?;
        message.becomes(wire)
    }
}

fn malformed(problem: &str) -> Fault {
    Fault::new(Reason::MalformedRequest, problem)
}
