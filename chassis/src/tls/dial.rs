//! Connections to gRPC servers over TLS, for tonic's channels.

use std::{io, sync::Arc};

use anyhow::Context as _;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};
use tonic::transport::Endpoint;
use tower::{Service, service_fn};

use super::client::ClientTls;

/// The endpoint of an `https` URL, and what opens its connections, each with the certificates of that moment. tonic's own TLS would read the
/// files by itself, once: it sees a connection without, and the scheme for its requests.
///
/// # Errors
/// When the URL has no host that a certificate could be for.
pub fn dial(
    url: &str,
    tls: &ClientTls,
) -> anyhow::Result<(
    Endpoint,
    impl Service<Uri, Response = TokioIo<TlsStream<TcpStream>>, Error = io::Error, Future: Send>
    + Clone
    + Send
    + 'static,
)> {
    let origin: Uri = url.parse()?;
    let host = origin.host().context("a URL without a host")?;
    let (authority, port) = (origin.authority().map(ToString::to_string), origin.port_u16().unwrap_or(443));
    let host: Arc<str> = host.trim_matches(['[', ']']).into();
    let (name, tls) = (ServerName::try_from(host.to_string())?, tls.clone());
    let dial = service_fn(move |_: Uri| {
        let (host, name, tls) = (Arc::clone(&host), name.clone(), tls.clone());
        async move {
            let connector = TlsConnector::from(tls.config().map_err(io::Error::other)?);
            let stream = TcpStream::connect((&*host, port)).await?;
            stream.set_nodelay(true)?;
            let stream = connector.with_alpn(vec![b"h2".to_vec()]).connect(name, stream).await?;
            Ok(TokioIo::new(stream))
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{}", authority.unwrap_or_default()))?;
    Ok((endpoint.origin(origin), dial))
}
