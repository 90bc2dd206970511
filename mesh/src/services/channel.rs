//! A connection to a service, over TLS where its URL says so.

use std::time::Duration;

use anyhow::Context as _;
use chassis::{
    redact::redacted,
    tls::{ClientTls, dial},
};
use tonic::transport::{Channel, Endpoint};

/// How long a connection may take, with its handshake.
const CONNECT: Duration = Duration::from_secs(10);
/// Connects to a service.
///
/// # Errors
/// When it cannot be reached, or its certificate is not believed.
pub(super) async fn open(url: &str, tls: &ClientTls, timeout: Duration) -> anyhow::Result<Channel> {
    let reached = if url.starts_with("https://") {
        let (endpoint, dial) = dial(url, tls)?;
        within(endpoint, timeout).connect_with_connector(dial).await
    } else {
        within(Endpoint::from_shared(url.to_owned())?, timeout).connect().await
    };
    reached.with_context(|| format!("cannot reach {}", redacted(url)))
}

/// Whoever waits for a process that is frozen learns that.
fn within(endpoint: Endpoint, timeout: Duration) -> Endpoint {
    endpoint.connect_timeout(CONNECT.min(timeout)).timeout(timeout)
}
