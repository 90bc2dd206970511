//! From descriptors to routes: of one's own with every error in them, of somebody else's as far as they can be served.

pub(crate) mod percent;
pub(crate) mod template;
pub(crate) mod trie;
pub(crate) mod route;
pub(crate) mod selection;
pub(crate) mod compile;

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use prost_reflect::{DescriptorError, DescriptorPool};

use self::{
    compile::RouteError,
    route::Route,
    selection::{Mount, Selection, Serves},
    trie::{Ambiguity, Entry, Lookup, Trie},
};
use crate::descriptors::{self, Described};

/// All that can be called over HTTP, and where paths lead to.
#[derive(Debug)]
pub struct Routes {
    list: Vec<Arc<Route>>,
    trie: Trie,
}

/// Why descriptors cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum RoutesError {
    /// They are no descriptors, or some are missing.
    #[error("not a complete set of descriptors: {0}")]
    Descriptors(#[from] DescriptorError),
    /// They are no descriptors at all.
    #[error("not a set of descriptors: {0}")]
    Unreadable(String),
    /// A `google.api.http` cannot be served.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// Two routes answer the same request.
    #[error(transparent)]
    Ambiguity(#[from] Ambiguity),
}

impl Routes {
    /// The routes of every method with a `google.api.http`, from an encoded `google.protobuf.FileDescriptorSet` with all that it imports.
    ///
    /// # Errors
    /// Every error in it, all at once.
    pub fn compile(set: impl AsRef<[u8]>) -> Result<Self, Vec<RoutesError>> {
        Self::compile_where(set, &|_| true)
    }

    /// The same, of those methods only that are served.
    ///
    /// # Errors
    /// As [`Routes::compile`].
    pub fn compile_where(set: impl AsRef<[u8]>, serves: Serves<'_>) -> Result<Self, Vec<RoutesError>> {
        let pool = DescriptorPool::decode(set.as_ref()).map_err(|error| vec![error.into()])?;
        Self::of(&pool, Selection { serves, mount: None })
    }

    /// The routes of those methods of several sets that are served, below a name.
    ///
    /// # Errors
    /// As [`Routes::compile`].
    pub fn mounted(sets: &[&[u8]], serves: Serves<'_>, mount: Mount<'_>) -> Result<Self, Vec<RoutesError>> {
        let mut pool = DescriptorPool::new();
        for set in sets {
            pool.decode_file_descriptor_set(*set).map_err(|error| vec![error.into()])?;
        }
        Self::of(&pool, Selection { serves, mount: Some(mount) })
    }

    fn of(pool: &DescriptorPool, selection: Selection<'_>) -> Result<Self, Vec<RoutesError>> {
        let (list, errors) = compile::compile(pool, selection);
        let (trie, clashes) = Trie::build(&entries(&list));
        let mut errors: Vec<RoutesError> = errors.into_iter().map(Into::into).collect();
        errors.extend(clashes.into_iter().map(RoutesError::from));
        if errors.is_empty() { Ok(Self::new(list, trie)) } else { Err(errors) }
    }

    /// The routes of a set that somebody else wrote: of any edition, incomplete, and wrong in places. What cannot be served of it is left
    /// out, and named with the reason. Where it does not have what it imports, the files `google/…` of the set `google` are taken.
    ///
    /// # Errors
    /// Bytes that are no such set.
    pub fn of_foreign(
        set: &Bytes,
        google: &Bytes,
        serves: Serves<'_>,
    ) -> Result<(Self, Vec<String>), RoutesError> {
        // Nobody knows what a library makes of descriptors that no compiler has made.
        let routes = catch_unwind(AssertUnwindSafe(|| Self::as_far_as_possible(set, google, serves)));
        let routes = routes.unwrap_or_else(|_| Err("the descriptors made their reader panic".to_owned()));
        routes.map_err(RoutesError::Unreadable)
    }

    fn as_far_as_possible(
        set: &Bytes,
        google: &Bytes,
        serves: Serves<'_>,
    ) -> Result<(Self, Vec<String>), String> {
        let Described { pool, mut left_out } = descriptors::read(set, google)?;
        let (list, errors) = compile::compile(&pool, Selection { serves, mount: None });
        let (_, clashes) = Trie::build(&entries(&list));
        left_out.extend(errors.iter().map(ToString::to_string));
        left_out.extend(clashes.iter().map(|clash| format!("{}: {clash}", list[clash.index].rpc.name)));
        let second: BTreeSet<usize> = clashes.iter().map(|clash| clash.index).collect();
        let list = list.into_iter().enumerate().filter(|(at, _)| !second.contains(at));
        let list: Vec<Route> = list.map(|(_, route)| route).collect();
        let (trie, _) = Trie::build(&entries(&list));
        Ok((Self::new(list, trie), left_out))
    }

    fn new(list: Vec<Route>, trie: Trie) -> Self {
        Self { list: list.into_iter().map(Arc::new).collect(), trie }
    }

    /// Every route, in the order of the descriptors.
    #[must_use]
    pub fn list(&self) -> &[Arc<Route>] {
        &self.list
    }

    /// Finds the route of a request, as its place in [`Routes::list`]. `path` is as it was sent, without the query; HEAD is answered by GET's
    /// route.
    #[must_use]
    pub fn find(&self, method: &str, path: &str) -> Lookup {
        self.trie.find(method, path)
    }
}

fn entries(routes: &[Route]) -> Vec<Entry> {
    let entry = |route: &Route| Entry {
        method: route.method.clone(),
        template: route.template.clone(),
        rpc: route.rpc.name.clone(),
    };
    routes.iter().map(entry).collect()
}
