//! The keys of an issuer, read from where it publishes them.

use std::{error::Error, io, time::Duration};

use bytes::Bytes;
use chassis::tls::ClientTls;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;

use crate::source::KeySource;

/// How long the issuer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest document that is read: some hundred keys.
const LONGEST: usize = 256 << 10;

type BoxError = Box<dyn Error + Send + Sync>;

/// Reads keys.
#[derive(Debug)]
pub(crate) struct Source {
    keys: KeySource,
    tls: ClientTls,
}

impl Source {
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(keys: KeySource, tls: ClientTls) -> Result<Self, BoxError> {
        tls.config()?;
        Ok(Self { keys, tls })
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
        let request =
            Request::get(url).header(header::ACCEPT, "application/json").body(Empty::<Bytes>::new())?;
        // One for each request, of which there is one in minutes: a connection that was kept may be closed by then, and the files of
        // authorities may have changed.
        let tls = ClientConfig::clone(&*self.tls.config()?);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        let response = client.request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(io::Error::other(format!("the issuer answered {}", response.status())).into());
        }
        Ok(Limited::new(response.into_body(), LONGEST).collect().await?.to_bytes())
    }
}
