//! One version of the descriptors: its routes, its documents, and what is wrong with it.

use std::{collections::BTreeSet, sync::Arc};

use auth::{Data, Rules};
use chassis::settings::ConfigErrors;
use http::HeaderName;
use prost_reflect::MethodDescriptor;
use transcode::{Lookup, Route, Routes, openapi::Listed};

use super::{failures, routes};
use crate::{
    documents::Documents,
    identity,
    metrics::Meter,
    settings::{Config, Upstreams, url_flag},
};

/// One version of the descriptors.
#[derive(Debug)]
pub(crate) struct Contract {
    pub(super) routes: Routes,
    /// Those of all methods of services that have routes, as far as they have one.
    pub(super) rules: Rules,
    /// Those of the routes, in their order.
    pub(super) meters: Vec<Arc<Meter>>,
    /// Headers of requests that become metadata too.
    pub(super) further: Arc<[HeaderName]>,
    /// What cannot be served, with the reasons.
    pub(super) left_out: Vec<String>,
    /// Paths of the edge's own documents where a route answers.
    pub(super) covered: Vec<String>,
    pub(crate) documents: Arc<Documents>,
    /// Whether it is that of both of our services, of which the shop is a client.
    pub(super) has_shop: bool,
}

/// Methods without which there is nothing to be shopped.
const SHOP_CALLS: [&str; 2] =
    ["ordermesh.orders.v1.OrdersService/CreateOrder", "ordermesh.payments.v1.PaymentsService/TopUpAccount"];

impl Contract {
    /// That of the descriptors in the settings; `None` after errors were noted.
    pub(crate) fn of(config: &Config, errors: &mut ConfigErrors) -> Option<Self> {
        let (routes, left_out) = routes::of(config, errors)?;
        let rules = identity::rules(&routes, errors);
        let has_issuer = config.issuer.is_some();
        let failures: Vec<_> = routes.list().iter().map(|route| failures::of(route, has_issuer)).collect();
        let listed = routes.list().iter().zip(&failures).map(|(route, failures)| {
            let rule = rules.get(route.rpc.path.path());
            let owner = rule.and_then(|rule| match &rule.data {
                Data::Named(owner) => Some(owner.as_str()),
                Data::All | Data::Stored => None,
            });
            let authority = config.upstreams.authority(&route.rpc.service);
            Listed { route, authority, scope: rule.map(|rule| rule.scope.as_str()), owner, failures }
        });
        let listed: Vec<Listed<'_>> = listed.collect();
        let known = |service: &str| match &config.upstreams {
            Upstreams::One(_) => true,
            Upstreams::Each(locations) => locations.contains_key(service),
        };
        let services = listed.iter().map(|listed| listed.route.rpc.service.as_str());
        let unknown: BTreeSet<&str> = services.filter(|service| !known(service)).collect();
        for service in &unknown {
            errors.note(url_flag(service), format!("no URL is known for {service}"));
        }
        if !unknown.is_empty() {
            return None;
        }
        let documents = Arc::new(Documents::of(&listed, has_issuer));
        let has_route = |path: &String| !matches!(routes.find("GET", path), Lookup::Nothing);
        let covered = documents.paths().into_iter().filter(has_route).collect();
        let meter = |route: &Arc<Route>| Meter::new(&route.method, route.template.text.clone());
        let meters = routes.list().iter().map(meter).collect();
        let further = config.forward_headers.clone().into();
        let contract = Self { routes, rules, meters, further, left_out, covered, documents, has_shop: false };
        let has_shop = SHOP_CALLS.iter().all(|method| contract.has(method));
        Some(Self { has_shop, ..contract })
    }

    /// Warns of what is left out, if anything is, and of documents that are not served.
    pub(crate) fn warn(&self) {
        self.warn_of_documents();
        if !self.left_out.is_empty() {
            let (parts, left_out) = (self.left_out.len(), routes::named(&self.left_out));
            tracing::warn!(parts, left_out, "parts of the descriptors cannot be served and are left out");
        }
    }

    /// Warns of documents that are not served, if there are any.
    pub(super) fn warn_of_documents(&self) {
        if !self.covered.is_empty() {
            let paths = routes::named(&self.covered);
            tracing::warn!(
                paths,
                "routes of the descriptors answer at paths of the edge's own documents, which are not served there"
            );
        }
    }

    /// Whether a service with routes has this method, as `package.Service/Method`.
    pub(crate) fn has(&self, method: &str) -> bool {
        let Some((service, name)) = method.split_once('/') else { return false };
        let route = self.routes.list().iter().find(|route| route.rpc.service == service);
        let is_it = |method: MethodDescriptor| method.name() == name && routes::is_public(&method);
        route.is_some_and(|route| route.rpc.method.parent_service().methods().any(is_it))
    }

    /// The full names of the services that have routes.
    pub(super) fn services(&self) -> BTreeSet<String> {
        let services = self.routes.list().iter().map(|route| route.rpc.method.parent_service());
        services.map(|service| service.full_name().to_owned()).collect()
    }

    /// How many routes it has.
    pub(crate) fn len(&self) -> usize {
        self.routes.list().len()
    }
}
