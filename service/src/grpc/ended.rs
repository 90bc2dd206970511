//! How a call has ended, as its span says it.

use std::time::Duration;

use http::{HeaderMap, Response};
use tonic::{Code, Status};
use tower_http::trace::{DefaultOnEos, DefaultOnResponse, OnEos, OnResponse};
use tracing::Span;

use chassis::{
    status::{code_name, is_fault_of_server},
    trace,
};

/// Logs as tower-http does, and notes the status in the span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended;

impl<B> OnResponse<B> for Ended {
    fn on_response(self, response: &Response<B>, latency: Duration, span: &Span) {
        note(response.headers(), span);
        DefaultOnResponse::new().on_response(response, latency, span);
    }
}

impl OnEos for Ended {
    fn on_eos(self, trailers: Option<&HeaderMap>, duration: Duration, span: &Span) {
        if let Some(trailers) = trailers {
            note(trailers, span);
        }
        DefaultOnEos::new().on_eos(trailers, duration, span);
    }
}

/// A status among headers or trailers is the end of a call.
fn note(headers: &HeaderMap, span: &Span) {
    let Some(code) = headers.get(Status::GRPC_STATUS) else { return };
    let code = Code::from_bytes(code.as_bytes());
    let error = is_fault_of_server(code).then(|| code_name(code));
    trace::ended(span, &[("rpc.response.status_code", code_name(code))], error);
}
