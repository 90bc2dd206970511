//! Messages become wire bytes.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};

use super::value_of;
use crate::direct::{
    put::zigzag,
    wire::{DELIMITED, END_GROUP, FIXED32, FIXED64, START_GROUP, VARINT, put_delimited, put_tag, put_varint},
};

/// The wire bytes of a message that was read from JSON.
pub(crate) fn message(message: &DynamicMessage) -> Vec<u8> {
    let mut out = Vec::new();
    fields(message, &mut out);
    out
}

/// Appends the fields of a message.
pub(crate) fn fields(message: &DynamicMessage, out: &mut Vec<u8>) {
    for field in message.descriptor().fields() {
        if let Some(value) = value_of(message, &field) {
            put(&field, &value, out);
        }
    }
}

fn put(field: &FieldDescriptor, value: &Value, out: &mut Vec<u8>) {
    let (number, kind) = (field.number(), field.kind());
    match (value, &kind) {
        (Value::List(values), _) if field.is_packed() => {
            put_tag(out, number, DELIMITED);
            put_delimited(out, |out| values.iter().for_each(|value| bare(&kind, value, out)));
        }
        (Value::List(values), _) => values.iter().for_each(|value| one(field, &kind, value, out)),
        (Value::Map(entries), Kind::Message(entry)) => {
            let (of_key, of_value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            for (key, value) in entries {
                put_tag(out, number, DELIMITED);
                put_delimited(out, |out| {
                    one(&of_key, &of_key.kind(), &Value::from(key.clone()), out);
                    one(&of_value, &of_value.kind(), value, out);
                });
            }
        }
        (value, _) => one(field, &kind, value, out),
    }
}

fn one(field: &FieldDescriptor, kind: &Kind, value: &Value, out: &mut Vec<u8>) {
    if let (Value::Message(message), true) = (value, field.is_group()) {
        put_tag(out, field.number(), START_GROUP);
        fields(message, out);
        put_tag(out, field.number(), END_GROUP);
        return;
    }
    let wire_type = match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => FIXED64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => FIXED32,
        Kind::String | Kind::Bytes | Kind::Message(_) => DELIMITED,
        _ => VARINT,
    };
    put_tag(out, field.number(), wire_type);
    bare(kind, value, out);
}

/// Appends a value without a tag.
fn bare(kind: &Kind, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bool(value) => put_varint(out, (*value).into()),
        Value::I32(value) => match kind {
            Kind::Sfixed32 => out.extend(value.to_le_bytes()),
            Kind::Sint32 => put_varint(out, zigzag((*value).into())),
            _ => put_varint(out, i64::from(*value).cast_unsigned()),
        },
        Value::I64(value) => match kind {
            Kind::Sfixed64 => out.extend(value.to_le_bytes()),
            Kind::Sint64 => put_varint(out, zigzag(*value)),
            _ => put_varint(out, value.cast_unsigned()),
        },
        Value::U32(value) if *kind == Kind::Fixed32 => out.extend(value.to_le_bytes()),
        Value::U32(value) => put_varint(out, (*value).into()),
        Value::U64(value) if *kind == Kind::Fixed64 => out.extend(value.to_le_bytes()),
        Value::U64(value) => put_varint(out, *value),
        Value::F32(value) => out.extend(value.to_le_bytes()),
        Value::F64(value) => out.extend(value.to_le_bytes()),
        Value::EnumNumber(value) => put_varint(out, i64::from(*value).cast_unsigned()),
        Value::String(value) => put_delimited(out, |out| out.extend(value.as_bytes())),
        Value::Bytes(value) => put_delimited(out, |out| out.extend(&value[..])),
        Value::Message(message) => put_delimited(out, |out| fields(message, out)),
        // Neither is inside of the other.
        Value::List(_) | Value::Map(_) => {}
    }
}
