//! A connection that ends for certain when it is dropped, whatever state the broker is in.

use std::{
    io,
    net::{Shutdown, TcpStream},
    sync::{Arc, OnceLock},
    time::Duration,
};

use lapin::{
    AsyncTcpStream, Channel, Connection, ConnectionProperties,
    options::ConfirmSelectOptions,
    runtime::default_runtime,
    tcp::{AMQPUriTcpExt, RustlsConnector, TLSConfig},
    uri::{AMQPScheme, AMQPUri},
};
use tokio::{runtime::Handle, time::timeout};
use tokio_rustls::rustls::ClientConfig;

use super::refusal::{refused_or_lost, refused_or_not_connected};
use crate::broker::BrokerError;

/// Seconds between heartbeats, unless the URL has others: a silent peer is noticed after twice that.
const HEARTBEAT_SECONDS: u16 = 10;

/// How long the broker may take to answer a close before the socket is shut.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// TLS of a connection, asked when it is opened.
pub(super) type Tls = Arc<dyn Fn() -> io::Result<Arc<ClientConfig>> + Send + Sync>;

/// Checks a URL and completes it.
pub(super) fn parse(url: &str) -> Result<AMQPUri, String> {
    let mut uri: AMQPUri = url.parse()?;
    let host = url::Url::parse(url).map_err(|error| error.to_string())?;
    if let Some(url::Host::Ipv6(address)) = host.host() {
        // The parser of AMQP URIs knows names only and would take `localhost`.
        uri.authority.host = address.to_string();
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    Ok(uri)
}

/// A connection and a hold on its socket.
pub(super) struct Link {
    open: Option<(Connection, Arc<SocketGuard>)>,
}

impl Link {
    /// Connects, for `amqps` as `tls` says; `name` is what the broker's operator sees. Dropping the future ends the attempt.
    pub(super) async fn open(uri: &AMQPUri, tls: Option<&Tls>, name: &str) -> Result<Self, BrokerError> {
        let guard = Arc::new(SocketGuard::default());
        let attempt = Arc::downgrade(&guard);
        let tls = tls.cloned();
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = default_runtime().map_err(refused_or_lost)?;
        let connect = Connection::connector(
            uri.clone(),
            runtime,
            async move |uri, runtime| {
                let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri.clone() };
                let stream = plain.connect_async(&runtime).await?;
                if let AsyncTcpStream::Plain(socket) = &stream {
                    let guard = attempt.upgrade().ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut))?;
                    guard.hold(second_handle(socket.get_ref())?);
                }
                let host = &uri.authority.host;
                match (uri.scheme, &tls) {
                    (AMQPScheme::AMQP, _) => Ok(stream),
                    (AMQPScheme::AMQPS, None) => Ok(stream.into_tls(host, TLSConfig::default()).await?),
                    (AMQPScheme::AMQPS, Some(tls)) => {
                        Ok(stream.into_rustls(&RustlsConnector::from(tls()?), host).await?)
                    }
                }
            },
            properties,
        );
        let connection = connect.await.map_err(refused_or_not_connected)?;
        Ok(Self { open: Some((connection, guard)) })
    }

    /// A channel for everything but publishing.
    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        self.connection()?.create_channel().await.map_err(refused_or_lost)
    }

    /// A channel to publish on: without confirms it would not know what became of a message.
    pub(super) async fn confirming_channel(&self) -> Result<Channel, BrokerError> {
        let channel = self.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(refused_or_lost)?;
        Ok(channel)
    }

    /// The largest frame that the two sides agreed upon, in bytes.
    pub(super) fn frame_max(&self) -> usize {
        let frame_max = self.connection().map_or(0, |connection| connection.configuration().frame_max());
        usize::try_from(frame_max).unwrap_or(usize::MAX)
    }

    fn connection(&self) -> Result<&Connection, BrokerError> {
        let closed = || BrokerError::Connection(Box::new(io::Error::from(io::ErrorKind::NotConnected)));
        self.open.as_ref().map(|(connection, _)| connection).ok_or_else(closed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let (Some((connection, guard)), Ok(runtime)) = (self.open.take(), Handle::try_current()) else {
            return;
        };
        // An orderly close needs an answer. A broker that blocks publishers, or hangs, does not give it: without the guard
        // each reconnect would leave a thread with its buffers behind.
        runtime.spawn(async move {
            let _closed = timeout(CLOSE_TIMEOUT, connection.close(200, "closed".into())).await;
            drop(guard);
        });
    }
}

/// Shuts the socket it holds when dropped.
#[derive(Default)]
struct SocketGuard(OnceLock<TcpStream>);

impl SocketGuard {
    fn hold(&self, socket: TcpStream) {
        // A second socket cannot come: there is one attempt per connection.
        let _held = self.0.set(socket);
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        if let Some(socket) = self.0.get() {
            // The other side may have shut it already.
            let _shut = socket.shutdown(Shutdown::Both);
        }
    }
}

#[cfg(unix)]
fn second_handle(socket: &tokio::net::TcpStream) -> io::Result<TcpStream> {
    Ok(std::os::fd::AsFd::as_fd(socket).try_clone_to_owned()?.into())
}

#[cfg(windows)]
fn second_handle(socket: &tokio::net::TcpStream) -> io::Result<TcpStream> {
    Ok(std::os::windows::io::AsSocket::as_socket(socket).try_clone_to_owned()?.into())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_silent_peer_is_noticed_unless_the_url_says_otherwise() {
        for (url, seconds) in [("amqp://localhost/%2f", 10), ("amqp://localhost/%2f?heartbeat=3", 3)] {
            assert_eq!(parse(url).expect("a URL").query.heartbeat, Some(seconds), "{url}");
        }
    }
}
