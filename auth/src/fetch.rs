//! The keys of an issuer, read from where it publishes them.

use std::{error::Error, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use webpki_roots::TLS_SERVER_ROOTS;

use crate::settings::KeySource;

/// How long the issuer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest document that is read: some hundred keys.
const LONGEST: usize = 256 << 10;

type BoxError = Box<dyn Error + Send + Sync>;

/// Reads keys.
#[derive(Debug)]
pub(crate) struct Source {
    keys: KeySource,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Source {
    /// Trusts the authorities that browsers trust.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(keys: KeySource) -> Result<Self, BoxError> {
        let mut roots = RootCertStore::empty();
        roots.extend(TLS_SERVER_ROOTS.iter().cloned());
        // Named: other crates of the process may have others compiled in.
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        // A connection that was kept may be closed by now, and there is one request in minutes.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { keys, client })
    }

    /// The document as it is now.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(crate) async fn read(&self) -> Result<Bytes, BoxError> {
        match &self.keys {
            KeySource::Here(text) => Ok(text.clone().into()),
            KeySource::File(path) => Ok(tokio::fs::read(path).await?.into()),
            KeySource::Url(url) => timeout(PATIENCE, self.get(url)).await?,
        }
    }

    async fn get(&self, url: &Uri) -> Result<Bytes, BoxError> {
        let request = Request::get(url).header(header::ACCEPT, "application/json").body(Empty::new())?;
        let response = self.client.request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(io::Error::other(format!("the issuer answered {}", response.status())).into());
        }
        Ok(Limited::new(response.into_body(), LONGEST).collect().await?.to_bytes())
    }
}
