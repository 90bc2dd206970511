//! What a request says: its headers, and its body; and how long it has.

pub(crate) mod headers;
pub(crate) mod body;
pub(crate) mod deadline;
pub(crate) mod fields;
