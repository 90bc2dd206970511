//! How a request wants its errors.

use chassis::{
    media::{accepts_only, prefers},
    problem::PROBLEM_JSON,
};
use http::HeaderMap;

/// The type of server-sent events.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";

/// How a request wants its errors.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    problem_details: bool,
    only_events: bool,
    path: String,
}

impl Style {
    /// Whether errors are problem details.
    #[must_use]
    pub(crate) fn is_problem_details(&self) -> bool {
        self.problem_details
    }

    /// Whether the request accepts server-sent events and nothing else, as `EventSource` does.
    pub(super) fn is_only_events(&self) -> bool {
        self.only_events
    }

    /// The path of the request.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The style that `Accept` asks for, for the request of this path.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap, path: &str) -> Self {
        let (problem_details, only_events) =
            (prefers(headers, PROBLEM_JSON, "application/json"), accepts_only(headers, EVENT_STREAM));
        Self { problem_details, only_events, path: path.to_owned() }
    }
}
