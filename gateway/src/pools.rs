//! The endpoints of every service behind an edge.

use std::{collections::BTreeMap, sync::Arc};

use chassis::settings::Mistakes;
use transcode::Route;

use crate::{
    pool::Pool,
    resolve,
    settings::{Config, Upstreams, url_flag},
};

/// The key of the endpoints for services that have none of their own.
const EVERY: &str = "";

/// By the full names of services.
pub(crate) type Pools = BTreeMap<String, Option<Arc<Pool>>>;

/// The endpoints of a route's service; `None` where it has no URL, and `Some(None)` where that is a mistake.
pub(crate) fn pool_of(pools: &Pools, route: &Route) -> Option<Option<Arc<Pool>>> {
    pools.get(&route.rpc.service).or_else(|| pools.get(EVERY)).cloned()
}

/// The endpoints of every service, or `None` where a URL is a mistake.
pub(crate) fn of(config: &Config, mistakes: &mut Mistakes) -> Pools {
    let urls = match &config.upstreams {
        Upstreams::One(urls) => BTreeMap::from([(EVERY.to_owned(), urls.clone())]),
        Upstreams::Each(urls) => urls.clone(),
    };
    let pool = |(service, urls): (String, String)| {
        let pool = resolve::pool(&urls, config)
            .map_err(|errors| errors.iter().for_each(|error| mistakes.note(url_flag(&service), error)));
        (service, pool.ok().map(Arc::new))
    };
    urls.into_iter().map(pool).collect()
}
