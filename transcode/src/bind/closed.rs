//! Closed enums: those of proto2, and of editions where a feature says so. A number without a name is no value of theirs.

use prost_reflect::{EnumDescriptor, Syntax};

/// Whether only the numbers with names are values of an enum.
pub(crate) fn is_closed(descriptor: &EnumDescriptor) -> bool {
    descriptor.parent_file().syntax() == Syntax::Proto2
}
