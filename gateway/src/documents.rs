//! The documents of what is served: OpenAPI, all services in one and each package by itself, and AsyncAPI of our own events.

mod about;
mod base;
mod events;
pub(crate) mod places;
pub(crate) mod pages;

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderValue, Method};
use transcode::openapi::{self, Listed};

use crate::answer::problem::Problem;

/// Documents made once for each version of the descriptors; whoever serves one adds where the server is.
#[derive(Debug)]
pub(crate) struct Documents {
    /// All services in one.
    pub(crate) merged: String,
    /// Each service by its short name.
    pub(crate) each: BTreeMap<String, String>,
    /// The events, where the services are our own.
    pub(crate) events: Option<String>,
}

impl Documents {
    /// Those of routes, and whether callers need tokens of an issuer.
    pub(crate) fn of(listed: &[Listed<'_>], has_issuer: bool) -> Self {
        let ids = openapi::Ids::of(listed);
        let names = names(listed.iter().map(|listed| package(&listed.route.rpc.service)));
        let mut services: BTreeMap<String, Vec<Listed<'_>>> = BTreeMap::new();
        for one in listed {
            let name = names.get(package(&one.route.rpc.service)).cloned().unwrap_or_default();
            services.entry(name).or_default().push(*one);
        }
        let is_ours = about::is_ours(listed);
        let text = |title: &str, listed: &[Listed<'_>]| {
            openapi::document(&about::of(title, listed, has_issuer), listed, &ids).to_string()
        };
        let title = |name: &str| if is_ours { format!("ordermesh {name}") } else { name.to_owned() };
        let each = services.iter().map(|(name, routes)| (name.clone(), text(&title(name), routes))).collect();
        let merged = text(if is_ours { "ordermesh" } else { "all services" }, listed);
        let pool = listed.first().filter(|_| is_ours).map(|one| one.route.rpc.input.parent_pool());
        let events = pool.and_then(events::document).map(|document| document.to_string());
        Self { merged, each, events }
    }

    /// Where they are, and the pages beside them: routes of a contract at these paths take their place.
    pub(crate) fn paths(&self) -> Vec<String> {
        let fixed = ["/openapi.json", "/swagger/index.html", "/errors/"].map(str::to_owned);
        let events = self.events.iter().map(|_| "/asyncapi.json".to_owned());
        let each = self.each.keys().map(|name| format!("/openapi/{name}.json"));
        fixed.into_iter().chain(events).chain(each).collect()
    }
}

/// Whether a request only reads, which is all that can be done to a document.
pub(crate) fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The refusal of any other request for one that is there.
pub(crate) fn only_read() -> Problem {
    Problem::method_not_allowed(HeaderValue::from_static("GET, HEAD"))
}

/// The package of a service; where there is none, the service.
fn package(service: &str) -> &str {
    service.rsplit_once('.').map_or(service, |(package, _)| package)
}

/// What the document of each package is called: its short name, or the whole where several have the same.
fn names<'p>(packages: impl Iterator<Item = &'p str>) -> BTreeMap<&'p str, String> {
    let mut by_short: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        by_short.entry(short_name(package)).or_default().insert(package);
    }
    let name = |(short, packages): (String, BTreeSet<&'p str>)| {
        let is_alone = packages.len() == 1;
        packages
            .into_iter()
            .map(move |package| (package, if is_alone { short.clone() } else { package.to_owned() }))
    };
    by_short.into_iter().flat_map(name).collect()
}

/// `orders` for `ordermesh.orders.v1`: the last part that is no version.
fn short_name(package: &str) -> String {
    let versioned =
        |part: &&str| part.starts_with('v') && part[1..].starts_with(|c: char| c.is_ascii_digit());
    package.rsplit('.').find(|part| !versioned(part)).unwrap_or(package).to_ascii_lowercase()
}
