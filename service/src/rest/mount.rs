//! The routes of one service's admin services, and the service in this process.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use anyhow::anyhow;
use auth::{Guard, Rule};
use http::HeaderValue;
use transcode::{Lookup, Mount, PercentError, Route, Routes};
use upstream::Upstream;

use crate::wiring::Wired;

/// What every path begins with.
pub(super) const BASE: &str = "/admin/v1/";

/// A service below its name.
#[derive(Debug)]
pub(super) struct Mounted {
    pub(super) name: &'static str,
    pub(super) upstream: Upstream,
    /// Who may call what.
    pub(super) guard: Arc<Guard>,
    /// Where its gRPC is.
    pub(super) authority: String,
    routes: Routes,
    /// What its paths begin with.
    base: String,
}

/// What a method and a path lead to.
pub(super) enum Found<'m> {
    Route(&'m Arc<Route>, Vec<Result<String, PercentError>>),
    /// The path has routes, but only for these methods.
    OtherMethods(HeaderValue),
    Nothing,
}

impl Mounted {
    /// A service, if it serves anything for operators.
    pub(super) fn of(wired: &Wired, address: SocketAddr) -> anyhow::Result<Option<Self>> {
        let Some(local) = wired.operators()? else { return Ok(None) };
        let contract = wired.contract();
        let name = contract.name;
        let routes = Routes::mounted(
            contract.descriptor_sets,
            &|method| {
                // A stream would outlive its connection.
                !(method.is_server_streaming() || method.is_client_streaming())
                    && contract.services.contains(method.parent_service().full_name())
                    && matches!(Rule::of(method), Ok(Some(rule)) if rule.is_for_operators())
            },
            Mount { base: BASE, name },
        );
        let routes = routes.map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            anyhow!("the admin routes of {name} cannot be served: {}", errors.join("; "))
        })?;
        let (upstream, base) = (Upstream::from(local), format!("{BASE}{name}/"));
        let guard = Arc::clone(&contract.guard);
        Ok(Some(Self { name, upstream, guard, authority: address.to_string(), routes, base }))
    }

    /// Whether a path is below its name.
    pub(super) fn has(&self, path: &str) -> bool {
        path.starts_with(&self.base)
    }

    /// Every route.
    pub(super) fn list(&self) -> &[Arc<Route>] {
        self.routes.list()
    }

    /// The route of a request.
    pub(super) fn find(&self, method: &str, path: &str) -> Found<'_> {
        match self.routes.find(method, path) {
            Lookup::Found(index, captures) => Found::Route(&self.routes.list()[index], captures),
            Lookup::OtherMethods(methods) => Found::OtherMethods(allow(&methods)),
            Lookup::Nothing => Found::Nothing,
        }
    }
}

/// Whether who calls it needs more than to be allowed to look.
pub(super) fn writes(route: &Route) -> bool {
    !matches!(Rule::of(&route.rpc.method), Ok(Some(rule)) if rule.only_reads())
}

/// Method names are tokens, so they are a header value.
fn allow(methods: &BTreeSet<String>) -> HeaderValue {
    let methods: Vec<&str> = methods.iter().map(String::as_str).collect();
    HeaderValue::from_str(&methods.join(", ")).unwrap_or_else(|_| HeaderValue::from_static("GET"))
}
