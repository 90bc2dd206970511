//! What a service answers, message by message, in the form that its client reads.

use std::sync::Arc;

use bytes::Bytes;
use chassis::status::Fault;
use futures_util::{StreamExt as _, stream};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tonic::{Code, Status, body::Body as GrpcBody};
use upstream::{MAX_RESPONSE_BYTES, cut_off, too_large};

use super::envelope::{Envelopes, enveloped};
use crate::contract::{Called, Form};

/// What a service answers.
pub(crate) struct Answer {
    body: GrpcBody,
    envelopes: Envelopes,
    called: Arc<Called>,
    form: Form,
}

/// What comes next of it.
pub(crate) enum Part {
    Message(Bytes),
    Trailers(HeaderMap),
}

impl Answer {
    /// What comes in this body, for a client that reads messages in this form.
    pub(crate) fn of(body: GrpcBody, called: &Arc<Called>, form: Form) -> Self {
        Self { body, envelopes: Envelopes::default(), called: Arc::clone(called), form }
    }

    /// The next part; `None` after the last one.
    ///
    /// # Errors
    /// What the transport says, and what is wrong with a message: it is too long, it is compressed, or there is only the beginning of it.
    pub(crate) async fn next(&mut self) -> Result<Option<Part>, Status> {
        loop {
            match self.envelopes.next(MAX_RESPONSE_BYTES).map_err(|_| too_large())? {
                Some((0, message)) => {
                    return Ok(Some(Part::Message(self.called.printed(self.form, message).await?)));
                }
                Some(_) => return Err(wrong("a message is compressed, and nobody asked for that")),
                None => {}
            }
            let Some(frame) = self.body.frame().await.transpose()? else {
                return if self.envelopes.is_empty() { Ok(None) } else { Err(cut_off()) };
            };
            match frame.into_data() {
                Ok(data) => self.envelopes.push(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let is_success =
                        || Status::from_header_map(&trailers).is_none_or(|status| status.code() == Code::Ok);
                    // Why it failed is the service's to say.
                    if !self.envelopes.is_empty() && is_success() {
                        return Err(wrong("the answer ends within a message"));
                    }
                    return Ok(Some(Part::Trailers(trailers)));
                }
            }
        }
    }

    /// The same as frames of gRPC, one for each message.
    pub(crate) fn frames(self) -> GrpcBody {
        let frames = stream::try_unfold(self, |mut answer| async move {
            let part = answer.next().await?;
            let frame = part.map(|part| match part {
                Part::Message(message) => Frame::data(enveloped(0, &message)),
                Part::Trailers(trailers) => Frame::trailers(trailers),
            });
            Ok::<_, Status>(frame.map(|frame| (frame, answer)))
        });
        GrpcBody::new(StreamBody::new(frames.boxed()))
    }
}

/// What a service must not do.
pub(crate) fn wrong(what: &str) -> Status {
    Fault::internal(&Status::internal(what)).into()
}
