//! A plain HTTP client that knows JSON and nothing of our code.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Client, Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;

/// Longer than any deadline of ours: a test must see our own answer to a slow call, not the client's.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An HTTP server as its callers see it.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    client: Client,
    token: Option<String>,
}

/// What an HTTP server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
    /// The body as JSON; null when it is empty or no JSON.
    pub body: Value,
}

impl Api {
    /// The server at `base`, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn new(base: impl Into<String>) -> Result<Self> {
        // A proxy of the developer's environment must not come between.
        let client = Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        Ok(Self { base: base.into().trim_end_matches('/').to_owned(), client, token: None })
    }

    /// The same server, whose every request has this bearer token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The server's base URL, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET `path`, which starts with a slash and may have a query.
    ///
    /// # Errors
    /// When there is no answer at all; an error status is an answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        answer(self.request(Method::GET, path)).await
    }

    /// POST a JSON body to `path`.
    ///
    /// # Errors
    /// When there is no answer at all; an error status is an answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        answer(self.request(Method::POST, path).json(body)).await
    }

    /// POST a JSON body to `path` with an `Idempotency-Key`.
    ///
    /// # Errors
    /// When there is no answer at all; an error status is an answer.
    pub async fn post_with_key(&self, path: &str, key: &str, body: &Value) -> Result<Answer> {
        answer(self.request(Method::POST, path).header("idempotency-key", key).json(body)).await
    }

    /// A request to be completed with headers, a raw body or anything else; [`answer`] or reqwest itself sends it.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

impl Answer {
    /// The value of a header, when it is there and plain text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// When there is no answer at all; an error status is an answer.
pub async fn answer(request: RequestBuilder) -> Result<Answer> {
    let response = request.send().await.context("no answer")?;
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.context("the answer broke off")?;
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Answer { status, headers, text, body })
}
