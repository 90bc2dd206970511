//! The clients: keep-alive connections of HTTP/1.1, each with one request at a time.

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use crate::process::Process;

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
        requests: 400,
    },
    Case {
        name: "POST one order",
        path: "/gateway/orders",
        body: Some(
            r#"{"userId":"alice","amount":"1999","currencyCode":"EUR","description":"two tickets, row 7; \"aisle\""}"#,
        ),
        requests: 400,
    },
    Case {
        name: "GET 50 orders",
        path: "/gateway/orders?page_size=50&user_id=alice",
        body: None,
        requests: 150,
    },
];

/// Clients of one edge.
pub(crate) struct Load<'p> {
    process: &'p Process,
    clients: Vec<Client>,
}

impl<'p> Load<'p> {
    /// Clients with a connection each.
    ///
    /// # Errors
    /// None is expected.
    pub(crate) fn new(process: &'p Process) -> Result<Self> {
        let client = || Client::builder().no_proxy().http1_only().pool_max_idle_per_host(1).build();
        Ok(Self { process, clients: (0..CLIENTS).map(|_| client()).collect::<Result<_, _>>()? })
    }

    /// The answer to a case, and a round that nobody counts.
    ///
    /// # Errors
    /// Any answer other than 200.
    pub(crate) async fn answer(&self, case: &Case) -> Result<Value> {
        self.round(case).await?;
        Ok(self.request(&self.clients[0], case).send().await?.error_for_status()?.json().await?)
    }

    /// One round; microseconds of CPU per request.
    ///
    /// # Errors
    /// Any answer other than 200.
    pub(crate) async fn round(&self, case: &Case) -> Result<f64> {
        let before = self.process.cpu_nanos()?;
        let clients = self.clients.iter().map(async |client| {
            for _ in 0..case.requests {
                let response = self.request(client, case).send().await?;
                ensure!(response.status() == 200, "{}: {}", case.name, response.status());
                response.bytes().await?;
            }
            Ok(())
        });
        try_join_all(clients).await?;
        let nanos = self.process.cpu_nanos()? - before;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        Ok(nanos as f64 / 1e3 / (CLIENTS * case.requests) as f64)
    }

    fn request(&self, client: &Client, case: &Case) -> RequestBuilder {
        let url = format!("http://{}{}", self.process.address, case.path);
        match case.body {
            None => client.get(url),
            Some(body) => client.post(url).header("content-type", "application/json").body(body),
        }
    }
}
