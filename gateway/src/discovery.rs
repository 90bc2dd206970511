//! An edge for a service that describes itself: asked again until there is something to serve.

use std::time::Duration;

use tokio::time::sleep;
use tonic::Status;
use upstream::{
    Upstream,
    reflection::{self, Reflected},
};

use crate::{edge::Edge, settings::Config};

/// The pause after the first failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// An edge for what a service describes. Asks until it can be served: the service may start later than the edge, and each failure is
/// logged. Must be called inside of a tokio runtime.
///
/// # Errors
/// What is wrong with the URL.
pub async fn edge(url: &str, config: &Config) -> Result<Edge, String> {
    let upstream = Upstream::of(&url.into(), config.trust()).map_err(|errors| errors.join("; "))?;
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match reflection::describe(&upstream).await.map(|reflected| of(reflected, url, config)) {
            Ok(Ok(edge)) => return Ok(edge),
            Ok(Err(errors)) => errors,
            Err(status) => said(&status),
        };
        let retry_s = pause.as_secs_f64();
        tracing::warn!(url, error, retry_s, "the service has not described anything that can be served yet");
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

fn of(reflected: Reflected, url: &str, config: &Config) -> Result<Edge, String> {
    tracing::info!(url, files = reflected.count(), "the service has described itself");
    let foreign = Some(reflected.left_out.clone());
    let config = Config { descriptor_set: reflected.set(), foreign, ..config.clone() };
    Edge::from_config(config).map_err(|errors| errors.to_string())
}

fn said(status: &Status) -> String {
    format!("{}: {}", status.code(), status.message())
}
