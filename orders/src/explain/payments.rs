//! The question to payments: what it knows of an order. It is asked over gRPC with the operator's own token, or in the same process.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use chassis::{
    clock::{Micros, timestamp},
    tls::ClientTls,
};
use http::{HeaderMap, uri::PathAndQuery};
use ordermesh::{
    audit::v1::{ListAuditEventsRequest, ListAuditEventsResponse},
    payments::v1::{ExplainPaymentRequest, PaymentExplanation},
};
use prost::Message;
use tokio::time::{Instant, timeout_at};
use tonic::Code;
use upstream::{Call, Location, OF_CALLER, Resolver, SystemResolver, Tried, Trust, Upstream, named};

use super::position::{Discard, FEW};

static METHOD: PathAndQuery =
    PathAndQuery::from_static("/ordermesh.payments.v1.PaymentsAdminService/ExplainPayment");
static ACTIONS: PathAndQuery = PathAndQuery::from_static("/ordermesh.audit.v1.AuditService/ListAuditEvents");
/// How long payments has: it asks its database for 4 s at most.
const PATIENCE: Duration = Duration::from_secs(6);
/// The same for what only makes an explanation more certain: whoever waits for it has 10 s in all.
const BESIDE: Duration = Duration::from_secs(2);

/// Where payments is, if anybody has said.
#[derive(Debug, Clone, Default)]
pub struct Whom {
    /// Where it is.
    pub location: Option<Location>,
    /// Whose certificate it has to have, and what it is shown.
    pub tls: ClientTls,
    /// The token by which it is asked when nobody has called, if it is in a file.
    pub token_file: Option<PathBuf>,
}

/// Asks payments.
#[derive(Clone)]
pub struct Payments(Option<Arc<Upstream>>);

impl Payments {
    /// Payments as it is found there. Must be called inside of a tokio runtime.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn of(whom: &Whom) -> Result<Self, String> {
        let Some(location) = &whom.location else { return Ok(Self(None)) };
        let resolver: Arc<dyn Resolver> = Arc::new(SystemResolver);
        let upstream = Upstream::of(location, Trust { tls: &whom.tls, resolver: &resolver });
        Ok(Self(Some(Arc::new(upstream.map_err(|errors| errors.join("; "))?))))
    }

    /// What it knows of an order, for who has sent these headers.
    ///
    /// # Errors
    /// Why it does not say, for a person.
    pub async fn explain(
        &self,
        request: &ExplainPaymentRequest,
        headers: &HeaderMap,
    ) -> Result<PaymentExplanation, String> {
        self.call(&METHOD, request, headers, PATIENCE).await
    }

    /// What operators have discarded there from then on, the last one first, for who has sent these headers.
    ///
    /// # Errors
    /// Why it does not say, for a person.
    pub async fn discards(&self, since: Micros, headers: &HeaderMap) -> Result<Vec<Discard>, String> {
        let request = ListAuditEventsRequest {
            page_size: i32::try_from(FEW).unwrap_or_default(),
            filter: format!("action = \"DISCARD\" AND time >= \"{}\"", timestamp(since)),
            ..ListAuditEventsRequest::default()
        };
        let listed: ListAuditEventsResponse = self.call(&ACTIONS, &request, headers, BESIDE).await?;
        Ok(listed.events.into_iter().map(Discard::at_payments).collect())
    }

    /// What it answers to a call for who has sent these headers.
    ///
    /// # Errors
    /// Why it does not answer, for a person.
    pub async fn call<A: Message + Default>(
        &self,
        path: &PathAndQuery,
        request: &impl Message,
        headers: &HeaderMap,
        patience: Duration,
    ) -> Result<A, String> {
        let upstream = self.0.as_deref().ok_or("nobody has said where it is (--payments-url)")?;
        let deadline = Instant::now() + patience;
        let call = Call {
            upstream,
            tried: &Tried::default(),
            path,
            streams: false,
            wire: Bytes::from(request.encode_to_vec()),
            headers,
            metadata: named,
            further: &OF_CALLER,
            deadline: Some(deadline),
        };
        let answered = timeout_at(deadline, call.unary()).await;
        let answered = answered.map_err(|_| format!("it has not answered within {patience:?}"))?;
        let answer = answered.map_err(|status| why(status.code(), status.message()))?;
        A::decode(answer.body).map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Payments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Payments").field(&self.0.is_some()).finish()
    }
}

/// Why there is no answer, for a person: what no service has said is of the connection, as when a process is frozen.
fn why(code: Code, message: &str) -> String {
    match code {
        Code::Unknown => format!("its connection broke before it had answered: {message}"),
        code => format!("{code}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_breaks_is_no_unknown_error() {
        let said = why(Code::Unknown, "h2 protocol error");
        assert_eq!(said, "its connection broke before it had answered: h2 protocol error");
        assert!(why(Code::PermissionDenied, "the scope is missing").ends_with(": the scope is missing"));
    }
}
