//! Which program this is.

/// The version of all of it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What whoever has made the binary calls the build, such as a commit: `ORDERMESH_BUILD` when it was compiled.
pub const BUILD: &str = match option_env!("ORDERMESH_BUILD") {
    Some(name) => name,
    None => "unnamed",
};
