//! How a WebSocket ends: what its client gets last, and the code that says why (RFC 6455, sections 7.1.7 and 7.4.1).

use std::{io, time::Duration};

use chassis::status::{Fault, Reason};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Error, Message,
        error::ProtocolError,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    answer::problem::{Problem, Style},
    request::body::{MOST_DISCARDED, too_large},
    stream::framing::error_line,
};

/// Longest reason of a close (RFC 6455, section 5.5), in bytes.
const MAX_REASON_BYTES: usize = 123;

/// How long a client may take to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that has become a WebSocket.
pub(super) type WebSocket = WebSocketStream<TokioIo<Upgraded>>;

/// How a stream ends: what the client gets last, and the code, unless the client has closed: the library answers that.
pub(super) struct End {
    last: Option<Message>,
    close: Option<CloseFrame>,
    /// Whether nothing that still comes can be read.
    pub(super) is_unreadable: bool,
}

impl End {
    /// The client has closed. Its close is answered (RFC 6455, section 5.5.1).
    pub(super) const fn closed() -> Self {
        Self { last: None, close: None, is_unreadable: false }
    }
}

/// The end with an error, of the service or of this edge.
pub(super) fn failed(stopping: &CancellationToken, style: &Style, problem: &Problem) -> End {
    let code = if stopping.is_cancelled() { CloseCode::Away } else { CloseCode::Error };
    with_error(code, style, problem)
}

/// The end with an error as the last message.
fn with_error(code: CloseCode, style: &Style, problem: &Problem) -> End {
    end(Some(Message::text(error_line(problem, style))), code, problem.reason())
}

/// The end with this code and reason, after a last message if there is one.
pub(super) fn end(last: Option<Message>, code: CloseCode, reason: &str) -> End {
    let reason = if reason.len() > MAX_REASON_BYTES { "" } else { reason };
    End { last, close: Some(CloseFrame { code, reason: reason.into() }), is_unreadable: false }
}

/// How a stream ends whose client sends what cannot be read, with messages of so many bytes at most; `None` when it has gone.
pub(super) fn unreadable(error: &Error, most: usize, style: &Style) -> Option<End> {
    let malformed = |problem: String| Fault::new(Reason::MalformedRequest, problem);
    let (code, fault) = match error {
        Error::Capacity(_) => (CloseCode::Size, too_large(most)),
        Error::Utf8(_) => (CloseCode::Invalid, malformed("the text of a frame is not UTF-8".to_owned())),
        Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::ReceivedAfterClosing,
        ) => {
            return None;
        }
        Error::Protocol(problem) => (CloseCode::Protocol, malformed(problem.to_string())),
        _ => return None,
    };
    Some(End { is_unreadable: true, ..with_error(code, style, &fault.into()) })
}

/// Says that no more will be sent, and throws away what still comes, within bounds. A connection that is closed with bytes unread is reset, and a
/// client that is still sending would lose the reason. Frames are not looked for: nobody knows where the next one begins.
async fn discard(connection: &mut TokioIo<Upgraded>) -> io::Result<()> {
    connection.shutdown().await?;
    copy(&mut connection.take(MOST_DISCARDED), &mut sink()).await.map(drop)
}

/// Sends what is left, and gives the client time to take it.
pub(super) async fn goodbye(mut socket: WebSocket, End { last, close, is_unreadable }: End) {
    let goodbye = async {
        for message in last.into_iter().chain(close.map(|close| Message::Close(Some(close)))) {
            socket.send(message).await?;
        }
        // A connection that is cut before the client has answered may lose what was sent.
        if is_unreadable {
            discard(socket.get_mut()).await?;
        }
        while let Some(Ok(_)) = socket.next().await {}
        Ok::<_, tungstenite::Error>(())
    };
    let _closed = timeout(CLOSE_TIMEOUT, goodbye).await;
}
