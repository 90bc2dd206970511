//! The two sides that are compared: the own database, and payments in the same process or over gRPC.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use chassis::{
    clock::{Micros, timestamp},
    secret::{ExposeSecret as _, SecretString},
    status::Chain,
};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION, uri::PathAndQuery};
use ordermesh::reconciliation::v1::{
    DecisionsDigest, DigestDecisionsRequest, ListDecisionsRequest, ListDecisionsResponse,
};
use service::decisions::{Decisions, Digest, Scanned, micros};
use uuid::Uuid;

use crate::explain::payments::Payments;

static DIGEST: PathAndQuery =
    PathAndQuery::from_static("/ordermesh.payments.v1.PaymentsAdminService/DigestDecisions");
static LIST: PathAndQuery =
    PathAndQuery::from_static("/ordermesh.payments.v1.PaymentsAdminService/ListDecisions");
/// How long payments has: a minute of orders is read in a second or two.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one side says of a range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Of the decided orders.
    pub digest: Digest,
    /// The others, as far as the side says.
    pub undecided: Vec<Uuid>,
    /// When the last order before the range was placed.
    pub earlier: Option<Micros>,
    /// Which process has answered; empty for this one.
    pub instance: String,
}

/// A side. Its errors are for a person.
#[async_trait]
pub trait Side: fmt::Debug + Send + Sync + 'static {
    /// The digest of the decided orders that were placed from one time on and before the other, at most a minute later.
    async fn digest(&self, from: Micros, until: Micros) -> Result<Counted, String>;

    /// Orders with their decisions.
    async fn list(&self, request: ListDecisionsRequest) -> Result<ListDecisionsResponse, String>;
}

/// What both sides answer for.
pub type Sided = Arc<dyn Side>;

#[async_trait]
impl Side for Decisions {
    async fn digest(&self, from: Micros, until: Micros) -> Result<Counted, String> {
        let scanned = self.scan(from, until).await.map_err(|failure| Chain(&failure).to_string())?;
        let Scanned { digest, undecided, earlier } = scanned;
        Ok(Counted { digest, undecided, earlier, instance: String::new() })
    }

    async fn list(&self, request: ListDecisionsRequest) -> Result<ListDecisionsResponse, String> {
        Self::list(self, request).await.map_err(|fault| fault.message)
    }
}

/// By which token payments is asked.
#[derive(Debug, Clone)]
pub enum Token {
    /// This one.
    Fixed(SecretString),
    /// What is in this file, which may be replaced at any time.
    File(PathBuf),
}

impl Token {
    fn header(&self) -> Result<HeaderValue, String> {
        let text = match self {
            Self::Fixed(token) => format!("Bearer {}", token.expose_secret()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                format!("Bearer {}", text.trim())
            }
        };
        let header = HeaderValue::try_from(text);
        let mut header = header.map_err(|_| "the token is not printable ASCII".to_owned())?;
        header.set_sensitive(true);
        Ok(header)
    }
}

/// Payments in another process.
#[derive(Debug)]
pub struct Remote {
    /// Where it is.
    pub payments: Payments,
    /// What it is shown.
    pub token: Token,
}

impl Remote {
    async fn call<A: prost::Message + Default>(
        &self,
        path: &PathAndQuery,
        request: &impl prost::Message,
    ) -> Result<A, String> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, self.token.header()?)]);
        self.payments.call(path, request, &headers, PATIENCE).await
    }
}

#[async_trait]
impl Side for Remote {
    async fn digest(&self, from: Micros, until: Micros) -> Result<Counted, String> {
        let request = DigestDecisionsRequest { from: Some(timestamp(from)), until: Some(timestamp(until)) };
        let digest: DecisionsDigest = self.call(&DIGEST, &request).await?;
        Ok(Counted::from(digest))
    }

    async fn list(&self, request: ListDecisionsRequest) -> Result<ListDecisionsResponse, String> {
        self.call(&LIST, &request).await
    }
}

impl From<DecisionsDigest> for Counted {
    fn from(digest: DecisionsDigest) -> Self {
        Self {
            digest: Digest::from(&digest),
            undecided: Vec::new(),
            earlier: digest.earlier_time.as_ref().map(micros),
            instance: digest.instance,
        }
    }
}
