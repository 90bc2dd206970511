//! The clients: keep-alive connections of HTTP/1.1, each with one request at a time.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{Method, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::TcpStream,
    sync::{Mutex, MutexGuard},
};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::{process::Process, secured::Secured};

const CLIENTS: usize = 16;

/// What is asked.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    path: &'static str,
    body: Option<&'static str>,
    /// Requests of each client in a round.
    requests: usize,
}

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "GET one order",
        path: "/gateway/orders/01890a5d-ac96-774b-bcce-000000000001",
        body: None,
        requests: 2_000,
    },
    Case {
        name: "POST one order",
        path: "/gateway/orders",
        body: Some(
            r#"{"userId":"alice","amount":"1999","currencyCode":"EUR","description":"two tickets, row 7; \"aisle\""}"#,
        ),
        requests: 2_000,
    },
    Case {
        name: "GET 50 orders",
        path: "/gateway/orders?page_size=50&user_id=alice",
        body: None,
        requests: 750,
    },
];

pub(crate) type Sender = http1::SendRequest<Full<Bytes>>;

/// Clients of one edge.
pub(crate) struct Load<'p> {
    process: &'p Process,
    clients: Vec<Mutex<Sender>>,
    /// Over TLS and with a token, if there is this.
    secured: Option<&'p Secured>,
}

impl<'p> Load<'p> {
    /// Clients with a connection each.
    ///
    /// # Errors
    /// The edge lets none in.
    pub(crate) async fn new(process: &'p Process, secured: Option<&'p Secured>) -> Result<Self> {
        let clients = try_join_all((0..CLIENTS).map(|_| connect(process, secured))).await?;
        Ok(Self { process, clients: clients.into_iter().map(Mutex::new).collect(), secured })
    }

    /// The answer to a case, and a round that nobody counts.
    ///
    /// # Errors
    /// Any answer other than 200.
    pub(crate) async fn answer(&self, case: &Case) -> Result<Value> {
        self.round(case).await?;
        let sender = self.clients.first().context("a client")?.lock().await;
        Ok(serde_json::from_slice(&self.call(sender, case).await?)?)
    }

    /// One round; microseconds of CPU per request.
    ///
    /// # Errors
    /// Any answer other than 200.
    pub(crate) async fn round(&self, case: &Case) -> Result<f64> {
        let before = self.process.cpu_nanos()?;
        let clients = self.clients.iter().map(async |client| {
            for _ in 0..case.requests {
                self.call(client.lock().await, case).await?;
            }
            anyhow::Ok(())
        });
        try_join_all(clients).await?;
        let nanos = self.process.cpu_nanos()? - before;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        Ok(nanos as f64 / 1e3 / (CLIENTS * case.requests) as f64)
    }

    async fn call(&self, mut sender: MutexGuard<'_, Sender>, case: &Case) -> Result<Bytes> {
        let method = if case.body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder().method(method).uri(case.path).header("host", "localhost");
        if let Some(Secured { token, .. }) = self.secured {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if case.body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::from(case.body.unwrap_or_default()))?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status == 200, "{}: {status} {}", case.name, String::from_utf8_lossy(&body));
        Ok(body)
    }
}

/// A connection to an edge.
///
/// # Errors
/// It lets nobody in.
pub(crate) async fn connect(process: &Process, secured: Option<&Secured>) -> Result<Sender> {
    let stream = TcpStream::connect(process.address).await?;
    stream.set_nodelay(true)?;
    let Some(secured) = secured else {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        return Ok(sender);
    };
    let stream = secured.connector()?.connect(ServerName::try_from("localhost")?, stream).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
