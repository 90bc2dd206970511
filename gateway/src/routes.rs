//! From descriptors to routes: of our own with every mistake in them, of somebody else's as far as they can be served.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use chassis::settings::Mistakes;
use prost_reflect::DescriptorPool;

use crate::{
    descriptors::{self, Described},
    settings::Config,
    transcode::{
        route::{Entry, Trie},
        table::{self, Route},
    },
};

const FLAG: &str = "--descriptor-set";

/// What was left out is named in one line, up to so many parts.
const MOST_NAMED: usize = 100;

/// Every route, and where paths lead to; `None` after mistakes were noted.
pub(crate) fn of(config: &Config, mistakes: &mut Mistakes) -> Option<(Vec<Route>, Trie)> {
    let found = match &config.foreign {
        None => ours(config, mistakes)?,
        Some(missing) => {
            // Nobody knows what a library makes of descriptors that no compiler has made.
            let found = catch_unwind(AssertUnwindSafe(|| foreign(config, missing.clone())));
            let found = found.unwrap_or_else(|_| Err("the descriptors made their reader panic".to_owned()));
            found.map_err(|error| mistakes.note(FLAG, format!("not a set of descriptors: {error}"))).ok()?
        }
    };
    mistakes.require(!found.0.is_empty(), FLAG, "no method has google.api.http");
    Some(found)
}

fn ours(config: &Config, mistakes: &mut Mistakes) -> Option<(Vec<Route>, Trie)> {
    let pool = DescriptorPool::decode(config.descriptor_set.clone());
    let pool = pool
        .map_err(|error| mistakes.note(FLAG, format!("not a complete set of descriptors: {error}")))
        .ok()?;
    let (routes, errors) = table::compile_what_can_be(&pool);
    errors.iter().for_each(|error| mistakes.note(FLAG, error));
    let (trie, clashes) = Trie::of_first(&entries(&routes));
    clashes.iter().for_each(|clash| mistakes.note(FLAG, clash));
    (errors.is_empty() && clashes.is_empty()).then_some((routes, trie))
}

fn foreign(config: &Config, mut left_out: Vec<String>) -> Result<(Vec<Route>, Trie), String> {
    let Described { pool, left_out: parts } = descriptors::read(&config.descriptor_set)?;
    let (routes, errors) = table::compile_what_can_be(&pool);
    let (_, clashes) = Trie::of_first(&entries(&routes));
    left_out.extend(parts);
    left_out.extend(errors.iter().map(ToString::to_string));
    left_out.extend(clashes.iter().map(|clash| format!("{}: {clash}", routes[clash.index].rpc.name)));
    let second: BTreeSet<usize> = clashes.iter().map(|clash| clash.index).collect();
    let routes: Vec<Route> = routes
        .into_iter()
        .enumerate()
        .filter_map(|(at, route)| (!second.contains(&at)).then_some(route))
        .collect();
    let (trie, _) = Trie::of_first(&entries(&routes));
    if !left_out.is_empty() {
        let (parts, named) = (left_out.len(), &left_out[..left_out.len().min(MOST_NAMED)]);
        let left_out = named.join("; ");
        tracing::warn!(parts, left_out, "parts of the descriptors cannot be served and are left out");
    }
    Ok((routes, trie))
}

fn entries(routes: &[Route]) -> Vec<Entry> {
    let entry = |route: &Route| Entry {
        method: route.method.clone(),
        template: route.template.clone(),
        rpc: route.rpc.name.clone(),
    };
    routes.iter().map(entry).collect()
}
