//! What a client sends in envelopes, as its service gets it.

use std::{io::Read as _, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use chassis::status::{Fault, Reason};
use flate2::read::MultiGzDecoder;
use futures_util::{Stream, stream};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tonic::Status;

use super::envelope::{COMPRESSED, Envelopes, enveloped};
use crate::{
    admit::Permit,
    contract::{Called, Form},
    metrics::{limit, refused},
    request::body::BodyLimit,
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

    /// The same, where messages may be in gzip.
    pub(crate) fn in_gzip(self, in_gzip: bool) -> Self {
        Self { in_gzip, ..self }
    }

    /// The messages of a stream.
    pub(crate) fn messages(self) -> impl Stream<Item = Result<Frame<Bytes>, Status>> + Send {
        stream::try_unfold(self, |mut sent| async move {
            let message = sent.next().await?;
            Ok(message.map(|wire| (Frame::data(enveloped(0, &wire)), sent)))
        })
    }

    /// The one message of a call whose client sends no more.
    ///
    /// # Errors
    /// What is wrong with it; UNIMPLEMENTED for none, or several.
    pub(crate) async fn message(mut self) -> Result<(Bytes, Permit), Fault> {
        let one = |problem| {
            Fault::new(Reason::Unimplemented, format!("the method takes one message, and {problem}"))
        };
        let wire = self.next().await?.ok_or_else(|| one("none came"))?;
        let mut permit = self.limit.account.nothing();
        permit.grow(wire.len())?;
        if self.next().await?.is_some() {
            return Err(one("several came"));
        }
        Ok((wire, permit))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let most = self.limit.each;
        loop {
            if let Some((flags, message)) = self.envelopes.next(most).map_err(|_| too_large(most))? {
                self.permit = self.limit.account.nothing();
                let message = match flags {
                    0 => message,
                    COMPRESSED if !self.in_gzip => {
                        let problem = "a message is compressed, and no header names its coding";
                        return Err(Fault::new(Reason::Internal, problem));
                    }
                    // Of nothing there is nothing to unpack.
                    COMPRESSED if message.is_empty() => message,
                    COMPRESSED => gunzip(&message, most)?,
                    _ => return Err(malformed("an envelope has flags that no message has")),
                };
                return self.called.wire(self.form, &message, self.lenient).map(Some);
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
}

fn gunzip(message: &[u8], most: usize) -> Result<Bytes, Fault> {
    let mut unpacked = Vec::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(message).take(bound).read_to_end(&mut unpacked);
    match read {
        Ok(_) if unpacked.len() <= most => Ok(unpacked.into()),
        Ok(_) => Err(too_large(most)),
        Err(_) => Err(malformed("a message is not in gzip")),
    }
}

fn malformed(problem: &str) -> Fault {
    Fault::new(Reason::MalformedRequest, problem)
}

fn too_large(most: usize) -> Fault {
    refused(limit::BODY_BYTES);
    Fault::new(Reason::BodyTooLarge, format!("a message is larger than {most} bytes"))
}
