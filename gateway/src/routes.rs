//! The routes of an edge, from the descriptors in its settings.

use bytes::Bytes;
use chassis::settings::ConfigErrors;
use transcode::{Routes, RoutesError};

use crate::settings::Config;

const FLAG: &str = "--descriptor-set";

/// What was left out is named in one line, up to so many parts.
const MOST_NAMED: usize = 100;

/// Every route; `None` after errors were noted.
pub(crate) fn of(config: &Config, errors: &mut ConfigErrors) -> Option<Routes> {
    let routes = match &config.foreign {
        None => Routes::compile(&config.descriptor_set),
        Some(missing) => foreign(config, missing.clone()).map_err(|error| vec![error]),
    };
    let routes = routes.map_err(|found| found.iter().for_each(|error| errors.note(FLAG, error))).ok()?;
    errors.require(!routes.list().is_empty(), FLAG, "no method has google.api.http");
    Some(routes)
}

fn foreign(config: &Config, mut left_out: Vec<String>) -> Result<Routes, RoutesError> {
    let google = Bytes::from_static(ordermesh::DESCRIPTOR_SET);
    let (routes, parts) = Routes::of_foreign(&config.descriptor_set, &google)?;
    left_out.extend(parts);
    if !left_out.is_empty() {
        let (parts, named) = (left_out.len(), &left_out[..left_out.len().min(MOST_NAMED)]);
        let left_out = named.join("; ");
        tracing::warn!(parts, left_out, "parts of the descriptors cannot be served and are left out");
    }
    Ok(routes)
}
