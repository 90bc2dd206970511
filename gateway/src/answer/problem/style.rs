//! How a request wants its errors.

use http::HeaderMap;

use crate::request::headers;

pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// How a request wants its errors.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    problem_details: bool,
    path: String,
}

impl Style {
    /// Whether errors are problem details.
    #[must_use]
    pub(crate) fn is_problem_details(&self) -> bool {
        self.problem_details
    }

    /// The path of the request.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The style that `Accept` asks for, for the request of this path.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap, path: &str) -> Self {
        Self { problem_details: headers::accepts(headers, PROBLEM_JSON), path: path.to_owned() }
    }
}
