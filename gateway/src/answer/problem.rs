//! Errors as clients see them: AIP-193 JSON, or RFC 9457 problem details for those who ask for them.

mod code;
mod detail;
mod event;
mod hints;
mod request;
mod style;

use std::{error::Error as _, time::Duration};

use axum::{body::Body, response::Response};
use chassis::{
    problem::{self, PROBLEM_JSON},
    status::{Chain, DOMAIN, Fault, Reason, Violation, clip, code_name},
};
use http::{HeaderValue, StatusCode, header};
use prost_reflect::DescriptorPool;
use serde_json::{Value, json};
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt as _;
use transcode::Route;
use upstream::{TransportError, too_large};

use crate::request::deadline::deadline_exceeded;

pub(crate) use self::{
    code::http_status,
    event::ActualStatus,
    hints::{Info, hint},
    request::refused,
    style::{EVENT_STREAM, Style},
};

/// Details that a problem has fields for.
const KNOWN: [&str; 3] = [
    "type.googleapis.com/google.rpc.ErrorInfo",
    "type.googleapis.com/google.rpc.BadRequest",
    "type.googleapis.com/google.rpc.RetryInfo",
];

/// What a message of somebody else's service keeps, in bytes.
const MESSAGE_BYTES: usize = 512;

/// A failed request.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    http: StatusCode,
    code: Code,
    message: String,
    info: Option<Info>,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
    /// The details, where a service sent others than those that the fields above stand for.
    sent_details: Vec<Value>,
    hint: Option<Hint>,
}

/// What would have been right, as a header of the answer.
#[derive(Debug, Clone)]
enum Hint {
    Methods(HeaderValue),
    Codings(&'static str),
}

impl Problem {
    /// No route has the path.
    #[must_use]
    pub(crate) fn route_not_found() -> Self {
        Fault::new(Reason::RouteNotFound, "no route has this path").into()
    }

    /// The path has routes, but only for the methods of `allow` (RFC 9110, section 15.5.6).
    #[must_use]
    pub(crate) fn method_not_allowed(allow: HeaderValue) -> Self {
        let fault = Fault::new(Reason::MethodNotAllowed, "no route has this path with this method");
        Self { hint: Some(Hint::Methods(allow)), ..fault.into() }
    }

    /// The body is compressed in a way that is not read; these are (RFC 9110, section 15.5.16).
    #[must_use]
    pub(crate) fn unsupported_coding(read: &'static str) -> Self {
        let fault = Fault::new(Reason::UnsupportedMediaType, "the body has a coding that is not read");
        Self { hint: Some(Hint::Codings(read)), ..fault.into() }
    }

    /// The time that the request had is over.
    #[must_use]
    pub(crate) fn deadline_exceeded() -> Self {
        deadline_exceeded().into()
    }

    /// The edge stops, and what it streams with it.
    #[must_use]
    pub(crate) fn stopping() -> Self {
        Fault::new(Reason::UpstreamUnavailable, "the edge is stopping: ask again").into()
    }

    /// A bug: `error` goes to the log.
    #[must_use]
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        Fault::internal(error).into()
    }

    /// What the service of a route answered, or why it did not. Fields of the request are named as in JSON.
    #[must_use]
    pub(crate) fn from_status(status: &Status, route: &Route) -> Self {
        let types = route.types();
        let mut problem = match Fault::from_status(status) {
            // A service's own words about its inside stay on this side too.
            Some(fault) if fault.reason == Reason::Internal => internal(status),
            Some(fault) => Self::from(fault).with_others(status, types),
            None => foreign(status, types),
        };
        problem.name_as_json(route);
        problem
    }

    /// Adds the details that a fault has no fields for.
    fn with_others(mut self, status: &Status, types: &DescriptorPool) -> Self {
        let known = |detail: &Value| KNOWN.iter().any(|kind| detail["@type"] == *kind);
        let others: Vec<Value> =
            detail::all(status, types).into_iter().filter(|detail| !known(detail)).collect();
        if !others.is_empty() {
            self.sent_details = [self.details(), others].concat();
        }
        self
    }

    /// The reason in ErrorInfo; empty when the service has given none.
    #[must_use]
    pub(crate) fn reason(&self) -> &str {
        self.info.as_ref().map_or("", |info| &info.reason)
    }

    /// The error object, as the body or as a part of a stream.
    #[must_use]
    pub(crate) fn json(&self, style: &Style) -> Value {
        if style.is_problem_details() { self.problem_details(style.path()) } else { self.aip_193() }
    }

    /// The answer.
    #[must_use]
    pub(crate) fn into_response(self, style: &Style) -> Response {
        if let Some(stream) = self.to_stream(style) {
            return stream;
        }
        let mut response = Response::new(Body::from(self.json(style).to_string()));
        *response.status_mut() = self.http;
        let content_type = if style.is_problem_details() { PROBLEM_JSON } else { "application/json" };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        hint(headers, self.http, &self.message, self.info.as_ref(), self.retry_after);
        headers.extend(self.hint.map(|hint| match hint {
            Hint::Methods(allow) => (header::ALLOW, allow),
            Hint::Codings(read) => (header::ACCEPT_ENCODING, HeaderValue::from_static(read)),
        }));
        response
    }

    /// <https://google.aip.dev/193>, "HTTP/1.1+JSON representation".
    fn aip_193(&self) -> Value {
        let error = json!({
            "code": self.http.as_u16(), "status": code_name(self.code), "message": self.message, "details": self.all_details(),
        });
        json!({ "error": error })
    }

    fn all_details(&self) -> Vec<Value> {
        if self.sent_details.is_empty() { self.details() } else { self.sent_details.clone() }
    }

    fn details(&self) -> Vec<Value> {
        let [error_info, bad_request, retry_info] = KNOWN;
        let mut details = Vec::new();
        if let Some(Info { reason, domain, metadata }) = &self.info {
            details.push(
                json!({ "@type": error_info, "reason": reason, "domain": domain, "metadata": metadata }),
            );
        }
        if !self.violations.is_empty() {
            let each = |at: &Violation| json!({ "field": at.field, "description": at.description });
            details.push(json!({ "@type": bad_request, "fieldViolations": self.violations.iter().map(each).collect::<Vec<_>>() }));
        }
        if let Some(time) = self.retry_after {
            details.push(json!({ "@type": retry_info, "retryDelay": detail::duration(time) }));
        }
        details
    }

    fn problem_details(&self, path: &str) -> Value {
        let reason = self.info.as_ref().map_or(code_name(self.code), |info| &info.reason);
        let ours = self.info.as_ref().filter(|info| info.domain == DOMAIN);
        let ours = ours.and_then(|info| Reason::parse(&info.reason));
        let mut problem = problem::details(self.http, &self.message, path, (reason, ours), &self.violations);
        // An extension member (RFC 9457, section 3.2): what a service says in other types has no place in the standard ones.
        problem["details"] = self.all_details().into();
        problem
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let fault = fault.clipped();
        let metadata = fault.metadata.into_iter().collect();
        let info = Info { reason: fault.reason.as_str().into(), domain: DOMAIN.into(), metadata };
        Self {
            http: fault.reason.http(),
            code: fault.reason.code(),
            message: fault.message,
            info: Some(info),
            violations: fault.violations,
            retry_after: fault.retry_after,
            sent_details: Vec::new(),
            hint: None,
        }
    }
}

/// A status without a reason of ours: made by the transport, or by somebody else's service.
fn foreign(status: &Status, types: &DescriptorPool) -> Problem {
    let details = status.get_error_details();
    match status.code() {
        // Known for a while already, and logged where it was found.
        Code::Unavailable if TransportError::of(status) == Some(TransportError::NoEndpoint) => {
            return Fault::new(Reason::UpstreamUnavailable, status.message()).into();
        }
        _ if TransportError::of(status) == Some(TransportError::TooLarge) => return too_large().into(),
        _ if TransportError::of(status) == Some(TransportError::Request) => return internal(status),
        Code::DeadlineExceeded => return Problem::deadline_exceeded(),
        // What tonic makes of a grpc-timeout, on both sides.
        Code::Cancelled if status.message() == TimeoutExpired(()).to_string() => {
            return Problem::deadline_exceeded();
        }
        // The transport says so with a cause; a service that fails by itself comes without one.
        _ if status.source().is_some() => return unreachable_upstream(status),
        Code::Internal | Code::Unknown | Code::DataLoss => return internal(status),
        _ => {}
    }
    let info = Info::of(&details);
    let retry_after = details.retry_info().and_then(|retry| retry.retry_delay);
    let mut message = status.message().to_owned();
    clip(&mut message, MESSAGE_BYTES);
    if status.code() == Code::Unavailable && info.is_none() {
        // A program decides by the reason, and the service gave none.
        let fault = Fault::new(Reason::UpstreamUnavailable, message);
        let fault = Fault { retry_after: retry_after.or(fault.retry_after), ..fault };
        return Problem::from(fault).with_others(status, types);
    }
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    Problem {
        http: http_status(status.code()),
        code: status.code(),
        message,
        info,
        violations: violations
            .iter()
            .map(|at| Violation { field: at.field.clone(), description: at.description.clone() })
            .collect(),
        retry_after,
        sent_details: detail::all(status, types),
        hint: None,
    }
}

fn unreachable_upstream(status: &Status) -> Problem {
    tracing::warn!(error = cause(status), "the service behind the edge cannot be reached");
    Fault::new(Reason::UpstreamUnavailable, "the service behind the edge cannot be reached").into()
}

fn internal(status: &Status) -> Problem {
    let (name, error) = (code_name(status.code()), cause(status));
    tracing::error!(grpc.code = name, error, "the service behind the edge failed");
    Fault::new(Reason::Internal, "internal error").into()
}

/// For the log: what the transport says, or else the service.
pub(crate) fn cause(status: &Status) -> String {
    status.source().map_or_else(|| status.message().to_owned(), |source| Chain(source).to_string())
}
