//! Calls whose client sends a stream: as lines of a body, whose answer is one message or a stream, or as frames of a WebSocket.

use std::{pin::pin, sync::Arc};

use auth::Validity;
use axum::{body::Body, response::Response};
use bytes::Bytes;
use chassis::status::Fault;
use futures_util::FutureExt as _;
use http::{HeaderMap, request::Parts};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use upstream::{Answer, Call, Tried};

use super::{
    feed::Feed,
    feeding::Feeding,
    frames,
    framing::Framing,
    lines::{self, Encoder, Lines},
    over::Over,
    socket,
};
use crate::{
    admit::{Client, Open},
    answer::{
        outcome, payload,
        problem::{Problem, Style},
    },
    contract::{Captures, Served},
    edge::Edge,
    request::{body::BodyLimit, deadline::within, headers},
};

/// Messages of a client that wait for the service.
const WAITING: usize = 1;

/// A request whose client streams.
pub(crate) struct Asked {
    pub(crate) parts: Parts,
    pub(crate) body: Body,
    pub(crate) captures: Captures,
    pub(crate) open: Open,
    pub(crate) client: Client,
    /// Until when the token of its client lets them in.
    pub(crate) validity: Option<Validity>,
}

/// Makes the call, and answers.
///
/// # Errors
/// What ends it before its answer begins.
pub(crate) async fn answer(
    edge: &Edge,
    served: &Arc<Served>,
    asked: Asked,
    style: &Style,
) -> Result<Response, Problem> {
    let Asked { mut parts, body, captures, open, client, validity } = asked;
    headers::check_conditions(&parts.headers)?;
    let socket = socket::asked(&edge.config.cors_origins, &mut parts)?;
    let time = headers::request_timeout(&parts.headers)?;
    let deadline = Instant::now() + time.unwrap_or(edge.config.request_timeout);
    let encoder = Encoder::new(served, captures, &parts, edge.config.lenient);
    let (messages, taken) = mpsc::channel(WAITING);
    // Of a stream the edge knows no end, unless the client does.
    let until = (!served.route.rpc.streaming || time.is_some()).then_some(deadline);
    let until = until.filter(|_| socket.is_none() || time.is_some());
    let call = call(Arc::clone(served), parts.headers.clone(), until, taken);
    if let Some(socket) = socket {
        let talk = socket::Talk {
            served: Arc::clone(served),
            call: call.boxed(),
            messages: Some(messages),
            encoder,
            style: style.clone(),
            over: Over::first(until, validity),
            account: client.answers,
            bodies: client.bodies,
            most: edge.config.max_body_bytes,
            _open: open,
        };
        return Ok(talk.into_response(edge.config.idle_timeout, &edge.ending, socket));
    }
    let raw = served.route.raw_body;
    lines::check(&parts.headers, raw).map_err(|problem| *problem)?;
    let limit = BodyLimit { each: edge.config.max_body_bytes, account: client.bodies };
    let lines = Lines::of(body, &limit, raw);
    let mut feeding = Feeding::of(lines::feed(lines, encoder, messages));
    // Of a stream that lasts as long as it lasts, the beginning has a time.
    let mut over = Over::first(Some(deadline), validity.clone());
    let stopping = &edge.ending.stopping;
    let answered = beside(call, &mut feeding, &mut over, stopping).await?;
    let failed = |status: Status| outcome::of_write(&status, &served.route, false);
    let Answer { mut body, .. } = answered.map_err(failed)?;
    if served.route.rpc.streaming {
        let feed = Feed {
            served: Arc::clone(served),
            messages: body,
            feeding,
            framing: Framing::of(&parts.headers, &served.route),
            style: style.clone(),
            complete: false,
            over: Over::first(until, validity),
            stopping: stopping.clone(),
            account: client.answers,
            _open: Some(open),
        };
        return within(deadline, frames::response(feed)).await?;
    }
    match beside(only(&mut body), &mut feeding, &mut over, stopping).await? {
        Ok(Some(wire)) => Ok(within(deadline, one(served, wire)).await??),
        Ok(None) => Err(Problem::internal(&Status::internal("the response has no message"))),
        Err(status) => Err(failed(status)),
    }
}

/// The one message of an answer. It counts when the status behind it says that all went well.
async fn only(body: &mut Streaming<Bytes>) -> Result<Option<Bytes>, Status> {
    let message = body.message().await?;
    if message.is_some() && body.message().await?.is_some() {
        return Err(Status::internal("the response has more than one message"));
    }
    Ok(message)
}

/// The answer with this message.
async fn one(served: &Served, wire: Bytes) -> Result<Response, Fault> {
    if served.route.raw_response {
        let payload = transcode::response_payload(&served.route, &wire);
        return Ok(payload::bytes(payload.map_err(payload::unprintable)?));
    }
    Ok(payload::json(payload::decoded(&served.route, wire).await?.json.into()))
}

/// The call, with the messages that are `taken`.
async fn call(
    served: Arc<Served>,
    headers: HeaderMap,
    deadline: Option<Instant>,
    taken: mpsc::Receiver<Bytes>,
) -> Result<Answer<Streaming<Bytes>>, Status> {
    let tried = Tried::default();
    let call = Call { deadline, ..served.call(&tried, &headers) };
    call.both(ReceiverStream::new(taken)).await
}

/// What comes of `work` while the client sends, unless it is over before, or the edge stops while the client still sends: what was sent whole
/// is answered. An error of the client's ends it.
async fn beside<T>(
    work: impl Future<Output = T>,
    feeding: &mut Feeding,
    over: &mut Option<Over>,
    stopping: &CancellationToken,
) -> Result<T, Problem> {
    let (mut work, mut over) = (pin!(work), pin!(Over::wait(over)));
    loop {
        let goes_on = feeding.goes_on();
        tokio::select! {
            biased;
            fault = over.as_mut() => return Err(fault.into()),
            sent = feeding.end() => sent?,
            done = work.as_mut() => return Ok(done),
            () = stopping.cancelled(), if goes_on => return Err(Problem::stopping()),
        }
    }
}
