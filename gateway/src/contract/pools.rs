//! The services behind an edge.

use std::{collections::BTreeMap, sync::Arc};

use chassis::settings::ConfigErrors;
use upstream::{Location, Upstream};

use crate::settings::{Config, Upstreams, url_flag};

/// The key of the one for services that have none of their own.
const EVERY: &str = "";

/// By the full names of services.
pub(crate) type Pools = BTreeMap<String, Arc<Upstream>>;

/// A service by its full name; `None` where nobody knows where it is.
pub(crate) fn at(pools: &Pools, service: &str) -> Option<Arc<Upstream>> {
    pools.get(service).or_else(|| pools.get(EVERY)).cloned()
}

/// Every service; `None` after errors were noted.
pub(crate) fn of(config: &Config, errors: &mut ConfigErrors) -> Option<Pools> {
    let locations = match &config.upstreams {
        Upstreams::One(location) => BTreeMap::from([(EVERY.to_owned(), location.clone())]),
        Upstreams::Each(locations) => locations.clone(),
    };
    let upstream = |(service, location): (String, Location)| {
        let upstream = Upstream::of(&location, config.trust())
            .map_err(|found| found.iter().for_each(|error| errors.note(url_flag(&service), error)));
        Some((service, Arc::new(upstream.ok()?)))
    };
    // All of them, so that each error is noted.
    let pools: Vec<Option<_>> = locations.into_iter().map(upstream).collect();
    pools.into_iter().collect()
}
