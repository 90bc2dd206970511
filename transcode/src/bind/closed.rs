//! Closed enums: those of proto2, and of editions where a feature says so. A number without a name is no value of theirs.

use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, Syntax, Value};

/// Whether only the numbers with names are values of an enum.
pub(crate) fn is_closed(descriptor: &EnumDescriptor) -> bool {
    descriptor.parent_file().syntax() == Syntax::Proto2
}

/// Forgets the numbers that closed enums do not know: a reader takes them for unknown fields, as if they were not there
/// (<https://protobuf.dev/programming-guides/enum>).
pub(crate) fn forget_unknown(message: &mut DynamicMessage) {
    let mut unknown = Vec::new();
    for (field, value) in message.fields_mut() {
        let kind = match field.kind() {
            Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
            kind => kind,
        };
        match value {
            Value::List(values) => values.retain_mut(|value| is_known(&kind, value)),
            Value::Map(values) => values.retain(|_, value| is_known(&kind, value)),
            value => {
                if !is_known(&kind, value) {
                    unknown.push(field);
                }
            }
        }
    }
    unknown.iter().for_each(|field| message.clear_field(field));
}

fn is_known(kind: &Kind, value: &mut Value) -> bool {
    match (kind, value) {
        (Kind::Enum(descriptor), Value::EnumNumber(number)) => {
            !is_closed(descriptor) || descriptor.get_value(*number).is_some()
        }
        (_, Value::Message(message)) => {
            forget_unknown(message);
            true
        }
        _ => true,
    }
}
