//! Errors: one closed enum, and total functions from it to gRPC and to HTTP.
//!
//! Every error that leaves the mesh carries a `google.rpc.ErrorInfo` with the reason and the domain `ordermesh` (AIP-193), so
//! a client decides by the reason and never by the text.

mod chain;
mod clip;
mod code;
mod reason;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use http::StatusCode;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

pub use self::{
    chain::Chain,
    clip::clip,
    code::{code_name, is_fault_of_server},
    reason::Repetition,
};

/// The `domain` of every ErrorInfo.
pub const DOMAIN: &str = "ordermesh";

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal, $code:ident, $http:literal;)*) => {
        /// Why a call failed. A new reason is added here only, and so decided for both protocols.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[doc = $doc])* $variant,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The reason as ErrorInfo spells it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What has happened, in sentences.
            #[must_use]
            pub fn cause(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*).trim_start(),)* }
            }

            /// The gRPC status code.
            #[must_use]
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }

            /// The HTTP status code.
            #[must_use]
            pub fn http(self) -> StatusCode {
                let number = match self { $(Self::$variant => $http,)* };
                StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    };
}

reasons! {
    /// The request is not readable: malformed JSON, a wrong type, an unknown field or enum value.
    MalformedRequest = "MALFORMED_REQUEST", InvalidArgument, 400;
    /// A field is out of its limits.
    InvalidField = "INVALID_FIELD", InvalidArgument, 400;
    /// The page token was not made by this service for this query.
    InvalidPageToken = "INVALID_PAGE_TOKEN", InvalidArgument, 400;
    /// The filter expression cannot be read.
    InvalidFilter = "INVALID_FILTER", InvalidArgument, 400;
    /// The order of a list is not a supported one.
    InvalidOrderBy = "INVALID_ORDER_BY", InvalidArgument, 400;
    /// No such order.
    OrderNotFound = "ORDER_NOT_FOUND", NotFound, 404;
    /// The user has no account.
    AccountNotFound = "ACCOUNT_NOT_FOUND", NotFound, 404;
    /// The payment of the order is not decided, or there is no such order.
    PaymentNotFound = "PAYMENT_NOT_FOUND", NotFound, 404;
    /// No such message is parked.
    ParkedMessageNotFound = "PARKED_MESSAGE_NOT_FOUND", NotFound, 404;
    /// No redrive has this number.
    RedriveNotFound = "REDRIVE_NOT_FOUND", NotFound, 404;
    /// No such pause, or it is over.
    PauseNotFound = "PAUSE_NOT_FOUND", NotFound, 404;
    /// The user has an account already.
    AccountAlreadyExists = "ACCOUNT_ALREADY_EXISTS", AlreadyExists, 409;
    /// The idempotency key was used for a different request.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", FailedPrecondition, 422;
    /// The order has ended and cannot be cancelled any more.
    OrderNotCancellable = "ORDER_NOT_CANCELLABLE", FailedPrecondition, 400;
    /// The message waits for nobody to change it: it is held or was sent back, or its payload is not understood as a whole.
    ParkedMessageNotEditable = "PARKED_MESSAGE_NOT_EDITABLE", FailedPrecondition, 400;
    /// So many pauses at a time are not kept: others have to be ended first.
    TooManyPauses = "TOO_MANY_PAUSES", FailedPrecondition, 400;
    /// The account is held in another currency.
    CurrencyMismatch = "CURRENCY_MISMATCH", FailedPrecondition, 400;
    /// The balance would pass the largest one that is kept.
    BalanceLimitExceeded = "BALANCE_LIMIT_EXCEEDED", OutOfRange, 400;
    /// Others changed the same data at the same time, again and again: try once more.
    ConcurrentUpdate = "CONCURRENT_UPDATE", Aborted, 409;
    /// Too many calls: try later.
    RateLimited = "RATE_LIMITED", ResourceExhausted, 429;
    /// The database does not answer: try later.
    StorageUnavailable = "STORAGE_UNAVAILABLE", Unavailable, 503;
    /// No space is left where the database stores: nothing was stored. It passes once an operator has made space.
    StorageFull = "STORAGE_FULL", Unavailable, 503;
    /// The service behind the edge does not answer: try later.
    UpstreamUnavailable = "UPSTREAM_UNAVAILABLE", Unavailable, 503;
    /// No key of the issuer of tokens is in force, because it could not be asked or publishes none that can be used: nobody can be let in, and
    /// nothing was done. Not for the caller to mend: its token may be right, so that another one would be no better.
    IssuerUnavailable = "ISSUER_UNAVAILABLE", Unavailable, 503;
    /// The service behind the edge answered more than the edge takes. The call took effect.
    UpstreamResponseTooLarge = "UPSTREAM_RESPONSE_TOO_LARGE", Internal, 502;
    /// The call took effect: its service has answered, and the answer has no form in JSON (a time out of its range, an Any of a type that is not
    /// known, a path of a field mask that could not be read again) or is no message of the contract. A repetition would take effect as well, and
    /// get the same. Over gRPC, in protobuf, the answer is passed on as it is.
    AnswerNotRepresentable = "ANSWER_NOT_REPRESENTABLE", Internal, 500;
    /// The answer to a write was lost, or the commit's: whether it took effect is not known. UNKNOWN, because clients of gRPC repeat what
    /// is UNAVAILABLE by themselves, and without an idempotency key that could make the effect twice.
    OutcomeUnknown = "OUTCOME_UNKNOWN", Unknown, 503;
    /// The time allowed for the call is over. Whether it took effect is not known.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded, 504;
    /// No credentials, or none that are valid.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated, 401;
    /// Somebody else's data.
    NotOwner = "NOT_OWNER", PermissionDenied, 403;
    /// The credentials are valid, and not for this method: `scope` in the metadata is the one that it needs.
    ScopeMissing = "SCOPE_MISSING", PermissionDenied, 403;
    /// HTTP: a page of another origin asks for what only pages of allowed ones may read, or a listener is called by a name that is not one of its own.
    OriginNotAllowed = "ORIGIN_NOT_ALLOWED", PermissionDenied, 403;
    /// HTTP: no route has this path.
    RouteNotFound = "ROUTE_NOT_FOUND", NotFound, 404;
    /// HTTP: the path has routes, but not for this method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", Unimplemented, 405;
    /// The resource has another version than the call was made for, so nothing was done.
    PreconditionFailed = "PRECONDITION_FAILED", Aborted, 412;
    /// HTTP: the request has a condition that is not evaluated for its method, so nothing was done.
    PreconditionUnsupported = "PRECONDITION_UNSUPPORTED", FailedPrecondition, 412;
    /// HTTP: the body is larger than allowed.
    BodyTooLarge = "BODY_TOO_LARGE", InvalidArgument, 413;
    /// HTTP: the URI is longer than is read.
    UriTooLong = "URI_TOO_LONG", InvalidArgument, 414;
    /// HTTP: the head of the request is longer than is read, or than a service takes.
    HeadersTooLarge = "HEADERS_TOO_LARGE", InvalidArgument, 431;
    /// HTTP: the body is not of a type that is read.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", InvalidArgument, 415;
    /// The contract names it, this version does not do it.
    Unimplemented = "UNIMPLEMENTED", Unimplemented, 501;
    /// A bug. The text says nothing of the inside; the log does.
    Internal = "INTERNAL", Internal, 500;
}

/// One field that is out of its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field in the request, such as `order.amount`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// A failed call: the reason, and what a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What a program decides by.
    pub reason: Reason,
    /// What a person reads.
    pub message: String,
    /// The fields at fault, all of them at once.
    pub violations: Vec<Violation>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// What else a program may decide by: the metadata of ErrorInfo.
    pub metadata: BTreeMap<String, String>,
}

impl Fault {
    /// A failure for this reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            violations: Vec::new(),
            retry_after: reason.retry_after(),
            metadata: BTreeMap::new(),
        }
    }

    /// The same, with a word in the metadata.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A failure for this reason, which one field is at fault for.
    pub fn of_field(reason: Reason, field: &str, problem: impl fmt::Display) -> Self {
        let violation = Violation { field: field.to_owned(), description: problem.to_string() };
        Self { violations: vec![violation], ..Self::new(reason, format!("{field}: {problem}")) }
    }

    /// A request that is not understood: one that is unreadable, or one with fields that are out of their limits.
    pub fn of_request(is_readable: bool, message: impl Into<String>, violations: Vec<Violation>) -> Self {
        let reason = if is_readable { Reason::InvalidField } else { Reason::MalformedRequest };
        Self { violations, ..Self::new(reason, message) }
    }

    /// A call that may have taken effect, because of `cause`: without the invitation to try again, which would do it a second time where the
    /// call has no idempotency key.
    #[must_use]
    pub fn unknown_outcome(cause: &str) -> Self {
        let message = format!(
            "{cause}: the outcome is not known. Try again with the same idempotency key, or look before you try again without one"
        );
        Self::new(Reason::OutcomeUnknown, message)
    }

    /// A bug: `error` goes to the log, and the caller learns nothing of the inside.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %Chain(error), "internal error");
        Self::new(Reason::Internal, "internal error")
    }

    /// What another process of the mesh said, when its status carries a reason of ours.
    #[must_use]
    pub fn from_status(status: &Status) -> Option<Self> {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        Some(Self {
            reason: Reason::parse(&info.reason)?,
            message: status.message().to_owned(),
            violations: violations
                .iter()
                .map(|at| Violation { field: at.field.clone(), description: at.description.clone() })
                .collect(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
            metadata: info.metadata.clone().into_iter().collect(),
        })
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let fault = fault.clipped();
        let mut details = ErrorDetails::with_error_info(
            fault.reason.as_str(),
            DOMAIN,
            fault.metadata.into_iter().collect::<HashMap<_, _>>(),
        );
        if !fault.violations.is_empty() {
            let fields: Vec<FieldViolation> = fault
                .violations
                .into_iter()
                .map(|at| FieldViolation::new(at.field, at.description))
                .collect();
            details.set_bad_request(fields);
        }
        if fault.retry_after.is_some() {
            details.set_retry_info(fault.retry_after);
        }
        Self::with_error_details(fault.reason.code(), fault.message, details)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.message)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests;
