//! A WebSocket both ways: a text frame of the client is a message, and an empty one says that no more will come.

use std::{sync::Arc, time::Duration};

use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{self, Message, protocol::frame::coding::CloseCode};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use transcode::Route;
use upstream::Answer;

use super::{
    Asked,
    end::{End, WebSocket, end, failed, goodbye, unreadable},
    message, send,
};
use crate::{
    admit::{Account, Open, Unread},
    answer::problem::{Problem, Style},
    contract::Served,
    edge::Ending,
    messages::envelope::enveloped,
    request::body::Received,
    stream::{
        feed::{Feed, Step},
        feeding::Feeding,
        framing::Framing,
        lines::Encoder,
        over::Over,
    },
};

type Call = BoxFuture<'static, Result<Answer<Streaming<Bytes>>, Status>>;

/// A call that is about to be made, with what its client sends.
pub(crate) struct Talk {
    pub(crate) served: Arc<Served>,
    pub(crate) call: Call,
    /// `None` once the client has sent all.
    pub(crate) messages: Option<mpsc::Sender<Bytes>>,
    pub(crate) encoder: Encoder,
    pub(crate) style: Style,
    /// When it is over, if it has an end; once its service has answered that is with its feed.
    pub(crate) over: Option<Over>,
    /// What its client may make the edge keep.
    pub(crate) account: Arc<Account>,
    /// The same of what it sends.
    pub(crate) bodies: Arc<Account>,
    /// The longest message of its client, in bytes.
    pub(crate) most: usize,
    /// Its permit among the streams.
    pub(crate) _open: Open,
}

/// What is read of a connection at a time: each has so much room for it.
const READ_BYTES: usize = 8 << 10;

/// The answer of the service.
enum Answered {
    NotYet(Call),
    Begun(Box<Feed>),
}

/// What the service or the client does.
enum Event {
    Begins(Streaming<Bytes>),
    Goes(Step),
    Comes(Result<Message, tungstenite::Error>),
}

impl Talk {
    /// The answer that turns the connection into a WebSocket. The call is made then: a service may wait for the first message before it
    /// answers.
    pub(crate) fn into_response(self, idle: Duration, ending: &Ending, mut asked: Asked) -> Response {
        let held = (asked.connected.take(), ending.sockets.token());
        let (unread, stopping) = (asked.unread.take().unwrap_or_default(), ending.stopping.clone());
        unread.begin(&self.bodies);
        asked.answer(self.most, READ_BYTES, async move |socket| {
            let _held = held;
            self.run(socket, &unread, stopping, idle).await;
        })
    }

    async fn run(
        mut self,
        mut socket: WebSocket,
        unread: &Unread,
        stopping: CancellationToken,
        idle: Duration,
    ) {
        let call = std::mem::replace(&mut self.call, Box::pin(std::future::pending()));
        let mut answered = Answered::NotYet(call);
        let ended = self.until_end(&mut socket, unread, idle, &stopping, &mut answered).await;
        // The service need not wait for a client to say goodbye.
        drop((self, answered));
        if let Some(ended) = ended {
            if ended.is_unreadable {
                unread.end();
            }
            goodbye(socket, ended).await;
        }
    }

    /// Sends and takes until there is no more; `None` when the client has gone.
    async fn until_end(
        &mut self,
        socket: &mut WebSocket,
        unread: &Unread,
        idle: Duration,
        stopping: &CancellationToken,
        answered: &mut Answered,
    ) -> Option<End> {
        let mut pending: Option<Bytes> = None;
        loop {
            let event = tokio::select! {
                biased;
                () = stopping.cancelled() => Event::Goes(Step::Failed(Problem::stopping())),
                event = next(answered, &self.served.route, &mut self.over) => event,
                permit = permit(&self.messages), if pending.is_some() => {
                    let message = pending.take();
                    // A service that takes no more has answered, or will.
                    if let (Some(permit), Some(message)) = (permit, message) {
                        permit.send(message);
                    }
                    continue;
                }
                fault = unread.refusal() => Event::Goes(Step::Failed(fault.into())),
                frame = socket.next(), if pending.is_none() => Event::Comes(frame?),
            };
            let step = match event {
                Event::Begins(messages) => {
                    *answered = Answered::Begun(Box::new(self.feed(messages, stopping)));
                    continue;
                }
                Event::Comes(Err(error)) => return unreadable(&error, self.most, &self.style),
                Event::Comes(Ok(frame)) => match self.received(frame, unread).await {
                    Ok(message) => {
                        pending = message;
                        continue;
                    }
                    Err(ended) => return Some(*ended),
                },
                Event::Goes(step) => step,
            };
            let message = match step {
                Step::Message(wire) => match message(&self.served.route, wire, &self.account).await {
                    Ok(message) => message,
                    Err(fault) => return Some(failed(stopping, &self.style, &fault.into())),
                },
                Step::Silence => Message::Ping(Bytes::new()),
                Step::End => return Some(end(None, CloseCode::Normal, "")),
                Step::Failed(problem) => return Some(failed(stopping, &self.style, &problem)),
            };
            tokio::select! {
                sent = send(socket, message, &self.account, idle) => sent?,
                // A client that does not read is not waited for.
                () = stopping.cancelled() => return None,
            }
        }
    }

    /// What a frame of the client means: a message to be sent, which counts until the service takes it, nothing, or the end.
    async fn received(&mut self, frame: Message, unread: &Unread) -> Result<Option<Bytes>, Box<End>> {
        let text = match frame {
            Message::Ping(payload) | Message::Pong(payload) => {
                unread.control(payload.len());
                return Ok(None);
            }
            Message::Close(_) => return Err(Box::new(End::closed())),
            // Only who sends makes them.
            Message::Frame(_) => return Ok(None),
            Message::Text(text) => Bytes::from(text),
            Message::Binary(bytes) => bytes,
        };
        let permit = unread.take().unwrap_or_else(|| self.bodies.nothing());
        if self.messages.is_none() {
            let ended = end(None, CloseCode::Policy, "a message after the last one");
            return Err(Box::new(ended));
        }
        if text.is_empty() {
            self.messages = None;
            return Ok(None);
        }
        let wire = self.encoder.message(&text).await.map_err(|problem| broken(&self.style, &problem))?;
        let message = Received::of(text, permit).becomes(enveloped(0, &wire));
        Ok(Some(message.map_err(|fault| broken(&self.style, &fault.into()))?.until_taken()))
    }

    fn feed(&mut self, messages: Streaming<Bytes>, stopping: &CancellationToken) -> Feed {
        Feed {
            served: Arc::clone(&self.served),
            messages,
            feeding: Feeding::default(),
            framing: Framing::Ndjson,
            style: self.style.clone(),
            complete: false,
            over: self.over.take(),
            stopping: stopping.clone(),
            account: Arc::clone(&self.account),
            _open: None,
        }
    }
}

/// What a message of the client ends that is not passed on.
fn broken(style: &Style, problem: &Problem) -> Box<End> {
    Box::new(failed(&CancellationToken::new(), style, problem))
}

async fn next(answered: &mut Answered, route: &Route, over: &mut Option<Over>) -> Event {
    match answered {
        Answered::NotYet(call) => tokio::select! {
            begun = call => match begun {
                Ok(Answer { body, .. }) => Event::Begins(body),
                Err(status) => Event::Goes(Step::Failed(Problem::from_status(&status, route))),
            },
            fault = Over::wait(over) => Event::Goes(Step::Failed(fault.into())),
        },
        Answered::Begun(feed) => Event::Goes(feed.step().await),
    }
}

async fn permit(messages: &Option<mpsc::Sender<Bytes>>) -> Option<mpsc::Permit<'_, Bytes>> {
    messages.as_ref()?.reserve().await.ok()
}
