//! How a connection is opened, and kept: TCP, TLS where the URL says so, HTTP/2, and pings.

use std::{error::Error, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use chassis::tls::ClientTls;
use h2::{
    Ping, PingPong,
    client::{Builder, Connection, SendRequest},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, pki_types::ServerName},
};

use crate::{error::distrust, metrics};

/// A host that swallows packets is given up after this time, and one that never ends the handshake of TLS.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A dead connection is noticed within the sum of both, also while nothing is called. Well within the usual time of a request: what
/// is left of it is for another endpoint.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(4);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the service may send before it has to wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    /// On one call, in bytes.
    stream: u32,
    /// On all calls of a connection together, in bytes.
    connection: u32,
}

impl Windows {
    /// For calls whose answers are taken at once: a large response in one go, and several of them.
    pub(super) const CALLS: Self = Self { stream: 2 << 20, connection: 5 << 20 };
    /// For calls whose clients may not take their answers: each has its own window, the usual one of HTTP/2, and no common one that a few
    /// of them could close for the others (2^31-1 is the largest there is).
    pub(super) const STREAMS: Self = Self { stream: 65_535, connection: i32::MAX as u32 };
}

/// Longest head of a response, and longest trailers: more than a service can make of the longest request that it quotes. Beyond four times
/// this size the connection itself would be given up, and every call on it.
const MAX_HEADER_LIST_BYTES: u32 = 4 << 20;

/// Requests at once until the service has said how many it takes.
pub(super) const FIRST_MAX_STREAMS: usize = 100;

/// The protocol that a service has to choose (RFC 9113, section 3.2).
const ALPN: &[u8] = b"h2";

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// How a service proves who it is, and what it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    tls: ClientTls,
    name: ServerName<'static>,
}

impl Tls {
    /// For a host with a certificate of its own name.
    ///
    /// # Errors
    /// There is no certificate for such a host, or TLS cannot be set up.
    pub(crate) fn new(host: String, tls: ClientTls) -> Result<Self, BoxError> {
        tls.config()?;
        Ok(Self { tls, name: ServerName::try_from(host)? })
    }

    async fn connect(self, stream: TcpStream) -> Result<TlsStream<TcpStream>, BoxError> {
        // As it is now: files of certificates change.
        let connector = TlsConnector::from(self.tls.config()?);
        let stream = connector.with_alpn(vec![ALPN.to_vec()]).connect(self.name, stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(rustls::Error::NoApplicationProtocol.into());
        }
        Ok(stream)
    }
}

/// Opens a connection, and spawns the task that keeps it until it breaks, or until nobody can call any more. One that fails for a certificate
/// counts once, however many calls wait for it.
///
/// # Errors
/// What kept it from being opened.
pub(super) async fn open(
    address: SocketAddr,
    tls: Option<Tls>,
    windows: Windows,
) -> Result<SendRequest<Bytes>, BoxError> {
    let outcome = opened(address, tls, windows).await;
    if let Some(found) = outcome.as_ref().err().and_then(|error| distrust(&**error)) {
        metrics::distrusted(found);
    }
    outcome
}

async fn opened(
    address: SocketAddr,
    tls: Option<Tls>,
    windows: Windows,
) -> Result<SendRequest<Bytes>, BoxError> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return begin(stream, windows, false).await };
    let stream = timeout(CONNECT_TIMEOUT, tls.connect(stream)).await??;
    timeout(CONNECT_TIMEOUT, begin(stream, windows, true)).await?
}

/// Opens a connection as it would be opened for calls, and closes it again.
///
/// # Errors
/// What kept it from being opened.
pub(crate) async fn try_out(address: SocketAddr, tls: Tls) -> Result<(), BoxError> {
    open(address, Some(tls), Windows::CALLS).await.map(drop)
}

/// Begins HTTP/2. With TLS 1.3 (RFC 8446, section 4.4.2.4) who is refused for its certificate learns so with the first thing that it reads: `asks` waits
/// for an answer before anything is called, as nobody would know whether that call was made.
async fn begin<S>(stream: S, windows: Windows, asks: bool) -> Result<SendRequest<Bytes>, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(windows.stream)
        .initial_connection_window_size(windows.connection)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .initial_max_send_streams(FIRST_MAX_STREAMS);
    let (requests, mut connection) = builder.handshake(stream).await?;
    let mut pings = connection.ping_pong().ok_or_else(|| io::Error::other("the pings are taken"))?;
    if asks {
        tokio::select! {
            outcome = &mut connection => {
                outcome?;
                return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
            }
            pong = pings.ping(Ping::opaque()) => { let _pong = pong?; }
        }
    }
    tokio::spawn(keep(connection, pings));
    Ok(requests)
}

/// Reads and writes until the end. With the connection all calls on it fail.
async fn keep<S: AsyncRead + AsyncWrite + Unpin>(connection: Connection<S>, pings: PingPong) {
    tokio::select! {
        biased;
        outcome = connection => {
            if let Err(error) = outcome {
                tracing::debug!(%error, "a connection to a service broke");
            }
        }
        () = silence(pings) => tracing::debug!("a service does not answer pings"),
    }
}

/// Comes back when a ping is not answered in time.
async fn silence(mut pings: PingPong) {
    loop {
        sleep(KEEP_ALIVE_INTERVAL).await;
        match timeout(KEEP_ALIVE_TIMEOUT, pings.ping(Ping::opaque())).await {
            Ok(Ok(_pong)) => {}
            // The connection says by itself that it broke.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => return,
        }
    }
}
