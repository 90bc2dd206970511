//! The well-known types that a text, a number or a boolean expresses, as messages (<https://protobuf.dev/programming-guides/json>).

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use super::scalar::{self, Leaf};
use crate::times;

/// Whether text alone can express a message.
pub(crate) fn is_textual(message: &MessageDescriptor) -> bool {
    let name = message.full_name();
    ["Timestamp", "Duration", "FieldMask"]
        .iter()
        .any(|known| name.strip_prefix("google.protobuf.") == Some(known))
        || wrapped(message).is_some()
}

/// The field of a wrapper, which looks in JSON as that field does.
pub(crate) fn wrapped(message: &MessageDescriptor) -> Option<FieldDescriptor> {
    let value = message.get_field(1).filter(|value| message.fields().len() == 1 && !value.is_list())?;
    let is_wrapper = message.full_name().ends_with("Value") && scalar::is_well_known(message.full_name());
    let is_scalar = !matches!(value.kind(), Kind::Message(_) | Kind::Enum(_));
    (is_wrapper && is_scalar).then_some(value)
}

/// A message from a query parameter or a path variable. A mask may have the names of the contract too, as Google's clients send it.
///
/// # Errors
/// What the text must be.
pub(crate) fn from_text(message: &MessageDescriptor, text: &str) -> Result<DynamicMessage, String> {
    if let Some(value) = wrapped(message) {
        return wrap(message, &value, scalar::from_text(&value.kind(), text)?);
    }
    if message.full_name() == "google.protobuf.FieldMask" {
        return mask(message, text, path_of_either);
    }
    from_json(message, Leaf::Text(text))
}

/// A message from JSON that is neither an array nor an object.
///
/// # Errors
/// What the value must be.
pub(crate) fn from_json(message: &MessageDescriptor, leaf: Leaf<'_>) -> Result<DynamicMessage, String> {
    if let Some(value) = wrapped(message) {
        return wrap(message, &value, scalar::from_json(&value.kind(), leaf)?);
    }
    let text = match leaf {
        Leaf::Text(text) => text,
        _ => "",
    };
    match message.full_name() {
        "google.protobuf.Timestamp" => {
            let what = "must be a time such as 2024-01-01T00:00:00.5Z, with 9 digits of a second at most";
            parts(message, times::timestamp(text).ok_or(what)?)
        }
        "google.protobuf.Duration" => {
            let what = "must be seconds such as 1.5s, with 9 digits after the point at most";
            parts(message, times::duration(text).ok_or(what)?)
        }
        "google.protobuf.FieldMask" if matches!(leaf, Leaf::Text(_)) => mask(message, text, snake_case),
        "google.protobuf.FieldMask" => Err(NO_MASK.to_owned()),
        _ => Err("must be an object".to_owned()),
    }
}

const NO_MASK: &str = "must be names of JSON such as userId,address.city";

fn wrap(
    message: &MessageDescriptor,
    field: &FieldDescriptor,
    value: Value,
) -> Result<DynamicMessage, String> {
    let mut wrapper = DynamicMessage::new(message.clone());
    wrapper.set_field(field, value);
    Ok(wrapper)
}

fn parts(message: &MessageDescriptor, (seconds, nanos): (i64, i32)) -> Result<DynamicMessage, String> {
    filled(message, [(1, Value::I64(seconds)), (2, Value::I32(nanos))])
}

/// The mask of a text, each of whose paths `path` reads.
///
/// # Errors
/// What the text must be.
pub(super) fn mask(
    message: &MessageDescriptor,
    text: &str,
    path: impl Fn(&str) -> Option<String>,
) -> Result<DynamicMessage, String> {
    let paths: Option<Vec<Value>> = paths(text).map(|text| path(text).map(Value::String)).collect();
    filled(message, [(1, Value::List(paths.ok_or(NO_MASK)?))])
}

/// A message of these fields; a type of somebody else's that only has the name has others.
pub(super) fn filled<const N: usize>(
    message: &MessageDescriptor,
    fields: [(u32, Value); N],
) -> Result<DynamicMessage, String> {
    let mut filled = DynamicMessage::new(message.clone());
    for (number, value) in fields {
        filled
            .try_set_field_by_number(number, value)
            .map_err(|_| format!("is no {}", message.full_name()))?;
    }
    Ok(filled)
}

/// The paths of a mask's text.
pub(crate) fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|path| !path.is_empty())
}

/// A path of a mask as the contract spells it, from that or from JSON's spelling.
pub(super) fn path_of_either(path: &str) -> Option<String> {
    if path.contains('_') { Some(path.to_owned()) } else { snake_case(path) }
}

/// A path of a mask as the contract spells it; `None` where it is not in lower camel case.
pub(crate) fn snake_case(path: &str) -> Option<String> {
    let mut snake = String::with_capacity(path.len() + 4);
    for letter in path.chars() {
        match letter {
            '_' => return None,
            'A'..='Z' => snake.extend(['_', letter.to_ascii_lowercase()]),
            _ => snake.push(letter),
        }
    }
    Some(snake)
}

/// A path of a mask as JSON spells it; `None` where the way back would not lead to it.
pub(crate) fn camel_case(path: &str) -> Option<String> {
    let mut camel = String::with_capacity(path.len());
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        match letter {
            'A'..='Z' => return None,
            '_' => camel.push(letters.next().filter(char::is_ascii_lowercase)?.to_ascii_uppercase()),
            _ => camel.push(letter),
        }
    }
    Some(camel)
}
