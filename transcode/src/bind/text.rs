//! Values from text alone: what a path variable or a query parameter can bind, a message among them.

use prost_reflect::{Kind, Value};

use super::{known, scalar};

/// Whether text alone can express a value.
#[must_use]
pub(crate) fn is_textual(kind: &Kind) -> bool {
    match kind {
        Kind::Message(message) => known::is_textual(message),
        _ => true,
    }
}

/// A value from a query parameter or a path variable.
///
/// # Errors
/// What the text must be, to follow the name of the field.
pub(crate) fn from_text(kind: &Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Message(message) => known::from_text(message, text).map(Value::Message),
        _ => scalar::from_text(kind, text),
    }
}
