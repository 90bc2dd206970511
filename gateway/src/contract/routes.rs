//! The routes of an edge, from the descriptors in its settings.

use auth::Rule;
use bytes::Bytes;
use chassis::settings::ConfigErrors;
use prost_reflect::MethodDescriptor;
use transcode::{Routes, RoutesError};

use crate::settings::Config;

const FLAG: &str = "--descriptor-set";

/// What was left out is named in one line, up to so many parts.
const MOST_NAMED: usize = 100;

/// Every route, and what is left out; `None` after errors were noted.
pub(crate) fn of(config: &Config, errors: &mut ConfigErrors) -> Option<(Routes, Vec<String>)> {
    let routes = match &config.foreign {
        None => Routes::compile_where(&config.descriptor_set, &is_public).map(|routes| (routes, Vec::new())),
        Some(missing) => foreign(config, missing.clone()).map_err(|error| vec![error]),
    };
    let (routes, left_out) =
        routes.map_err(|found| found.iter().for_each(|error| errors.note(FLAG, error))).ok()?;
    errors.require(!routes.list().is_empty(), FLAG, "no method has google.api.http");
    Some((routes, left_out))
}

fn foreign(config: &Config, mut left_out: Vec<String>) -> Result<(Routes, Vec<String>), RoutesError> {
    let google = Bytes::from_static(ordermesh::DESCRIPTOR_SET);
    let (routes, parts) = Routes::of_foreign(&config.descriptor_set, &google, &is_public)?;
    left_out.extend(parts);
    Ok((routes, left_out))
}

/// Whether callers of the edge may know of a method: what is for operators has its routes at the operator's listener of its service.
pub(super) fn is_public(method: &MethodDescriptor) -> bool {
    !matches!(Rule::of(method), Ok(Some(rule)) if rule.is_for_operators())
}

/// Parts that are left out, in one line.
pub(crate) fn named(parts: &[String]) -> String {
    parts[..parts.len().min(MOST_NAMED)].join("; ")
}
