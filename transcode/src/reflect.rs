//! Messages of prost-reflect, for every shape that the flat tables leave: from and to wire bytes, and to JSON. Its own writers know no minus zero, and
//! print NaN in a wrapper as null.

pub(crate) mod encode;
pub(crate) mod decode;
pub(crate) mod print;

use std::borrow::Cow;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value};

/// The value of a field that is there. Minus zero is: of the zeros only the other one is a default
/// (<https://protobuf.dev/programming-guides/proto3/#default>).
fn value_of<'m>(message: &'m DynamicMessage, field: &FieldDescriptor) -> Option<Cow<'m, Value>> {
    if message.has_field(field) {
        return Some(message.get_field(field));
    }
    // Of the others no value is looked up, which would be made for that: most fields of most messages are absent.
    let is_number = !field.supports_presence() && matches!(field.kind(), Kind::Float | Kind::Double);
    let value = is_number.then(|| message.get_field(field))?;
    let is_minus_zero = match *value {
        Value::F32(value) => value.to_bits() == (-0.0_f32).to_bits(),
        Value::F64(value) => value.to_bits() == (-0.0_f64).to_bits(),
        _ => false,
    };
    is_minus_zero.then_some(value)
}
