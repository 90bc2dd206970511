//! Routes and where their services are, for one thread.

use std::{collections::BTreeSet, sync::Arc};

use auth::Rule;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use transcode::{PercentError, Route};
use upstream::{Call, Tried, Upstream};

use crate::{metrics::Meter, request::headers};

/// What a path has in the places of its template's variables.
pub(crate) type Captures = Vec<Result<String, PercentError>>;

/// A route and where its service is.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) route: Arc<Route>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) meter: Arc<Meter>,
    /// Headers of requests that become metadata too.
    pub(crate) further: Arc<[HeaderName]>,
    /// Who may call it; without a rule, everyone who has a token.
    pub(crate) rule: Option<Rule>,
}

impl Served {
    /// The path of its method, and the rule of that.
    pub(crate) fn called(&self) -> (&str, Option<&Rule>) {
        (self.route.rpc.path.path(), self.rule.as_ref())
    }

    /// A call of its method without a message yet, for a client with these headers.
    pub(crate) fn call<'a>(&'a self, tried: &'a Tried, headers: &'a HeaderMap) -> Call<'a> {
        let rpc = &self.route.rpc;
        Call {
            upstream: &self.upstream,
            tried,
            path: &rpc.path,
            streams: rpc.streaming || rpc.client_streaming,
            wire: Bytes::new(),
            headers,
            metadata: headers::metadata,
            further: &self.further,
            deadline: None,
        }
    }
}

/// What a request's path and method lead to.
pub(crate) enum Found {
    Route(Arc<Served>, Captures),
    OtherMethods(BTreeSet<String>),
    Nothing,
}
