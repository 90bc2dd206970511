//! Errors as server-sent events (WHATWG HTML, section 9.2).

use std::time::Duration;

use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode, header};

use super::{
    Problem,
    style::{EVENT_STREAM, Style},
};

/// When a page connects again after an error that says nothing of it.
const RECONNECT: Duration = Duration::from_secs(3);

/// The status of an answer that has another one for the sake of its client: the one to log and to count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ActualStatus(pub(crate) StatusCode);

impl Problem {
    /// The event `error`.
    #[must_use]
    pub(crate) fn event(&self, style: &Style) -> String {
        format!("event: error\ndata: {}\n\n", self.json(style))
    }

    /// The answer to a request that accepts only events, when the error passes: a stream of this one event, and when to connect again. After
    /// any other status than 200 a browser's `EventSource` never connects again.
    pub(super) fn to_stream(&self, style: &Style) -> Option<Response> {
        let passes = matches!(
            self.http,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        if !passes || !style.is_only_events() {
            return None;
        }
        let reconnect = self.retry_after.unwrap_or(RECONNECT).as_millis();
        let mut response = Response::new(Body::from(format!("retry: {reconnect}\n{}", self.event(style))));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.extensions_mut().insert(ActualStatus(self.http));
        Some(response)
    }
}
