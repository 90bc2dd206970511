//! From descriptors to routes, with every mistake in them.

use chassis::settings::Mistakes;
use prost_reflect::DescriptorPool;

use crate::{
    settings::Config,
    transcode::{
        route::{Entry, Trie},
        table::{self, Route},
    },
};

/// The routes of the descriptors; `None` after mistakes were noted.
pub(crate) fn compile(config: &Config, mistakes: &mut Mistakes) -> Option<Vec<Route>> {
    let pool = match DescriptorPool::decode(config.descriptor_set.clone()) {
        Ok(pool) => pool,
        Err(error) => {
            mistakes.note("--descriptor-set", format!("not a complete set of descriptors: {error}"));
            return None;
        }
    };
    match table::compile(&pool) {
        Ok(routes) => {
            mistakes.require(!routes.is_empty(), "--descriptor-set", "no method has google.api.http");
            Some(routes)
        }
        Err(errors) => {
            errors.iter().for_each(|error| mistakes.note("--descriptor-set", error));
            None
        }
    }
}

/// Where paths lead to; `None` after mistakes were noted.
pub(crate) fn trie(routes: &[Route], mistakes: &mut Mistakes) -> Option<Trie> {
    let entry = |route: &Route| Entry {
        method: route.method.clone(),
        template: route.template.clone(),
        rpc: route.rpc.name.clone(),
    };
    let entries: Vec<Entry> = routes.iter().map(entry).collect();
    let clashes = match Trie::build(&entries) {
        Ok(trie) => return Some(trie),
        Err(clashes) => clashes,
    };
    clashes.iter().for_each(|clash| mistakes.note("--descriptor-set", clash));
    None
}
