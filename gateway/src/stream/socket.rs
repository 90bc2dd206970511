//! A stream as a WebSocket (RFC 6455), for pages: a text frame a message, and a code at the end.

mod end;
mod talk;

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use chassis::status::{Fault, Reason, Violation};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::server::create_response_with_body,
        protocol::{Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use transcode::Route;

use self::end::{End, WebSocket, end, failed, goodbye, unreadable};
pub(crate) use self::talk::Talk;
use super::feed::{Feed, Step};
use crate::{
    admit::{
        Account, Connected, Unread,
        activity::{OVERHEAD, patience},
        cors,
    },
    answer::payload,
    edge::Ending,
};

/// Longest message from a client, in bytes; none means anything.
const MAX_MESSAGE_BYTES: usize = 4 << 10;

/// A WebSocket that a client has asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The answer to its handshake.
    response: Response,
    upgrade: OnUpgrade,
    connected: Option<Connected>,
    unread: Option<Unread>,
}

/// The WebSocket that a request asks for, if it does.
///
/// # Errors
/// ORIGIN_NOT_ALLOWED for pages of other origins: browsers leave this check to the server. MALFORMED_REQUEST when the handshake is
/// not one.
pub(crate) fn asked(cors_origins: &[String], parts: &mut Parts) -> Result<Option<Asked>, Fault> {
    let protocol = parts.headers.get(header::UPGRADE);
    if !protocol.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        return Ok(None);
    }
    if let Some(origin) = parts.headers.get(header::ORIGIN)
        && !is_same(origin, &parts.headers)
        && !cors::allows(cors_origins, origin)
    {
        return Err(Fault::new(Reason::OriginNotAllowed, "pages of this origin may not read this"));
    }
    let (connected, unread) = (parts.extensions.remove::<Connected>(), parts.extensions.remove::<Unread>());
    join_lines(&mut parts.headers, &header::CONNECTION);
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    match create_response_with_body(&Request::from_parts(parts.clone(), ()), Body::empty) {
        Ok(response) => {
            let upgrade = upgrade.ok_or_else(|| no_handshake("this connection cannot become one"))?;
            Ok(Some(Asked { response, upgrade, connected, unread }))
        }
        Err(error) => Err(no_handshake(error)),
    }
}

fn no_handshake(problem: impl ToString) -> Fault {
    let violation = Violation { field: header::UPGRADE.to_string(), description: problem.to_string() };
    let fault = Fault::new(Reason::MalformedRequest, "this is no handshake of a WebSocket");
    Fault { violations: vec![violation], ..fault }
}

impl Asked {
    /// The answer that turns the connection into a WebSocket, whose client sends messages of so many bytes at most, which are read in parts of so
    /// many; and what goes on it then.
    fn answer<F>(
        self,
        most: usize,
        part: usize,
        run: impl FnOnce(WebSocket) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let config = WebSocketConfig::default().read_buffer_size(part);
        let config = config.max_message_size(Some(most)).max_frame_size(Some(most));
        let upgrade = self.upgrade;
        tokio::spawn(async move {
            // A client that leaves before has no use for one.
            if let Ok(upgraded) = upgrade.await {
                let upgraded = TokioIo::new(upgraded);
                run(WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await).await;
            }
        });
        self.response
    }
}

/// Several lines of a list are one list (RFC 9110, section 5.3); the library looks at the first line only.
fn join_lines(headers: &mut HeaderMap, name: &HeaderName) {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(line) = HeaderValue::from_bytes(&lines.join(&b", "[..]))
    {
        headers.insert(name, line);
    }
}

/// Whether the page comes from this edge itself. What ends TLS in front of it changes the scheme, not the host.
fn is_same(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    origin.as_ref().and_then(Uri::authority).zip(host).is_some_and(|(origin, host)| origin.as_str() == host)
}

/// The answer that turns the connection into a WebSocket, on which the stream then goes. It keeps its permit among the connections,
/// and the edge waits for its end.
pub(crate) fn response(feed: Feed, ending: &Ending, idle: Duration, mut asked: Asked) -> Response {
    let held = (asked.connected.take(), ending.sockets.token());
    asked.answer(MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES, async move |socket| {
        let _held = held;
        run(feed, socket, idle).await;
    })
}

async fn run(mut feed: Feed, mut socket: WebSocket, idle: Duration) {
    let Some(ended) = until_end(&mut feed, &mut socket, idle).await else { return };
    // The service need not wait for a client to say goodbye.
    drop(feed);
    goodbye(socket, ended).await;
}

/// Sends until there is no more to send; `None` when the client has gone.
async fn until_end(feed: &mut Feed, socket: &mut WebSocket, idle: Duration) -> Option<End> {
    loop {
        let step = tokio::select! {
            step = feed.step() => step,
            received = socket.next() => match received? {
                // The library answers pings.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                Ok(Message::Text(_) | Message::Binary(_)) => {
                    return Some(end(None, CloseCode::Unsupported, "this stream takes no messages"));
                }
                Ok(Message::Close(_)) => return Some(End::closed()),
                Err(error) => return unreadable(&error, MAX_MESSAGE_BYTES, &feed.style),
            },
        };
        let message = match step {
            Step::Message(wire) => match message(&feed.served.route, wire, &feed.account).await {
                Ok(message) => message,
                Err(fault) => return Some(failed(&feed.stopping, &feed.style, &fault.into())),
            },
            Step::Silence => Message::Ping(Bytes::new()),
            Step::End => return Some(end(None, CloseCode::Normal, "")),
            Step::Failed(problem) => return Some(failed(&feed.stopping, &feed.style, &problem)),
        };
        tokio::select! {
            sent = send(socket, message, &feed.account, idle) => sent?,
            // A client that does not read is not waited for.
            () = feed.stopping.cancelled() => return None,
        }
    }
}

/// A message as a frame, if there is room for it.
async fn message(route: &Arc<Route>, wire: Bytes, account: &Account) -> Result<Message, Fault> {
    if route.raw_response {
        let data = transcode::response_payload(route, &wire).map_err(payload::unprintable)?.data;
        account.check(data.len())?;
        return Ok(Message::Binary(data));
    }
    let json = payload::decoded(route, wire).await?.json;
    account.check(json.len())?;
    Ok(Message::Text(Utf8Bytes::try_from(json).map_err(|error| Fault::internal(&error))?))
}

/// Sends a frame, which counts until it is written; `None` when the client has gone, or takes it too slowly.
async fn send(
    socket: &mut WebSocket,
    message: Message,
    account: &Arc<Account>,
    idle: Duration,
) -> Option<()> {
    let bytes = match &message {
        Message::Text(text) => text.len(),
        Message::Binary(data) => data.len(),
        _ => 0,
    };
    let _permit = account.count(bytes + OVERHEAD);
    timeout(patience(idle, bytes), socket.send(message)).await.ok()?.ok()
}
