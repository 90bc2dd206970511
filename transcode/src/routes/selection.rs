//! Which methods get routes, and where these are put.

use prost_reflect::MethodDescriptor;

/// Whether a method is served.
pub type Serves<'s> = &'s dyn Fn(&MethodDescriptor) -> bool;

/// Where routes are put instead of where their rules say: below a name, so that services with the same methods stand side by side.
#[derive(Debug, Clone, Copy)]
pub struct Mount<'m> {
    /// What every path begins with, such as `/admin/v1/`. One that does not is an error.
    pub base: &'m str,
    /// What is put behind that, such as `orders`: `/admin/v1/parked` becomes `/admin/v1/orders/parked`.
    pub name: &'m str,
}

/// What is made of a set of descriptors.
#[derive(Clone, Copy)]
pub(crate) struct Selection<'s> {
    pub(crate) serves: Serves<'s>,
    pub(crate) mount: Option<Mount<'s>>,
}

impl Selection<'_> {
    /// Where the route with this path is put.
    pub(crate) fn path(&self, path: String) -> Result<String, String> {
        let Some(Mount { base, name }) = self.mount else { return Ok(path) };
        let rest = path.strip_prefix(base).ok_or_else(|| format!("{path} does not begin with {base}"))?;
        Ok(format!("{base}{name}/{rest}"))
    }

    /// The name that routes are put below; empty where they are not.
    pub(crate) fn name(&self) -> &str {
        self.mount.map_or("", |mount| mount.name)
    }
}
