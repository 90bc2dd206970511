//! A Prometheus server of one test.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use reqwest::Url;
use serde_json::Value;

use crate::{Api, Port, Process, Program, Scratch, installed};

/// A server on 127.0.0.1; killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    // Dropped in this order: the server first, then its port and its data.
    _server: Process,
    api: Api,
    _port: Port,
    _scratch: Scratch,
}

impl Prometheus {
    /// Starts a server with this configuration, and with these files of rules beside it.
    ///
    /// # Errors
    /// When Prometheus is not installed or does not start; with the end of its log.
    pub async fn start(config: &str, rules: &[(&str, &str)]) -> Result<Self> {
        let (scratch, port) = (Scratch::new("prometheus")?, Port::reserve()?);
        for (name, text) in [&[("prometheus.yml", config)][..], rules].concat() {
            fs::write(scratch.path().join(name), text)?;
        }
        let path = |name: &str| scratch.path().join(name).display().to_string();
        let mut server = Program::at(&installed::find("prometheus", &[])?)
            .args([format!("--config.file={}", path("prometheus.yml"))])
            .args([format!("--storage.tsdb.path={}", path("data"))])
            .args([format!("--web.listen-address={}", port.address())])
            .start()?;
        server.line_with("Server is ready to receive web requests.").await?;
        let api = Api::new(format!("http://{}", port.address()))?;
        Ok(Self { _server: server, api, _port: port, _scratch: scratch })
    }

    /// The series that a query has now, each as its labels.
    ///
    /// # Errors
    /// When the server refuses the query.
    pub async fn query(&self, query: &str) -> Result<Vec<Value>> {
        let url = Url::parse_with_params(self.api.base(), [("query", query)])?;
        let answer = self.api.get(&format!("/api/v1/query?{}", url.query().unwrap_or_default())).await?;
        ensure!(answer.status == 200, "{query}: {}", answer.text);
        let result = answer.body["data"]["result"].as_array();
        let result = result.with_context(|| format!("{query} has no series: {}", answer.text))?;
        Ok(result.iter().map(|series| series["metric"].clone()).collect())
    }
}
