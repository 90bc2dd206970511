//! The services behind an edge.

use std::{collections::BTreeMap, sync::Arc};

use chassis::settings::ConfigErrors;
use transcode::Route;
use upstream::{Location, Upstream};

use crate::settings::{Config, Upstreams, url_flag};

/// The key of the one for services that have none of their own.
const EVERY: &str = "";

/// By the full names of services.
pub(crate) type Pools = BTreeMap<String, Option<Arc<Upstream>>>;

/// A route's service; `None` where it has no URL, and `Some(None)` where that is an error.
pub(crate) fn pool_of(pools: &Pools, route: &Route) -> Option<Option<Arc<Upstream>>> {
    pools.get(&route.rpc.service).or_else(|| pools.get(EVERY)).cloned()
}

/// Every service, or `None` where a URL is an error.
pub(crate) fn of(config: &Config, errors: &mut ConfigErrors) -> Pools {
    let locations = match &config.upstreams {
        Upstreams::One(location) => BTreeMap::from([(EVERY.to_owned(), location.clone())]),
        Upstreams::Each(locations) => locations.clone(),
    };
    let upstream = |(service, location): (String, Location)| {
        let upstream = Upstream::of(&location, config.trust())
            .map_err(|found| found.iter().for_each(|error| errors.note(url_flag(&service), error)));
        (service, upstream.ok().map(Arc::new))
    };
    locations.into_iter().map(upstream).collect()
}
