//! Messages become JSON text, by the rules of ProtoJSON (<https://protobuf.dev/programming-guides/json>).

use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value,
};
use serde::ser::Error as _;

use super::{
    decode::{MOST_BYTES, Unreadable, decode},
    value_of,
};
use crate::{
    bind::{closed::is_closed, known, scalar},
    direct::{civil, print},
};

/// Messages in messages, those in an Any among them; the stack has room for more.
const MAX_DEPTH: usize = 100;

type Done = Result<(), Unprintable>;

/// Why a message is not printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unprintable {
    /// It has no JSON form: a timestamp out of range, an Any of an unknown type.
    #[error(transparent)]
    NoForm(#[from] serde_json::Error),
    /// Its JSON is longer than it may be, or what is in an Any takes more memory than it may.
    #[error("the JSON is too long")]
    TooLong,
}

/// The JSON of a message, of about so many bytes at most.
///
/// # Errors
/// A message without a JSON form, or with a longer one.
pub(crate) fn message(message: &DynamicMessage, most: usize) -> Result<Vec<u8>, Unprintable> {
    let mut out = Vec::new();
    Printer { depth: MAX_DEPTH, most, values: MOST_BYTES }.message(message, &mut out)?;
    Ok(out)
}

/// The JSON of one field; what is absent is its default, or null where it has presence.
///
/// # Errors
/// As [`message`].
pub(crate) fn field(
    message: &DynamicMessage,
    field: &FieldDescriptor,
    most: usize,
) -> Result<Vec<u8>, Unprintable> {
    let (mut out, printer) = (Vec::new(), Printer { depth: MAX_DEPTH, most, values: MOST_BYTES });
    match value_of(message, field) {
        None if field.supports_presence() => out.extend_from_slice(b"null"),
        None => printer.field(&field.kind(), &message.get_field(field), &mut out)?,
        Some(value) => printer.field(&field.kind(), &value, &mut out)?,
    }
    Ok(out)
}

#[derive(Clone, Copy)]
struct Printer {
    /// How many messages may still be opened.
    depth: usize,
    /// How long the text may be, in bytes.
    most: usize,
    /// What the values in an Any may take.
    values: usize,
}

impl Printer {
    fn message(self, message: &DynamicMessage, out: &mut Vec<u8>) -> Done {
        let depth = self.depth.checked_sub(1).ok_or_else(|| wrong("messages nest too deeply"))?;
        let inside = Self { depth, ..self };
        let descriptor = message.descriptor();
        if let Some(field) = known::wrapped(&descriptor) {
            return inside.value(&field.kind(), &message.get_field(&field), out);
        }
        match descriptor.full_name() {
            "google.protobuf.Timestamp" => printed(civil::print_timestamp(parts(message), out)),
            "google.protobuf.Duration" => printed(civil::print_duration(parts(message), out)),
            "google.protobuf.FieldMask" => inside.mask(message, out),
            "google.protobuf.Any" => inside.any(message, out),
            "google.protobuf.Struct" | "google.protobuf.ListValue" => match descriptor.get_field(1) {
                Some(field) => inside.field(&field.kind(), &message.get_field(&field), out),
                None => Err(wrong("a Struct or a ListValue has no fields").into()),
            },
            "google.protobuf.Value" => inside.any_value(message, out),
            _ => inside.object(message, "{", out),
        }
    }

    /// Appends an object that begins as `begun`.
    fn object(self, message: &DynamicMessage, begun: &str, out: &mut Vec<u8>) -> Done {
        out.extend_from_slice(begun.as_bytes());
        for field in message.descriptor().fields() {
            let Some(value) = value_of(message, &field).filter(|value| is_there(&field.kind(), value)) else {
                continue;
            };
            self.next(out)?;
            print(field.json_name(), out)?;
            out.push(b':');
            self.field(&field.kind(), &value, out)?;
        }
        for (extension, value) in message.extensions() {
            self.next(out)?;
            print(extension.json_name(), out)?;
            out.push(b':');
            self.field(&extension.kind(), value, out)?;
        }
        out.push(b'}');
        Ok(())
    }

    fn field(self, kind: &Kind, value: &Value, out: &mut Vec<u8>) -> Done {
        match (value, kind) {
            (Value::List(values), _) => {
                out.push(b'[');
                for value in values.iter().filter(|value| is_known(kind, value)) {
                    self.next(out)?;
                    self.value(kind, value, out)?;
                }
                out.push(b']');
                Ok(())
            }
            (Value::Map(entries), Kind::Message(entry)) => {
                let kind = entry.map_entry_value_field().kind();
                // A map of prost-reflect has an order of its own each time.
                let mut entries: Vec<(&MapKey, &Value)> =
                    entries.iter().filter(|(_, value)| is_known(&kind, value)).collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                out.push(b'{');
                for (key, value) in entries {
                    self.next(out)?;
                    self.map_key(key, out)?;
                    out.push(b':');
                    self.value(&kind, value, out)?;
                }
                out.push(b'}');
                Ok(())
            }
            _ => self.value(kind, value, out),
        }
    }

    fn value(self, kind: &Kind, value: &Value, out: &mut Vec<u8>) -> Done {
        match value {
            Value::Bool(value) => print(value, out),
            Value::I32(value) => print(value, out),
            Value::U32(value) => print(value, out),
            Value::I64(value) => print(&value.to_string(), out),
            Value::U64(value) => print(&value.to_string(), out),
            Value::F32(value) => printed(print::float(*value, (*value).into(), out)),
            Value::F64(value) => printed(print::float(*value, *value, out)),
            Value::String(text) => self.text(text, out),
            Value::Bytes(bytes) => {
                self.fits(out, print::length_of_base64(bytes))?;
                print::base64(bytes, out);
                Ok(())
            }
            Value::EnumNumber(number) => match kind {
                Kind::Enum(descriptor) => enumeration(descriptor, *number, out),
                _ => print(number, out),
            },
            Value::Message(message) => self.message(message, out),
            // Neither is inside of the other.
            Value::List(_) | Value::Map(_) => Ok(()),
        }
    }

    fn any(self, any: &DynamicMessage, out: &mut Vec<u8>) -> Done {
        let (url, bytes) = (any.get_field_by_number(1), any.get_field_by_number(2));
        let url = url.as_deref().and_then(Value::as_str).unwrap_or_default();
        let bytes = bytes.as_deref().and_then(Value::as_bytes).cloned().unwrap_or_default();
        if url.is_empty() && bytes.is_empty() {
            out.extend_from_slice(b"{}");
            return Ok(());
        }
        let pool = any.descriptor().parent_pool().clone();
        let kind = url.rsplit_once('/').and_then(|(_, name)| pool.get_message_by_name(name));
        let kind = kind.ok_or_else(|| wrong("the type of an Any is not known"))?;
        let is_known = scalar::is_well_known(kind.full_name());
        let (message, values) = decode(kind, bytes, self.values).map_err(|error| match error {
            Unreadable::Decode(error) => Unprintable::NoForm(serde_json::Error::custom(error)),
            Unreadable::TooLarge => Unprintable::TooLong,
        })?;
        let inside = Self { values, ..self };
        out.extend_from_slice(b"{\"@type\":");
        print(url, out)?;
        if !is_known {
            return inside.object(&message, "", out);
        }
        out.extend_from_slice(b",\"value\":");
        inside.message(&message, out)?;
        out.push(b'}');
        Ok(())
    }

    fn any_value(self, value: &DynamicMessage, out: &mut Vec<u8>) -> Done {
        let kind = value.fields().next();
        match kind.as_ref().map(|(field, value)| (field, *value)) {
            None | Some((_, Value::EnumNumber(_))) => out.extend_from_slice(b"null"),
            Some((_, Value::F64(number))) if !number.is_finite() => {
                return Err(wrong("a google.protobuf.Value is NaN or an infinity").into());
            }
            Some((field, value)) => self.field(&field.kind(), value, out)?,
        }
        Ok(())
    }

    fn map_key(self, key: &MapKey, out: &mut Vec<u8>) -> Done {
        match key {
            MapKey::Bool(key) => print(&key.to_string(), out),
            MapKey::I32(key) => print(&key.to_string(), out),
            MapKey::I64(key) => print(&key.to_string(), out),
            MapKey::U32(key) => print(&key.to_string(), out),
            MapKey::U64(key) => print(&key.to_string(), out),
            MapKey::String(key) => self.text(key, out),
        }
    }

    fn mask(self, message: &DynamicMessage, out: &mut Vec<u8>) -> Done {
        let paths = message.get_field_by_number(1);
        let paths = paths.as_deref().and_then(Value::as_list).unwrap_or_default();
        let text: Option<Vec<String>> = paths.iter().map(|path| known::camel_case(path.as_str()?)).collect();
        let text = text.ok_or_else(|| wrong("a path of a FieldMask is not in snake case"))?;
        self.text(&text.join(","), out)
    }

    fn text(self, text: &str, out: &mut Vec<u8>) -> Done {
        self.fits(out, print::length(text))?;
        print(text, out)
    }

    /// A comma, but for the first of an array or an object: no value ends in a bracket that opens.
    fn next(self, out: &mut Vec<u8>) -> Done {
        if !matches!(out.last(), Some(b'{' | b'[')) {
            out.push(b',');
        }
        self.fits(out, 0)
    }

    /// Whether so many bytes more are not too many.
    fn fits(self, out: &[u8], more: usize) -> Done {
        if out.len() + more <= self.most { Ok(()) } else { Err(Unprintable::TooLong) }
    }
}

/// Whether a value is one of its enum's; a closed enum's reader takes another one for an unknown field, as if it were not there
/// (<https://protobuf.dev/programming-guides/enum>).
fn is_known(kind: &Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Enum(descriptor), Value::EnumNumber(number)) => {
            !is_closed(descriptor) || descriptor.get_value(*number).is_some()
        }
        _ => true,
    }
}

/// Whether anything of a field is left without those.
fn is_there(kind: &Kind, value: &Value) -> bool {
    match (value, kind) {
        (Value::List(values), _) => values.iter().any(|value| is_known(kind, value)),
        (Value::Map(entries), Kind::Message(entry)) => {
            let kind = entry.map_entry_value_field().kind();
            entries.values().any(|value| is_known(&kind, value))
        }
        _ => is_known(kind, value),
    }
}

fn enumeration(descriptor: &EnumDescriptor, number: i32, out: &mut Vec<u8>) -> Done {
    if descriptor.full_name() == "google.protobuf.NullValue" {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match descriptor.get_value(number) {
        Some(value) => print(value.name(), out),
        None => print(&number, out),
    }
}

/// The seconds and the nanoseconds of a Timestamp or a Duration.
fn parts(message: &DynamicMessage) -> (i64, i64) {
    let (seconds, nanos) = (message.get_field_by_number(1), message.get_field_by_number(2));
    let seconds = seconds.as_deref().and_then(Value::as_i64).unwrap_or_default();
    (seconds, nanos.as_deref().and_then(Value::as_i32).unwrap_or_default().into())
}

fn print(value: &(impl serde::Serialize + ?Sized), out: &mut Vec<u8>) -> Done {
    Ok(serde_json::to_writer(out, value)?)
}

fn printed<E>(outcome: Result<(), E>) -> Done {
    outcome.map_err(|_| wrong("a Timestamp or a Duration is out of range").into())
}

fn wrong(problem: &str) -> serde_json::Error {
    serde_json::Error::custom(problem)
}
