//! What a request says: its headers, and its body.

pub(crate) mod headers;
pub(crate) mod body;
