//! The methods of gRPC that can be called.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use auth::{Rule, Rules};
use chassis::metrics::Method as Counts;
use http::Method;
use prost_reflect::MethodDescriptor;
use upstream::Upstream;

use super::{routes::is_public, served::Served};
use crate::metrics;

/// The methods that can be called, by their path.
#[derive(Debug)]
pub(crate) struct Methods {
    by_path: HashMap<String, Arc<Called>>,
    /// What calls of unknown methods are counted as.
    other: Arc<Counts>,
}

/// A method of a service.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) upstream: Arc<Upstream>,
    counted: Arc<Counts>,
    /// Whether either side streams: then only its beginning has a time that the edge knows.
    pub(crate) streams: bool,
    /// Whether it only reads, because one of its routes is a GET.
    pub(crate) reads: bool,
    /// Who may call it; without a rule, everyone who has a token.
    pub(crate) rule: Option<Rule>,
}

impl Methods {
    /// Every method of the services that have a route, but for those of operators: a service without a route stays unknown here too.
    pub(crate) fn of(served: &[Arc<Served>], rules: &Rules) -> Self {
        let gets = served.iter().filter(|served| served.route.method == Method::GET.as_str());
        let reads: HashSet<_> = gets.map(|served| served.route.rpc.method.full_name().to_owned()).collect();
        let called = |method: &MethodDescriptor, upstream: &Arc<Upstream>| {
            let name = format!("{}/{}", method.parent_service().full_name(), method.name());
            let counted = metrics::call(&name);
            let streams = method.is_client_streaming() || method.is_server_streaming();
            let reads = reads.contains(method.full_name());
            let (path, upstream) = (format!("/{name}"), Arc::clone(upstream));
            let rule = rules.get(&path).cloned();
            (path, Arc::new(Called { upstream, counted, streams, reads, rule }))
        };
        let methods = |served: &Arc<Served>| {
            let service = served.route.rpc.method.parent_service().clone();
            let upstream = Arc::clone(&served.upstream);
            let methods = service.methods().filter(is_public);
            methods.map(|method| called(&method, &upstream)).collect::<Vec<_>>()
        };
        let by_path = served.iter().flat_map(methods).collect();
        Self { by_path, other: metrics::call("_OTHER") }
    }

    /// The method of a path, if anybody has it, and what its calls are counted as.
    pub(crate) fn find(&self, path: &str) -> (Option<Arc<Called>>, Arc<Counts>) {
        let called = self.by_path.get(path).cloned();
        let counted = called.as_ref().map_or(&self.other, |called| &called.counted);
        let counted = Arc::clone(counted);
        (called, counted)
    }
}
