//! What an accept loop does when it cannot accept.

use std::{io, time::Duration};

/// How long accepting rests when the system has no descriptors left: at once it would fail again, and spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Rests after an error of `accept`, unless it is that of one client that left early.
pub async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "cannot accept connections");
        tokio::time::sleep(PAUSE).await;
    }
}
