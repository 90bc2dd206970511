//! A stream as a WebSocket (RFC 6455), for pages: a text frame a message, and a code at the end.

mod talk;

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{
        FromRequestParts as _, WebSocketUpgrade,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code},
    },
    response::Response,
};
use bytes::Bytes;
use chassis::status::{Fault, Reason, Violation};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request::Parts};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use transcode::{ResponseError, Route};

pub(crate) use self::talk::Talk;
use super::{
    feed::{Feed, Step},
    framing::error_line,
};
use crate::{
    admit::{
        Account, Connected, Unread,
        activity::{OVERHEAD, patience},
        cors,
    },
    answer::{
        payload::unprintable,
        problem::{Problem, Style},
    },
    edge::Ending,
};

/// Longest message from a client, in bytes; none means anything.
const MAX_MESSAGE_BYTES: usize = 4 << 10;

/// Longest reason of a close (RFC 6455, section 5.5), in bytes.
const MAX_REASON_BYTES: usize = 123;

/// How long a client may take to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A WebSocket that a client has asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    upgrade: WebSocketUpgrade,
    connected: Option<Connected>,
    unread: Option<Unread>,
}

/// The WebSocket that a request asks for, if it does.
///
/// # Errors
/// ORIGIN_NOT_ALLOWED for pages of other origins: browsers leave this check to the server. MALFORMED_REQUEST when the handshake is
/// not one.
pub(crate) async fn asked(cors_origins: &[String], parts: &mut Parts) -> Result<Option<Asked>, Problem> {
    let protocol = parts.headers.get(header::UPGRADE);
    if !protocol.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        return Ok(None);
    }
    if let Some(origin) = parts.headers.get(header::ORIGIN)
        && !is_same(origin, &parts.headers)
        && !cors::allows(cors_origins, origin)
    {
        return Err(Fault::new(Reason::OriginNotAllowed, "pages of this origin may not read this").into());
    }
    let (connected, unread) = (parts.extensions.remove::<Connected>(), parts.extensions.remove::<Unread>());
    join_lines(&mut parts.headers, &header::CONNECTION);
    match WebSocketUpgrade::from_request_parts(parts, &()).await {
        Ok(upgrade) => Ok(Some(Asked { upgrade, connected, unread })),
        Err(rejection) => {
            let violation =
                Violation { field: header::UPGRADE.to_string(), description: rejection.body_text() };
            let fault = Fault::new(Reason::MalformedRequest, "this is no handshake of a WebSocket");
            Err(Fault { violations: vec![violation], ..fault }.into())
        }
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
pub(crate) fn response(
    feed: Feed,
    ending: &Ending,
    idle: Duration,
    Asked { upgrade, connected, .. }: Asked,
) -> Response {
    let token = ending.sockets.token();
    upgrade
        .read_buffer_size(MAX_MESSAGE_BYTES)
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .on_upgrade(async move |socket| {
            let _held = (connected, token);
            run(feed, socket, idle).await;
        })
}

/// How a stream ends: what the client gets last, and the code, unless the client has closed: the library answers that.
struct End {
    last: Option<Message>,
    close: Option<CloseFrame>,
}

impl End {
    /// The client has closed. Its close is answered (RFC 6455, section 5.5.1).
    const fn closed() -> Self {
        Self { last: None, close: None }
    }
}

async fn run(mut feed: Feed, mut socket: WebSocket, idle: Duration) {
    let Some(ended) = until_end(&mut feed, &mut socket, idle).await else { return };
    // The service need not wait for a client to say goodbye.
    drop(feed);
    goodbye(socket, ended).await;
}

async fn goodbye(mut socket: WebSocket, End { last, close }: End) {
    let goodbye = async {
        for message in last.into_iter().chain(close.map(|close| Message::Close(Some(close)))) {
            socket.send(message).await?;
        }
        // A connection that is cut before the client has answered may lose what was sent.
        while let Some(Ok(_)) = socket.recv().await {}
        Ok::<_, axum::Error>(())
    };
    let _closed = timeout(CLOSE_TIMEOUT, goodbye).await;
}

/// Sends until there is no more to send; `None` when the client has gone.
async fn until_end(feed: &mut Feed, socket: &mut WebSocket, idle: Duration) -> Option<End> {
    loop {
        let step = tokio::select! {
            step = feed.step() => step,
            received = socket.recv() => match received? {
                // The library answers pings.
                Ok(Message::Ping(_) | Message::Pong(_)) => continue,
                Ok(Message::Text(_) | Message::Binary(_)) => {
                    return Some(end(None, close_code::UNSUPPORTED, "this stream takes no messages"));
                }
                Ok(Message::Close(_)) => return Some(End::closed()),
                Err(_) => return None,
            },
        };
        let message = match step {
            Step::Message(wire) => match message(&feed.served.route, wire, &feed.account) {
                Ok(message) => message,
                Err(problem) => return Some(failed(&feed.stopping, &feed.style, &problem)),
            },
            Step::Silence => Message::Ping(Bytes::new()),
            Step::End => return Some(end(None, close_code::NORMAL, "")),
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
fn message(route: &Route, wire: Bytes, account: &Account) -> Result<Message, Box<Problem>> {
    let failed = |error: ResponseError| Box::new(Problem::from(unprintable(&error)));
    let check = |bytes| account.check(bytes).map_err(|fault| Box::new(Problem::from(fault)));
    if route.raw_response {
        let data = transcode::response_payload(route, &wire).map_err(failed)?.data;
        check(data.len())?;
        return Ok(Message::Binary(data));
    }
    let json = transcode::response_to_json(route, wire).map_err(failed)?.json;
    check(json.len())?;
    Ok(Message::Text(Utf8Bytes::try_from(json).map_err(|error| Box::new(Problem::internal(&error)))?))
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

fn failed(stopping: &CancellationToken, style: &Style, problem: &Problem) -> End {
    let code = if stopping.is_cancelled() { close_code::AWAY } else { close_code::ERROR };
    let last = Message::text(error_line(problem, style));
    end(Some(last), code, problem.reason())
}

fn end(last: Option<Message>, code: u16, reason: &str) -> End {
    let reason = if reason.len() > MAX_REASON_BYTES { "" } else { reason };
    End { last, close: Some(CloseFrame { code, reason: reason.into() }) }
}
