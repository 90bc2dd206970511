//! A call on its way to its service: it is let in, its one message is read, and it is passed on.

use std::{convert, sync::Arc, time::Duration};

use auth::Validity;
use chassis::{deadline, status::Fault, trace};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header, request::Parts};
use http_body_util::{BodyExt as _, Full};
use tokio::time::Instant;
use tonic::{Status, body::Body as GrpcBody};
use upstream::{GRPC_TIMEOUT, check_length, grpc_timeout, of_http};

use super::fault::{fault, stopping};
use crate::{
    admit::{Admitted, Client, Open, Permit, Slot, Standing},
    contract::{Called, Form},
    edge::Edge,
    messages::answer::Answer,
    request::{body::Received, deadline::within, headers},
    settings::timeout::LONGEST,
    stream::Over,
};

/// What a service may have sent of an answer that its client does not take: the window of its call.
const UNTAKEN: usize = 64 << 10;

/// Headers that the call to the service gets anew; `Expect` was the edge's to answer.
const LEFT_OUT: [HeaderName; 3] = [header::HOST, header::CONTENT_LENGTH, header::EXPECT];

/// A call of a method.
pub(crate) struct Asked<'e> {
    pub(crate) edge: &'e Edge,
    pub(crate) client: &'e Client,
    pub(crate) called: &'e Called,
    pub(crate) head: Parts,
    pub(crate) sent: Sent<'e>,
}

/// What a client sends, in frames of gRPC.
pub(crate) enum Sent<'e> {
    /// Its one message, once all of it is there.
    Message(BoxFuture<'e, Result<Received, Fault>>),
    Stream(GrpcBody),
}

/// What an open call counts as, until it is dropped.
pub(crate) struct Held {
    /// Streams are counted, and bounded for each caller, by themselves.
    _open: Option<Open>,
    _slot: Option<Slot>,
    /// What the service may have sent of the answer to a request.
    _untaken: Option<Permit>,
}

/// A call that its service answers.
pub(crate) struct Begun {
    pub(crate) response: http::Response<GrpcBody>,
    /// Whether nobody knows what it did when its answer is lost.
    pub(crate) writes: bool,
    /// When its time is over, if that is known.
    pub(crate) deadline: Option<Instant>,
    /// Whether its client has said so.
    pub(super) is_asked: bool,
    /// Whether one of the sides streams.
    pub(super) streams: bool,
    /// Until when the token of its caller lets them in, where one of the sides streams.
    pub(super) validity: Option<Validity>,
    pub(crate) held: Held,
}

impl Begun {
    /// The same, with an answer whose messages are in this form.
    pub(crate) fn in_form(self, called: &Arc<Called>, form: Form) -> Self {
        let response = self.response.map(|body| Answer::of(body, called, form).frames());
        Self { response, ..self }
    }
}

/// Passes a call on.
///
/// # Errors
/// Why it is not let in, what is wrong with its message, or why there is no answer.
pub(crate) async fn forward(asked: Asked<'_>, standing: &mut Option<Standing>) -> Result<Begun, Fault> {
    let Asked { edge, client, called, head, sent } = asked;
    let (begun, time) = (Instant::now(), time(&head.headers));
    let bounded = time.unwrap_or(edge.config.request_timeout).min(LONGEST);
    // Of a stream its client knows how long it lasts, whatever its service does. What is read before has the time of a request all the same.
    let own = if called.streams { time } else { Some(bounded) };
    let (deadline, beginning) = (own.map(|own| begun + own), begun + bounded);
    let method = head.uri.path();
    let by = (method, called.rule.as_ref());
    let admitted = within(beginning, edge.admission.admit(client, &head.headers, by, standing)).await??;
    let Admitted { who, validity } = admitted;
    let validity = validity.filter(|_| called.streams);
    let open = called.streams.then(|| edge.admission.streams.open(&who, method)).transpose()?;
    // What its client says travels as it is spelled, within the bound.
    let request = outgoing(head, own.filter(|_| !called.streams && time != own), time.is_some());
    check_length(request.headers())?;
    let writes = !called.streams && !called.is_safe;
    let passed = async {
        // A message comes before anything is taken for its call: clients that send slowly would take the slots of all others, and their
        // places on the connections to the service.
        let body = match sent {
            Sent::Stream(body) => GrpcBody::new(body.map_frame(convert::identity)),
            Sent::Message(message) => {
                GrpcBody::new(Full::new(within(beginning, message).await??.until_taken()))
            }
        };
        let slot = open.is_none().then(|| edge.admission.slot(called.service(), &who)).transpose()?;
        let outcome = within(deadline, called.upstream.pass(request.map(|()| body), called.streams)).await?;
        let response = outcome.map_err(|status| fault(&status, writes))?;
        // Not before: what waits for its service has nothing to be taken.
        let untaken = slot.is_some().then(|| client.answers.count(UNTAKEN));
        Ok::<_, Fault>((response, Held { _open: open, _slot: slot, _untaken: untaken }))
    };
    let (response, held) = if called.streams {
        let mut over = Over::first(None, validity.clone());
        tokio::select! {
            biased;
            // One whose client sends has no answer yet that could end.
            () = edge.ending.stopping.cancelled() => return Err(stopping()),
            ended = Over::wait(&mut over) => return Err(ended),
            passed = passed => passed?,
        }
    } else {
        passed.await?
    };
    if response.status() != StatusCode::OK && !response.headers().contains_key(Status::GRPC_STATUS) {
        return Err(fault(&of_http(response.status()), writes));
    }
    let (is_asked, streams) = (time.is_some(), called.streams);
    Ok(Begun { response, writes, deadline, is_asked, streams, validity, held })
}

/// How long a client waits, when that can be read.
fn time(headers: &HeaderMap) -> Option<Duration> {
    headers.get(GRPC_TIMEOUT).and_then(|time| deadline::parse(time.to_str().ok()?))
}

/// The head of a request as the service gets it, with the `time` that it has where its client does not say it, or says it in a way that
/// cannot be read.
fn outgoing(head: Parts, time: Option<Duration>, is_readable: bool) -> http::Request<()> {
    let mut outgoing = http::Request::new(());
    *outgoing.method_mut() = head.method;
    *outgoing.version_mut() = Version::HTTP_2;
    *outgoing.uri_mut() = head.uri.into_parts().path_and_query.map(Uri::from).unwrap_or_default();
    *outgoing.headers_mut() = head.headers;
    let headers = outgoing.headers_mut();
    headers::remove_hops(headers);
    for name in LEFT_OUT {
        headers.remove(name);
    }
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    if let Some(own) = trace::onward(None).and_then(|own| HeaderValue::from_str(&own).ok()) {
        headers.insert(trace::TRACEPARENT, own);
    }
    if !is_readable {
        headers.remove(GRPC_TIMEOUT);
    }
    if let Some(time) = time {
        headers.insert(GRPC_TIMEOUT, grpc_timeout(time));
    }
    outgoing
}
