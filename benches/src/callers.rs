//! Who places orders: everybody at an open edge, or each user with a token, over TLS.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Method, header::AUTHORIZATION};
use http_body_util::Full;
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};
use world::{Certificates, Issuer, claims};

/// A connection to an edge, with one request at a time.
pub(crate) type Sender = http1::SendRequest<Full<Bytes>>;

/// Seconds for which tokens are valid: longer than any run.
const VALID: i64 = 86_400;
/// What a user's token is for.
const SCOPES: &str = "orders:read orders:write payments:read payments:write";

/// An edge, and how it is called.
#[derive(Clone)]
pub(crate) struct Callers {
    edge: SocketAddr,
    secured: Option<Secured>,
}

/// TLS, and the tokens of users by number.
#[derive(Clone)]
struct Secured {
    connector: TlsConnector,
    users: Arc<[String]>,
    operator: Arc<str>,
}

impl Callers {
    /// In the clear, without tokens.
    pub(crate) const fn open(edge: SocketAddr) -> Self {
        Self { edge, secured: None }
    }

    /// Over TLS with certificates of this authority, each of so many users with a token of this issuer.
    pub(crate) async fn secured(
        edge: SocketAddr,
        certificates: &Certificates,
        issuer: &Issuer,
        users: usize,
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificates.file("ca.crt"))?)?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let operator = issuer.token("first", &claims("operator", "admin:read", VALID)).await?;
        let mut tokens = Vec::with_capacity(users);
        for number in 0..users {
            tokens.push(issuer.token("first", &claims(&user(number), SCOPES, VALID)).await?);
        }
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self {
            edge,
            secured: Some(Secured { connector, users: tokens.into(), operator: operator.into() }),
        })
    }

    pub(crate) async fn connect(&self) -> Result<Sender> {
        let stream = open(self.edge).await?;
        let Some(Secured { connector, .. }) = &self.secured else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            return Ok(sender);
        };
        let stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A request of the user with this number, or of an operator.
    pub(crate) fn request(
        &self,
        user: Option<usize>,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(Secured { users, operator, .. }) = &self.secured {
            let token = match user {
                Some(number) => users.get(number).context("a user without a token")?.as_str(),
                None => &**operator,
            };
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        Ok(request.body(Full::new(Bytes::from(body)))?)
    }
}

/// A connection on which nothing waits for more to be sent along.
pub(crate) async fn open(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The name of a user.
pub(crate) fn user(number: usize) -> String {
    format!("user-{number}")
}
