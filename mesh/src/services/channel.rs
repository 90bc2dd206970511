//! A connection to a service, over TLS where its URL says so.

use std::time::Duration;

use anyhow::Context as _;
use chassis::{redact::redacted, tls::ClientTls};
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// How long a connection may take, with its handshake.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a call may take: more than a handler has.
const CALL: Duration = Duration::from_secs(40);

/// Connects to a service.
///
/// # Errors
/// When it cannot be reached, or its certificate is not believed.
pub(super) async fn open(url: &str, tls: &ClientTls) -> anyhow::Result<Channel> {
    let reached = match url.strip_prefix("https://") {
        None => within(Endpoint::from_shared(url.to_owned())?).connect().await.map_err(anyhow::Error::from),
        Some(rest) => over_tls(rest, tls).await,
    };
    reached.with_context(|| format!("cannot reach {}", redacted(url)))
}

/// Whoever waits for a process that is frozen learns that.
fn within(endpoint: Endpoint) -> Endpoint {
    endpoint.connect_timeout(CONNECT).timeout(CALL)
}

/// tonic's own TLS would read the files by itself: here it sees a connection without, and the scheme for its requests.
async fn over_tls(authority: &str, tls: &ClientTls) -> anyhow::Result<Channel> {
    let url: Uri = format!("https://{authority}").parse()?;
    let host = url.host().context("a host")?.to_owned();
    let port = url.port_u16().unwrap_or(443);
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
    let connector = TlsConnector::from(tls.config()?);
    let dial = service_fn(move |_: Uri| {
        let (connector, name, host) = (connector.clone(), name.clone(), host.clone());
        async move {
            let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
            stream.set_nodelay(true)?;
            let stream = connector.with_alpn(vec![b"h2".to_vec()]).connect(name, stream).await?;
            std::io::Result::Ok(TokioIo::new(stream))
        }
    });
    let endpoint = within(Endpoint::from_shared(format!("http://{authority}"))?).origin(url);
    Ok(endpoint.connect_with_connector(dial).await?)
}
