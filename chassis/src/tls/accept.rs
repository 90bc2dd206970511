//! The beginning of a connection: its handshake, and what is said to who begins otherwise.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use serde_json::json;

use crate::status::{DOMAIN, Reason, code_name};

use super::{
    clients::noting,
    refusal::{Refusal, Reports},
    server::{Protocols, Server, ServerTls},
    stream::Stream,
};

/// How a connection with TLS begins: with a record of the type `handshake` (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

/// What is said to a client of plain HTTP, as an error object like any other. It is not sent to `https://`: what it has sent, a token perhaps,
/// everybody on the way has read, and with a redirection nobody would notice.
fn plain() -> String {
    let message = "this port speaks TLS: plain HTTP was sent to HTTPS here";
    let reason = Reason::MalformedRequest;
    let info = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason.as_str(), "domain": DOMAIN, "metadata": {},
    });
    let error = json!({
        "code": reason.http().as_u16(), "status": code_name(reason.code()), "message": message, "details": [info],
    });
    let body = json!({ "error": error }).to_string();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// How long a client may take to read why it is refused, and how much it may send meanwhile: a connection that is closed with bytes unread
/// is reset, and its client would lose the reason.
const LAST_WORDS: Duration = Duration::from_secs(1);
const MAX_UNREAD: u64 = 64 << 10;

/// Begins the connections of a listener. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Acceptor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tls: ServerTls,
    reports: Reports,
    protocols: Protocols,
    patience: Duration,
}

impl Acceptor {
    /// For the listener of this name, as metrics have it. A handshake may take so long.
    #[must_use]
    pub fn new(
        tls: ServerTls,
        listener: impl Into<String>,
        protocols: Protocols,
        patience: Duration,
    ) -> Self {
        let reports = Reports::new(listener.into());
        if tls.is_on() {
            reports.begin();
        }
        Self(Arc::new(Inner { tls, reports, protocols, patience }))
    }

    /// The connection once its handshake is done, which is at once where there is no TLS. `None` when there is no connection, or the listener
    /// stops before.
    pub async fn accept(
        &self,
        stream: TcpStream,
        client: SocketAddr,
        stop: &CancellationToken,
    ) -> Option<Stream> {
        let Some(server) = self.0.tls.current() else { return Some(Stream::Plain(stream)) };
        // In a box, so that connections without TLS take no room for it.
        let handshake = Box::pin(timeout(self.0.patience, self.handshake(&server, stream, client)));
        let outcome = tokio::select! {
            outcome = handshake => outcome,
            () = stop.cancelled() => return None,
        };
        outcome.unwrap_or_else(|elapsed| {
            self.0.reports.note(Refusal::Timeout, client, &elapsed, None);
            None
        })
    }

    async fn handshake(&self, server: &Server, stream: TcpStream, client: SocketAddr) -> Option<Stream> {
        let refuse = |refusal: Refusal, error: &io::Error| self.0.reports.note(refusal, client, error, None);
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(1) if first[0] == HANDSHAKE => {}
            Ok(1) if first[0].is_ascii_uppercase() => {
                refuse(Refusal::PlainHttp, &io::Error::other("plain HTTP"));
                end(stream, plain().as_bytes()).await;
                return None;
            }
            Ok(_) => {
                refuse(Refusal::Handshake, &io::Error::other("no handshake of TLS"));
                return None;
            }
            Err(error) => {
                refuse(Refusal::Handshake, &error);
                return None;
            }
        }
        let acceptor = TlsAcceptor::from(server.config(self.0.protocols));
        let (outcome, subject) = noting(acceptor.accept(stream).into_fallible()).await;
        match outcome {
            Ok(stream) => Some(Stream::Tls(Box::new(stream))),
            Err((error, stream)) => {
                self.0.reports.note(Refusal::of(&error), client, &error, subject.as_deref());
                end(stream, &[]).await;
                None
            }
        }
    }
}

/// Ends a connection so that its client can read what was sent, and these bytes.
async fn end(mut stream: TcpStream, bytes: &[u8]) {
    let ended = async {
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_UNREAD), &mut tokio::io::sink()).await
    };
    let _gone_already = timeout(LAST_WORDS, ended).await;
}
